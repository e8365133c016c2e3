"""So many executions of a task at once, then `overlap` decides."""

from __future__ import annotations

import pytest

from tests.engine.conftest import EVERY_MINUTE, Harness
from zquant_flow.core.model import Overlap, WorkflowType
from zquant_flow.errors import AlreadyRunning
from zquant_flow.store import queries
from zquant_flow.testing import command_node, command_task, workflow_task


def statuses(h: Harness, executions: list[int]) -> list[str]:
    return [h.status(id_) for id_ in executions]


def test_skip_refuses_what_is_over_the_limit(h: Harness) -> None:
    [task] = h.define(command_task("t", max_active_runs=2, schedule=EVERY_MINUTE))
    runs = [h.operations.trigger(task, actor="me") for _ in range(2)]
    assert statuses(h, runs) == ["running", "running"]
    with pytest.raises(AlreadyRunning):
        h.operations.trigger(task, actor="me")
    h.tick(60)
    assert [row.outcome for row in queries.ledger(h.database, task, 0, 1 << 60)] == ["overlap"]
    h.end(runs[0])
    h.tick(60)
    assert len(h.backend.active) == 2


def test_queue_starts_the_next_when_there_is_room(h: Harness) -> None:
    [task] = h.define(command_task("t", max_active_runs=2, overlap=Overlap.QUEUE))
    runs = [h.operations.trigger(task, actor="me") for _ in range(5)]
    assert statuses(h, runs) == ["running", "running", "pending", "pending", "pending"]
    h.end(runs[1])
    assert statuses(h, runs[2:]) == ["running", "pending", "pending"]
    h.restart()
    h.end(runs[0])
    h.end(runs[2])
    assert statuses(h, runs[3:]) == ["running", "running"]


def test_replace_ends_the_oldest_only(h: Harness) -> None:
    [task] = h.define(command_task("t", max_active_runs=2, overlap=Overlap.REPLACE))
    runs = [h.operations.trigger(task, actor="me") for _ in range(3)]
    h.settle()
    assert statuses(h, runs) == ["terminated", "running", "running"]


def test_a_file_that_raises_the_limit_lets_go_on_what_waits(h: Harness) -> None:
    [task] = h.define(command_task("t", overlap=Overlap.QUEUE))
    runs = [h.operations.trigger(task, actor="me") for _ in range(3)]
    assert statuses(h, runs) == ["running", "pending", "pending"]
    h.define(command_task("t", overlap=Overlap.QUEUE, max_active_runs=2))
    assert statuses(h, runs) == ["running", "running", "pending"]


def test_nodes_that_refer_to_the_task_count(h: Harness) -> None:
    h.define(command_task("t", max_active_runs=2))
    nodes = [command_node(name, task="t") for name in "abc"]
    [task] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    run = h.operations.trigger(task, actor="me")
    assert h.nodes(run) == {"a": "running", "b": "running", "c": "pending"}
    h.end(h.backend.node("a"))
    assert h.nodes(run) == {"a": "success", "b": "running", "c": "running"}
