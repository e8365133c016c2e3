"""What becomes of a node whose condition is true, false, or can't be told?"""

from __future__ import annotations

import time

import pytest

from tests.e2e.serving import until
from tests.engine.test_data_between_nodes import fault, node_row
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.testing import Harness, command_node, workflow_task

PARALLEL = WorkflowType.PARALLEL


def test_a_false_condition_skips_the_node_and_those_that_need_it(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("yes", "a", when="nodes.a.result.rows > 2"),
        command_node("no", "a", when="nodes.a.result.rows > 3"),
        command_node("below", "no"),
        command_node("join", "yes", "no", trigger_rule=TriggerRule.NONE_FAILED),
    ]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=PARALLEL))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result='{"rows": 3}')
    assert h.nodes(root) == {"a": "success", "yes": "running", "no": "skipped", "below": "skipped"}
    assert node_row(h, root, "no").skip_reason == "when"
    assert node_row(h, root, "below").skip_reason == "trigger_rule"
    h.end(h.backend.node("yes"))
    h.end(h.backend.node("join"))
    assert h.status(root) == "success"


def test_a_serial_workflow_goes_on_with_the_next_node(h: Harness) -> None:
    nodes = [command_node("a", when="false"), command_node("b"), command_node("c", when="params.full")]
    (task,) = h.define(workflow_task("w", nodes, params={"full": 0}))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("b"))
    assert h.nodes(root) == {"a": "skipped", "b": "success", "c": "skipped"}
    assert h.status(root) == "success"


def test_a_workflow_of_false_conditions_ends_well(h: Harness) -> None:
    (task,) = h.define(workflow_task("w", [command_node("a", when="params.x|default(0)")]))
    assert h.status(h.operations.trigger(task, actor="u")) == "success"


@pytest.mark.parametrize("on_failure", OnFailure)
def test_a_condition_that_can_not_be_told_fails_its_node(h: Harness, on_failure: OnFailure) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a", when="nodes.a.result.rows > 0"),
        command_node("c", "b"),
        command_node("d", "b", trigger_rule=TriggerRule.ALL_DONE),
    ]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=PARALLEL, on_failure=on_failure))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result='{"row": 1}')
    message = "when: nodes.a.result.rows: there is no 'rows' (there is: row)"
    assert fault(h, node_row(h, root, "b").id) == ("when_failed", message)
    h.end(h.backend.node("d"))
    assert h.nodes(root) == {"a": "success", "b": "failed", "c": "skipped", "d": "success"}
    assert h.status(root) == ("failed" if on_failure is OnFailure.STOP else "completed")


def test_a_place_under_max_parallel_is_not_taken_by_a_node_that_is_skipped(h: Harness) -> None:
    nodes = [command_node("a"), command_node("no", when="false"), command_node("b"), command_node("c")]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=PARALLEL, max_parallel=2))
    root = h.operations.trigger(task, actor="u")
    assert h.nodes(root) == {"a": "running", "no": "skipped", "b": "running"}
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    h.end(h.backend.node("c"))
    assert h.status(root) == "success"


def test_a_condition_that_comes_due_while_the_workflow_is_paused_is_told_at_its_resume(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b", "a", when="nodes.a.result.go")]
    (task,) = h.define(workflow_task("w", nodes))
    root = h.operations.trigger(task, actor="u")
    h.operations.pause_execution(root, actor="u")
    h.end(h.backend.node("a"), result='{"go": false}')
    assert h.nodes(root) == {"a": "success"}
    h.operations.resume_execution(root, actor="u")
    assert h.nodes(root) == {"a": "success", "b": "skipped"}
    assert h.status(root) == "success"


def test_a_condition_is_told_anew_after_a_crash(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("slow"),
        command_node("b", "a", "slow", when="nodes.a.result.go"),
        command_node("c", "a", when="not nodes.a.result.go"),
    ]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=PARALLEL))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result='{"go": true}')
    h.restart()
    h.end(h.backend.node("slow"))
    assert h.nodes(root) == {"a": "success", "slow": "success", "b": "running", "c": "skipped"}


@pytest.mark.parametrize("workflow_type", WorkflowType)
def test_thousands_of_false_conditions_in_a_row_neither_dive_nor_linger(tmp_path, workflow_type) -> None:
    nodes = [
        command_node(f"n{i}", *([f"n{i - 1}"] if i else []), when="false", trigger_rule=TriggerRule.ALL_DONE)
        for i in range(3_000)
    ]
    with Harness(tmp_path) as h:
        (task,) = h.define(workflow_task("w", nodes, workflow_type=workflow_type))
        began = time.process_time()
        root = h.operations.trigger(task, actor="u")
        until(lambda: h.status(root) == "success", "the end of all")
        spent = time.process_time() - began
    assert spent < 4, f"{spent:.1f} s"
