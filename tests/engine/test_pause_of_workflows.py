"""A paused workflow starts nothing and lets what runs stand still; resumed, it goes on as if nothing had been."""

from __future__ import annotations

from tests.engine.conftest import retrying
from zquant_flow.core.model import WorkflowType
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


def names(h: Harness) -> list[str]:
    return sorted(order["node"] for order in h.backend.active.values())


def test_what_runs_stands_still_and_nothing_new_starts(h: Harness) -> None:
    flow = workflow_task("flow", [command_node("a"), command_node("b", "a"), command_node("c", "b")])
    [task_id] = h.define(flow)
    root = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.settle()
    assert (h.status(root), h.nodes(root)) == ("paused", {"a": "paused"})
    h.end(h.backend.node("a"))  # it could not stand still
    assert (h.status(root), names(h)) == ("paused", [])
    h.operations.resume_execution(root, actor="me")
    assert (h.status(root), names(h)) == ("running", ["b"])
    h.end(h.backend.node("b"))
    h.end(h.backend.node("c"))
    assert h.status(root) == "success"


def test_what_stood_still_goes_on(h: Harness) -> None:
    [task_id] = h.define(
        workflow_task("flow", [command_node("a"), command_node("b")], workflow_type=WorkflowType.PARALLEL)
    )
    root = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.settle()
    assert h.nodes(root) == {"a": "paused", "b": "paused"}
    h.operations.resume_execution(root, actor="me")
    h.settle()
    assert h.nodes(root) == {"a": "running", "b": "running"}


def test_nodes_that_waited_for_a_slot_wait_for_the_resume(tmp_path) -> None:
    nodes = [command_node(f"n{number}") for number in range(4)]
    with Harness(tmp_path, slots=1) as h:
        [task_id] = h.define(
            workflow_task("flow", nodes, workflow_type=WorkflowType.PARALLEL, max_parallel=2)
        )
        root = h.operations.trigger(task_id, actor="me")
        h.operations.pause_execution(root, actor="me")
        h.end(h.backend.node("n0"))
        assert names(h) == []
        h.operations.resume_execution(root, actor="me")
        for number in (1, 2, 3):
            assert names(h) == [f"n{number}"]
            h.end(h.backend.node(f"n{number}"))
        assert h.status(root) == "success"


def test_a_retry_waits_for_the_resume(h: Harness) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a", action=retrying(1, 5))]))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("a"), "failed")
    h.operations.pause_execution(root, actor="me")
    h.tick(6)
    assert names(h) == []
    h.operations.resume_execution(root, actor="me")
    assert names(h) == ["a"]


def test_a_pause_reaches_into_nested_workflows(h: Harness) -> None:
    inner = workflow_task("inner", [command_node("x"), command_node("y", "x")])
    outer = workflow_task("outer", [command_node("sub", task="inner"), command_node("last", "sub")])
    _, outer_id = h.define(inner, outer)
    root = h.operations.trigger(outer_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.settle()
    [sub] = [child.id for child in queries.children_of(h.database, queries.execution_row(h.database, root))]
    assert (h.status(sub), h.nodes(sub)) == ("paused", {"x": "paused"})
    h.end(h.backend.node("x"))
    assert names(h) == []
    h.operations.resume_execution(root, actor="me")
    assert names(h) == ["y"]
    h.end(h.backend.node("y"))
    h.end(h.backend.node("last"))
    assert h.status(root) == "success"


def test_a_referenced_task_that_waited_for_others_waits_for_the_resume(h: Harness) -> None:
    shared_id, outer_id = h.define(
        command_task("shared"), workflow_task("outer", [command_node("step", task="shared")])
    )
    own = h.operations.trigger(shared_id, actor="me")
    root = h.operations.trigger(outer_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.end(own)
    assert h.backend.active == {}
    h.operations.resume_execution(root, actor="me")
    assert names(h) == ["step"]


def test_a_killed_engine_keeps_it_paused(h: Harness) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a"), command_node("b", "a")]))
    root = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.end(h.backend.node("a"))
    h.restart()
    assert (h.status(root), names(h)) == ("paused", [])
    h.operations.resume_execution(root, actor="me")
    h.end(h.backend.node("b"))
    assert h.status(root) == "success"


def test_a_paused_workflow_is_terminated(h: Harness) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a"), command_node("b", "a")]))
    root = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.settle()
    h.operations.terminate(root, actor="me")
    h.settle()
    assert (h.status(root), h.nodes(root)) == ("terminated", {"a": "terminated", "b": "skipped"})


def test_a_paused_workflow_whose_last_node_ends_is_over(h: Harness) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a")]))
    root = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(root, actor="me")
    h.end(h.backend.node("a"))
    assert h.status(root) == "success"
