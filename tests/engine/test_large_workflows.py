"""Workflows of more nodes than one turn carries out."""

from __future__ import annotations

import threading

import pytest

from tests.engine.conftest import Harness
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.engine import workflows
from zquant_flow.store import queries
from zquant_flow.testing import command_node, workflow_task


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows, "AT_ONCE", 3)


def started(h: Harness, size: int, **keys: object) -> int:
    nodes = [command_node(f"n{number}") for number in range(size)]
    [task] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, **keys))
    return h.operations.trigger(task, actor="me")


def until_ended(h: Harness, run: int) -> None:
    for _ in range(100):
        h.settle()
        for id_ in list(h.backend.active):
            h.end(id_)
        if run not in h.engine.memory.executions:
            h.settle()  # memory is ahead of the rows until the turn is over
            return
    raise AssertionError("it does not end")


def test_all_nodes_run_although_a_turn_queues_only_some(h: Harness) -> None:
    run = started(h, 25)
    until_ended(h, run)
    assert h.status(run) == "success"
    assert len(h.nodes(run)) == 25


def test_what_comes_meanwhile_is_decided_between(h: Harness) -> None:
    run = started(h, 25)
    other = h.operations.trigger(h.define(workflow_task("small", [command_node("a")]))[0], actor="me")
    for id_ in list(h.backend.active)[:2]:  # one place for each of the two
        h.end(id_)
    assert h.nodes(other) == {"a": "running"}
    until_ended(h, run)


def test_skipped_nodes_are_all_written_before_it_ends(h: Harness) -> None:
    nodes = [
        command_node("first"),
        *(command_node(f"n{number}", "first") for number in range(20)),
        command_node("clean", "first", trigger_rule=TriggerRule.ALL_DONE),
    ]
    [task] = h.define(
        workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.STOP)
    )
    run = h.operations.trigger(task, actor="me")
    h.end(h.backend.node("first"), "failed")
    until_ended(h, run)
    assert h.status(run) == "failed"
    statuses = h.nodes(run)
    assert (statuses.pop("first"), statuses.pop("clean")) == ("failed", "success")
    assert set(statuses.values()) == {"skipped"}
    assert len(statuses) == 20


def test_terminate_ends_a_workflow_with_a_backlog(h: Harness) -> None:
    run = started(h, 25)
    h.operations.terminate(run, actor="me")
    until_ended(h, run)
    assert h.status(run) == "terminated"
    assert len(h.nodes(run)) == 25


def test_a_pause_holds_the_backlog_and_resume_goes_on_with_it(h: Harness) -> None:
    run = started(h, 25)
    h.operations.pause_execution(run, actor="me")
    h.settle()
    before = len(h.nodes(run))
    for id_ in list(h.backend.active):
        h.end(id_)
    for _ in range(20):
        h.settle()
    assert len(h.nodes(run)) == before
    h.operations.resume_execution(run, actor="me")
    until_ended(h, run)
    assert h.status(run) == "success"
    assert len(h.nodes(run)) == 25


def test_a_restart_goes_on_with_the_backlog(h: Harness) -> None:
    run = started(h, 25)
    h.restart()
    until_ended(h, run)
    assert h.status(run) == "success"
    assert len(h.nodes(run)) == 25


def test_a_large_one_is_planned_aside_and_then_starts(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows, "LARGE", 2)
    begun = threading.Event()
    h.engine.listen(lambda: begun.set() if h.backend.active else None)
    run = started(h, 5)
    assert begun.wait(10)
    until_ended(h, run)
    assert h.status(run) == "success"


def test_one_that_is_terminated_while_it_is_planned_never_starts(h: Harness) -> None:
    waiting: list[tuple[object, object]] = []
    h.engine.lifecycle.workflows.aside = lambda work, then: waiting.append((work, then))
    workflows_ = pytest.MonkeyPatch()
    with workflows_.context() as patch:
        patch.setattr(workflows, "LARGE", 2)
        run = started(h, 5)
    assert h.status(run) == "pending"
    h.operations.terminate(run, actor="me")
    [(work, then)] = waiting
    work()  # type: ignore[operator]
    h.engine.call(then)  # type: ignore[arg-type]
    assert h.status(run) == "terminated"
    assert queries.execution_row(h.database, run).start_time is None
    assert h.backend.orders == []
