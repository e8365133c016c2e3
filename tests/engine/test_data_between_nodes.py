"""What do nodes know of each other's results, and what happens where there is none?"""

from __future__ import annotations

import json

import pytest

from tests.engine.conftest import EVERY_MINUTE
from zquant_flow.core import expressions
from zquant_flow.core.model import Action, ForEach, OnFailure, Overlap, TriggerRule, WorkflowType
from zquant_flow.core.params import Param, ParamType
from zquant_flow.core.status import TriggerType
from zquant_flow.engine import passing
from zquant_flow.engine.scope import scope_within
from zquant_flow.errors import ParamsError
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


def running(*words: str, **keys) -> Action:
    return Action(executor="command", config={"command": list(words)}, **keys)


def fault(h: Harness, execution_id: int) -> tuple[str, str]:
    row = queries.execution_row(h.database, execution_id)
    return row.error_code, row.error_message


def node_row(h: Harness, root: int, name: str):
    return next(
        child
        for child in queries.children_of(h.database, queries.execution_row(h.database, root))
        if child.node == name
    )


def test_command_environment_and_folder_are_rendered_for_each_attempt(h: Harness) -> None:
    action = running(
        "echo",
        "{{ params.symbol }}",
        "{{ execution.task }}-{{ execution.attempt }}",
        "{{ logical_time|date('%Y%m%d') }}",
        env={"LEVEL": "{{ params.level|default('info') }}", "PLAIN": "x"},
        working_dir="out/{{ params.symbol }}",
    )
    h.define(command_task("a", action=action, params={"symbol": "SH 1"}, schedule=EVERY_MINUTE))
    h.tick(60)
    (order,) = h.backend.active.values()
    assert order["config"] == {"command": ["echo", "SH 1", "a-1", "20260105"]}
    assert order["env"] == {"LEVEL": "info", "PLAIN": "x"}
    assert order["cwd"] == str(h.folder / "tasks" / "out/SH 1")


def test_a_node_reads_an_earlier_result_and_what_is_not_there_fails_it_by_name(h: Harness) -> None:
    nodes = [
        command_node("load"),
        command_node("good", "load", action=running("echo", "{{ nodes.load.result.rows }}")),
        command_node("bad", "load", action=running("echo", "{{ nodes.load.result.row }}")),
    ]
    (task,) = h.define(
        workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.CONTINUE)
    )
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("load"), result='{"rows": 3}')
    assert h.backend.active[h.backend.node("good")]["config"] == {"command": ["echo", "3"]}
    assert fault(h, node_row(h, root, "bad").id) == (
        "invalid_template",
        "nodes.load.result.row: there is no 'row' (there is: rows)",
    )


def test_a_node_that_was_skipped_or_failed_has_no_result_and_a_default_takes_its_place(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a"),
        command_node(
            "tell",
            "b",
            trigger_rule=TriggerRule.ALL_DONE,
            action=running("echo", "{{ nodes.a.result|default('none') }}"),
        ),
        command_node(
            "ask",
            "b",
            trigger_rule=TriggerRule.ALL_DONE,
            action=running("echo", "{{ nodes.b.result }}"),
        ),
    ]
    (task,) = h.define(
        workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.CONTINUE)
    )
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), "failed")
    assert h.backend.active[h.backend.node("tell")]["config"] == {"command": ["echo", "none"]}
    assert fault(h, node_row(h, root, "ask").id) == (
        "invalid_template",
        "nodes.b has no result: it was skipped",
    )


def test_only_results_that_somebody_names_are_kept(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b"),
        command_node("c"),
        command_node("d"),
        command_node(
            "e",
            *"abcd",
            arguments={
                "rows": {"$expr": "nodes.b.result.n + 1"},
                "x": {"$template": "{{ nodes['c'].result }}"},
            },
            action=running("echo", "{{ nodes.a.result }}", "the nodes"),
        ),
    ]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task, actor="u")
    assert h.engine.call(lambda: h.engine.memory.executions[root].run.wanted) == {"a", "b", "c"}
    for name in "abcd":
        h.end(h.backend.node(name), result='{"n": 1}')
    (order,) = h.backend.active.values()
    assert order["params"] == {"rows": 2, "x": '{"n": 1}'}
    assert order["config"]["command"] == ["echo", '{"n": 1}', "the nodes"]


