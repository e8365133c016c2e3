"""What a review with fresh eyes has found in the engine: interactions that nobody had thought of."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import Overlap
from zquant_flow.core.status import TriggerType
from zquant_flow.errors import AlreadyFired, ServerNeeded, Unavailable
from zquant_flow.store import history, queries
from zquant_flow.store.changes import changes_since
from zquant_flow.store.history import Wanted
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

MINUTE = 60_000_000


def row_of(h: Harness, execution_id: int) -> Any:
    return queries.execution_row(h.database, execution_id)


def test_a_node_that_was_paused_once_is_paused_with_its_workflow_in_its_next_attempt(h: Harness) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a", action=retrying(1, 5))]))
    root = h.operations.trigger(task_id, actor="me")
    node = h.backend.node("a")
    h.operations.pause_execution(node, actor="me")
    h.settle()
    h.end(node, "failed")  # killed while it stood still
    h.tick(6)
    assert h.nodes(root) == {"a": "running"}
    h.operations.pause_execution(root, actor="me")
    h.settle()
    assert (h.status(root), h.nodes(root)) == ("paused", {"a": "paused"})


def test_a_pause_that_the_attempt_did_not_reach_is_not_shown_as_asked_for_and_forgotten(h: Harness) -> None:
    asked: list[tuple[int, int]] = []
    h.backend.pause = lambda execution_id, attempt: asked.append((execution_id, attempt))  # type: ignore[method-assign]
    [task_id] = h.define(command_task("one", action=retrying(1, 5)))
    one = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(one, actor="me")
    h.settle()
    h.end(one, "failed")  # before it came to a point where it can stand still
    h.tick(6)
    assert h.status(one) == "running"
    assert (one, 2) in asked or not row_of(h, one).pause_requested


def test_a_paused_execution_that_is_terminated_does_not_ask_for_a_pause_again(h: Harness) -> None:
    h.backend.terminate = lambda *args, **kwargs: None  # type: ignore[method-assign]  # it takes its grace
    [task_id] = h.define(command_task("one"))
    one = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(one, actor="me")
    h.settle()
    assert (h.status(one), row_of(h, one).pause_requested) == ("paused", False)
    h.operations.terminate(one, actor="me")
    assert not row_of(h, one).pause_requested


def test_a_word_of_the_runner_about_an_attempt_that_is_to_be_tried_again_starts_nothing(h: Harness) -> None:
    """`Attempts.news` tells outcomes first if one came first in its turn: a `resumed` may follow its own outcome."""
    [task_id] = h.define(command_task("one"))
    one = h.operations.trigger(task_id, actor="me")
    h.operations.pause_execution(one, actor="me")
    h.settle()
    order = h.backend.active.pop(one)
    outcome = {
        "id": one,
        "attempt": order["attempt"],
        "kind": "displaced",
        "started": 1,
        "ended": 2,
        "seconds": 0.1,
    }

    def both() -> None:
        h.engine._worker.take({"op": "outcomes", "items": [outcome]})
        h.engine._worker.take({"op": "resumed", "items": [[one, 1]]})

    h.engine.call(both)
    assert one in h.backend.active, "it is `running` and runs nowhere, for ever"


def test_what_is_read_together_is_one_state(h: Harness) -> None:
    """`Database.read` promises it; events are told twice and out of order where it does not hold."""
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    h.operations.trigger(task_id, actor="me")
    reader, seen = threading.current_thread(), []

    def commit_between(*_: Any) -> None:
        if threading.current_thread() is reader and not seen:
            seen.append(True)
            h.operations.trigger(task_id, actor="me")

    sql_event.listen(h.database.engine, "after_cursor_execute", commit_between)
    found = changes_since(h.database, 0, inline=False)
    assert max(row.change_seq for row in found.executions) <= found.until


def test_what_was_answered_503_before_it_began_is_not_done_afterwards(h: Harness) -> None:
    [task_id] = h.define(command_task("one"))
    free = threading.Event()
    blocked = h.engine.submit(free.wait)
    try:
        with pytest.raises(Unavailable):
            h.engine.call(
                lambda: h.engine.lifecycle.create(
                    h.engine.memory.tasks[task_id], TriggerType.MANUAL, actor="me"
                ),
                timeout=0.0,
            )
    finally:
        free.set()
    blocked.result(5)
    h.settle()
    assert history.page(h.database, Wanted(), limit=10).total == 0


def test_an_instant_that_has_fired_is_known_after_a_backfill_of_older_ones(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.tick(60)
    fired = h.clock.micros()
    [before] = h.backend.active
    h.restart()
    older = fired - 10 * MINUTE
    h.operations.backfill(task_id, [older], span=(older, older), parallel=1, actor="me")
    with pytest.raises(AlreadyFired, match=str(before)):
        h.operations.trigger(task_id, actor="me", logical_time=from_micros(fired))


def test_an_execution_that_has_its_place_in_the_backfill_waits_for_a_slot(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=1) as h:
        busy, task_id = h.define(command_task("busy"), command_task("one", schedule=EVERY_MINUTE))
        h.operations.trigger(busy, actor="me")
        moments = [h.clock.micros() - 2 * MINUTE, h.clock.micros() - MINUTE]
        found = h.operations.backfill(task_id, moments, span=(moments[0], moments[1]), parallel=1, actor="me")
        waits = [row_of(h, number).waiting_for for number in found["executions"].values()]
        assert waits == ["slot", "backfill"]


def test_an_execution_whose_turn_has_come_waits_for_a_slot_and_not_for_others(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=1) as h:
        one_id, busy = h.define(
            command_task("one", overlap=Overlap.QUEUE), command_task("busy", overlap=Overlap.ALLOW)
        )
        first = h.operations.trigger(one_id, actor="me")
        h.operations.trigger(busy, actor="me")
        second = h.operations.trigger(one_id, actor="me")
        h.end(first)
        assert (h.status(second), row_of(h, second).waiting_for) == ("pending", "slot")


def test_an_engine_that_rests_does_not_say_that_it_has_ended_what_it_can_not_end(tmp_path: Path) -> None:
    with Harness(tmp_path) as before:
        [task_id] = before.define(command_task("one"))
        running = before.operations.trigger(task_id, actor="me")
    resting = Harness(tmp_path, rests=True)
    resting.backend = before.backend
    with resting:
        with pytest.raises(ServerNeeded):
            resting.operations.terminate_all(task_id, actor="me")
        assert resting.status(running) == "running"


def test_what_a_pause_holds_goes_on_when_its_task_is_archived(tmp_path: Path) -> None:
    """Nobody could resume it any more: a recorded execution reaches its end by itself."""
    with Harness(tmp_path, slots=1) as h:
        [busy_id] = h.define(command_task("busy"))
        [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
        busy = h.operations.trigger(busy_id, actor="me")
        h.tick(60)
        [held] = h.engine.memory.tasks[task_id].active
        h.operations.pause(task_id, actor="me")
        h.end(busy)
        assert h.status(held) == "pending"
        h.operations.register([], ["one.yaml"])
        h.settle()
        assert h.status(held) == "running"


def test_what_a_pause_holds_of_an_archived_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=1) as h:
        [busy_id] = h.define(command_task("busy"))
        [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
        h.operations.trigger(busy_id, actor="me")
        h.tick(60)
        [waiting] = h.engine.memory.tasks[task_id].active
        h.operations.pause(task_id, actor="me")
        h.operations.register([], ["one.yaml"])
        h.restart()
        h.end(next(iter(h.backend.active)))
        assert h.status(waiting) == "running"


def test_a_retry_that_comes_due_after_its_paused_task_was_archived_is_made(h: Harness) -> None:
    [task_id] = h.define(command_task("one", action=retrying(1, 30)))
    one = h.operations.trigger(task_id, actor="me")
    h.end(one, "failed")
    h.operations.pause(task_id, actor="me")
    h.operations.register([], ["one.yaml"])
    h.tick(31)
    assert h.status(one) == "running"


def test_an_operation_that_fails_half_way_leaves_nothing(h: Harness) -> None:
    [task_id] = h.define(command_task("one"))

    def half() -> None:
        h.engine.lifecycle.create(h.engine.memory.tasks[task_id], TriggerType.MANUAL, actor="me")
        raise ValueError

    with pytest.raises(ValueError):
        h.engine.call(half)
    h.settle()
    assert history.page(h.database, Wanted(), limit=10).total == 0
    assert h.status(h.operations.trigger(task_id, actor="me")) == "running"