def test_a_command_gets_what_the_nodes_that_it_waits_for_have_given(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b"),
        command_node("none"),
        command_node("plain", "a", action=Action(executor="python", config={})),
        command_node("last", "plain", "b", "none"),
        command_node("shared", "a", "b", task="shared"),
    ]
    _, task = h.define(command_task("shared"), workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result='{"n": 1}')
    assert "results" not in h.backend.active[h.backend.node("plain")]
    h.end(h.backend.node("plain"), result='"text"')
    h.end(h.backend.node("none"))
    h.end(h.backend.node("b"), result='{"n": 2}')
    assert h.backend.active[h.backend.node("last")]["results"] == {"plain": '"text"', "b": '{"n": 2}'}
    assert h.backend.active[h.backend.node("shared")]["results"] == {"a": '{"n": 1}', "b": '{"n": 2}'}


def test_results_are_passed_on_after_a_restart_and_by_a_resume(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b"), command_node("c", "a", "b")]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result="[1]")
    h.restart()
    h.end(h.backend.node("b"))
    assert h.backend.active[h.backend.node("c")]["results"] == {"a": "[1]"}
    h.end(h.backend.node("c"), "failed")
    h.operations.resume_execution(root, actor="u")
    assert h.backend.active[h.backend.node("c")]["results"] == {"a": "[1]"}


def test_results_that_are_too_large_together_are_named(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "LIMIT", 10)
    nodes = [command_node("a"), command_node("b"), command_node("c"), command_node("d", *"abc")]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    h.operations.trigger(task, actor="u")
    for name, result in (("a", '"12345"'), ("b", '"67890"'), ("c", "999")):
        h.end(h.backend.node(name), result=result)
    (order,) = h.backend.active.values()
    assert (order["results"], order["left_out"]) == ({"a": '"12345"', "c": "999"}, ["b"])


def test_an_item_gets_what_its_node_waits_for_but_for_a_long_list(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "ITEM_LIMIT", 4)
    nodes = [
        command_node("list"),
        command_node("short"),
        command_node("each", "list", "short", for_each=ForEach(expression="nodes.list.result")),
    ]
    (task,) = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    h.operations.trigger(task, actor="u")
    h.end(h.backend.node("list"), result="[10, 20]")
    h.end(h.backend.node("short"), result="1234")
    assert [order["results"] for order in h.backend.active.values()] == [{"short": "1234"}] * 2


def test_a_param_that_can_not_be_worked_out_fails_the_node(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a", arguments={"rows": {"$expr": "nodes.a.result.n / 0"}}),
    ]
    (task,) = h.define(workflow_task("w", nodes))
    root = h.operations.trigger(task, actor="u")
    h.end(h.backend.node("a"), result=json.dumps({"n": 1}))
    assert fault(h, node_row(h, root, "b").id) == (
        "invalid_params",
        "nodes.a.result.n / 0: division by zero",
    )


def test_the_scope_has_the_names_that_definitions_are_checked_against(h: Harness) -> None:
    (task,) = h.define(workflow_task("w", [command_node("a")]))
    root = h.operations.trigger(task, actor="u")
    scope = h.engine.call(lambda: scope_within(h.engine.memory.executions[root]))
    assert tuple(scope) == expressions.ROOTS
    assert len(scope) == len(expressions.ROOTS)
    assert scope["execution"] == {"id": root, "attempt": 1, "task": "w"}


SPECS = {"day": Param(type=ParamType.DATE, required=True), "limit": Param(type=ParamType.INTEGER)}


def test_params_that_a_task_does_not_take_start_nothing_and_replace_nothing(h: Harness) -> None:
    (task,) = h.define(command_task("a", params={"limit": 5}, param_specs=SPECS, overlap=Overlap.REPLACE))
    running = h.operations.trigger(task, actor="u", params={"day": "2026-01-05", "limit": "7"})
    assert h.backend.active[running]["params"] == {"day": "2026-01-05", "limit": 7}
    for params in ({}, {"day": "x"}, {"day": "2026-01-05", "dya": 1}):
        with pytest.raises(ParamsError):
            h.operations.trigger(task, actor="u", params=params)
        with pytest.raises(ParamsError):
            h.operations.run(command_task("b", param_specs=SPECS), actor="u", params=params)
        with pytest.raises(ParamsError):
            h.operations.backfill(task, [0, 1], span=(0, 2), parallel=1, actor="u", params=params)
    assert h.status(running) == "running"
    assert list(h.backend.active) == [running]


def test_a_resume_checks_the_params_against_the_version_that_runs(h: Harness) -> None:
    h.define(command_task("a", params={"limit": 5, "old": 1}, param_specs=SPECS), path="a.yaml")
    task = h.operations.registry.by_name["a"].id
    failed = h.operations.trigger(task, actor="u", params={"day": "2026-01-05"})
    h.end(failed, "failed")
    h.define(command_task("a", params={"limit": 5}, param_specs=SPECS), path="a.yaml")
    with pytest.raises(ParamsError, match="there is no param 'old'"):
        h.operations.resume_execution(failed, actor="u")
    again = h.operations.resume_execution(failed, actor="u", original=True)
    assert h.backend.active[again]["params"] == {"day": "2026-01-05", "limit": 5, "old": 1}


def test_a_node_gives_the_task_it_refers_to_what_that_takes_or_fails(h: Harness) -> None:
    shared = command_task("shared", params={"limit": 5}, param_specs=SPECS, overlap=Overlap.ALLOW)
    nodes = [
        command_node("good", task="shared", arguments={"day": "2026-01-05", "limit": "8"}),
        command_node("bad", task="shared"),
    ]
    _, task = h.define(
        shared,
        workflow_task(
            "w",
            nodes,
            workflow_type=WorkflowType.PARALLEL,
            on_failure=OnFailure.CONTINUE,
            params={"symbol": "ALL"},
        ),
    )
    root = h.operations.trigger(task, actor="u")
    good = node_row(h, root, "good").id
    assert h.backend.active[good]["params"] == {"day": "2026-01-05", "limit": 8, "symbol": "ALL"}
    assert fault(h, node_row(h, root, "bad").id) == ("invalid_params", "day is required")


def test_functions_know_what_started_the_whole_and_a_rerun_started_nothing(h: Harness) -> None:
    function = Action(executor="python", config={"module": "m"})
    nodes = [command_node("a", action=function), command_node("b", "a", when="event.kind != 'webhook'")]
    (task,) = h.define(workflow_task("w", nodes))
    event = {"kind": "webhook", "name": "w", "type": "push", "body": {"ref": "main"}}
    lifecycle, memory = h.engine.lifecycle, h.engine.memory
    root = h.engine.call(
        lambda: lifecycle.create(memory.tasks[task], TriggerType.EVENT, actor="hook:w", event=event).id
    )
    assert h.backend.active[h.backend.node("a")]["event"] == event
    h.end(h.backend.node("a"), "failed")
    h.operations.rerun(root, "a", actor="u")
    assert h.backend.active[h.backend.node("a")]["event"] == event
    h.end(h.backend.node("a"))
    plain = h.operations.trigger(task, actor="u")
    assert "event" not in h.backend.active[h.backend.node("a")]
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    h.operations.rerun(plain, "b", actor="u")
    assert h.backend.node("b"), "of a rerun too the kind is null, where there was no event"
