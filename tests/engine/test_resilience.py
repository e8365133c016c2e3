"""What must neither stop the engine nor lose, repeat or strand anything: odd values, odd moments, odd orders of events."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.model import (
    OnFailure,
    Overlap,
    Rule,
    Schedule,
    TaskDef,
    TaskType,
    TriggerRule,
    WorkflowType,
)
from zquant_flow.engine.service import Engine
from zquant_flow.errors import AlreadyRunning, BadRequest, Conflict, RunnerUnavailable, Unavailable
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine is told after two seconds."""
    monkeypatch.setattr(Engine.call, "__kwdefaults__", {"timeout": 2.0})


@contextmanager
def one_turn(h: Harness) -> Iterator[None]:
    """All that is posted inside is drained by one turn of the engine."""
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(5)

    h.engine._post(hold)
    entered.wait(5)
    try:
        yield
    finally:
        gate.set()
    h.settle()


def ledger(h: Harness, task_id: int) -> list[str]:
    return [row.outcome for row in queries.ledger(h.database, task_id, 0, 1 << 60)]


# ── rows against memory ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_displaced_attempt_starts_again_in_the_same_turn(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.end(execution, "displaced")
    assert h.engine.running
    assert h.status(execution) == "running"
    assert [order["attempt"] for order in h.backend.orders] == [1, 1]


def test_a_displaced_attempt_that_was_kept_does_not_stop_the_next_start(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.engine.stop(keep_attempts=True)
    h.backend.end(execution, "displaced")
    h.restart()
    assert h.status(execution) == "running"


def test_a_retry_without_wait_starts_in_the_turn_that_took_the_failure(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t", action=retrying(1, 0)))[0], actor="me")
    with one_turn(h):
        h.backend.end(execution, "failed")
        h.engine.ring()
    assert h.engine.running
    h.tick(0)
    assert h.status(execution) == "running"


def test_a_pause_and_a_failure_of_one_turn_leave_the_retry_pending(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t", action=retrying(1)))[0], actor="me")
    with one_turn(h):
        h.backend.on_event({"op": "paused", "items": [[execution, 1]]})
        h.backend.end(execution, "lost")
    assert h.status(execution) == "pending"
    h.tick(60)
    assert h.status(execution) == "running"


@pytest.mark.parametrize(("kind", "status"), [("success", "success"), ("failed", "failed")])
def test_a_paused_attempt_may_end_by_itself(h: Harness, kind: str, status: str) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.operations.pause_execution(execution, actor="me")
    h.settle()
    assert h.status(execution) == "paused"
    h.end(execution, kind)
    assert h.status(execution) == status


def test_an_outcome_that_can_not_be_taken_hurts_no_other_of_its_frame(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b", "a", arguments={"x": {"$ref": ["nodes", "a", "result"]}})]
    h.operations.trigger(h.define(workflow_task("w", nodes))[0], actor="me")
    other = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    bad = h.backend.node("a")
    outcome = {"attempt": 1, "kind": "success", "started": 1, "ended": 2, "seconds": 0.1}
    h.backend.on_event(
        {"op": "outcomes", "items": [{**outcome, "id": bad, "result": "{"}, {**outcome, "id": other}]}
    )
    h.settle()
    assert h.status(other) == "success"


# ── a turn that can't be committed ──────────────────────────────────────────────────────────────────────────────────


def works(h: Harness) -> bool:
    """Whether the engine still takes and runs something."""
    execution = h.operations.trigger(h.define(command_task("still there"))[0], actor="me")
    return h.engine.running and h.status(execution) == "running"


def test_two_triggers_of_one_logical_time_in_one_turn_fire_once(h: Harness) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.ALLOW))
    moment = h.clock.now()
    with ThreadPoolExecutor(2) as pool:
        with one_turn(h):
            calls = [
                pool.submit(h.operations.trigger, task_id, actor="me", logical_time=moment) for _ in range(2)
            ]
            while h.engine._inbox.qsize() < 2:
                time.sleep(0.001)
        errors = [call.exception() for call in calls]
    assert sum(error is None for error in errors) == 1
    assert all(error is None or isinstance(error, Conflict) for error in errors), errors
    assert works(h)


def test_an_instant_that_a_person_fired_ahead_does_not_fire_again_when_it_is_due(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.operations.trigger(task_id, actor="me", logical_time=h.clock.now() + timedelta(seconds=60))
    h.tick(60)
    assert ledger(h, task_id) == ["fired"]
    assert works(h)


def test_a_clock_set_back_and_a_restart_fire_nothing_twice(h: Harness) -> None:
    h.define(command_task("t", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.tick(60)
    h.tick(60)
    h.clock.step(-90)
    h.tick(0)
    h.restart()
    h.tick(60)
    h.tick(60)
    assert [order["logical_time"][11:16] for order in h.backend.orders] == ["12:01", "12:02"]
    assert works(h)


@pytest.mark.parametrize(
    "moment",
    [
        datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
        datetime.fromisoformat("9999-12-31T23:59:59-12:00"),
    ],
)
def test_a_logical_time_at_the_end_of_the_calendar_does_not_stop_the_engine(
    h: Harness, moment: datetime
) -> None:
    [task_id] = h.define(command_task("t"))
    with suppress(BadRequest):
        h.operations.trigger(task_id, actor="me", logical_time=moment)
    assert works(h)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
def test_params_that_no_database_takes_do_not_stop_the_engine(h: Harness, value: Any) -> None:
    [task_id] = h.define(command_task("t"))
    with suppress(BadRequest):
        h.operations.trigger(task_id, actor="me", params={"x": value})
    assert works(h)


@pytest.mark.parametrize(
    "facts",
    [
        {"message": "\ud800"},
        {"current_item": ["a", "list"]},
        {"processed_items": 10**30},
        {"percent": {"a": 1}},
    ],
)
def test_progress_that_no_database_takes_does_not_stop_the_engine(h: Harness, facts: dict[str, Any]) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.backend.on_event({"op": "progress", "items": [{"id": execution, "attempt": 1, **facts}]})
    h.end(execution)
    assert h.status(execution) == "success"
    assert works(h)


def test_an_order_that_can_not_be_made_fails_its_own_execution_only(h: Harness) -> None:
    [task_id] = h.define(command_task("t", bundle="0" * 32))
    try:
        execution = h.operations.trigger(task_id, actor="me")
    except Unavailable:
        execution = 1
    assert works(h)
    assert h.status(execution) == "failed"


def test_a_batch_that_is_refused_leaves_no_execution_in_memory_only(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import IntegrityError

    from zquant_flow.store import batch as store_batch

    [task_id] = h.define(command_task("t"))
    real = store_batch.apply

    def refuse(*args: object, **options: object) -> None:
        monkeypatch.setattr(store_batch, "apply", real)
        raise IntegrityError("INSERT", {}, Exception("a constraint"))

    monkeypatch.setattr(store_batch, "apply", refuse)
    with pytest.raises(Exception):  # noqa: B017
        h.operations.trigger(task_id, actor="me")
    execution = h.operations.trigger(task_id, actor="me")
    assert h.status(execution) == "running"


def test_a_fire_and_a_reload_of_one_turn_survive_a_crash_together(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zquant_flow.store import batch as store_batch

    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.clock.advance(60)
    real, crashed = store_batch.apply, threading.Event()

    def crash(*_: object, **__: object) -> None:
        crashed.set()
        raise store_batch.StaleRows("the process ends here")

    changed = command_task("t", schedule=EVERY_MINUTE, description="new")
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(5)

    with ThreadPoolExecutor(1) as pool:
        h.engine._post(hold)
        entered.wait(5)
        h.engine.ring()
        pool.submit(h.define, changed, path="t.yaml")
        while h.engine._inbox.qsize() < 2:
            time.sleep(0.001)
        monkeypatch.setattr(store_batch, "apply", crash)
        gate.set()
        assert crashed.wait(5)
        monkeypatch.setattr(store_batch, "apply", real)
        h.restart()
    h.tick(0)
    assert ledger(h, task_id) == ["fired"]


# ── the runner ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_runner_that_is_gone_while_orders_are_sent_costs_the_caller_no_answer(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RunnerUnavailable("gone")

    [task_id] = h.define(command_task("t"))
    monkeypatch.setattr(h.backend, "start_attempts", gone)
    assert h.operations.trigger(task_id, actor="me")


def test_a_runner_that_does_not_come_back_at_once_is_tried_again(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = h.operations.trigger(h.define(command_task("t", action=retrying(1)))[0], actor="me")
    real, failures = h.backend.start, iter(range(1))
    h.backend.active.clear()

    def flaky() -> dict[str, Any]:
        if next(failures, None) is not None:
            raise RunnerUnavailable("not yet")
        return real()

    monkeypatch.setattr(h.backend, "start", flaky)
    h.engine._backend_lost()
    h.settle()
    h.tick(5)
    assert h.status(execution) == "pending"


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["outcome", "lost"])
def test_what_waits_for_an_execution_that_ended_at_the_restart_goes_on(h: Harness, how: str) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.QUEUE))
    first, second = (h.operations.trigger(task_id, actor="me") for _ in range(2))
    h.engine.stop(keep_attempts=True)
    if how == "outcome":
        h.backend.end(first)
    else:
        h.backend.active.clear()
    h.restart()
    h.tick(1)
    assert h.status(second) == "running"


def test_a_failure_taken_at_the_restart_waits_its_interval(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t", action=retrying(1)))[0], actor="me")
    h.engine.stop(keep_attempts=True)
    h.backend.end(execution, "failed")
    h.restart()
    h.tick(1)
    assert execution not in h.backend.active
    h.tick(60)
    assert execution in h.backend.active


def test_the_result_of_a_failed_node_is_the_same_before_and_after_a_restart(h: Harness) -> None:
    def run(restart: bool) -> str:
        name = f"w{restart}"
        nodes = [
            command_node("bad"),
            command_node("side"),
            command_node(
                "last",
                "bad",
                "side",
                trigger_rule=TriggerRule.ALL_DONE,
                arguments={"x": {"$ref": ["nodes", "bad", "result"]}},
            ),
        ]
        [task_id] = h.define(workflow_task(name, nodes, workflow_type=WorkflowType.PARALLEL))
        root = h.operations.trigger(task_id, actor="me")
        h.end(h.backend.node("bad"), "failed")
        if restart:
            h.restart()
        h.end(h.backend.node("side"))
        found = h.nodes(root)["last"]
        if found == "running":
            h.end(h.backend.node("last"))
        return found

    assert run(True) == run(False)


def test_a_pause_that_was_asked_for_before_a_crash_is_asked_again(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.backend.pause = lambda *_: None  # type: ignore[method-assign]
    h.operations.pause_execution(execution, actor="me")
    asked: list[int] = []
    h.backend.pause = lambda execution_id, attempt: asked.append(execution_id)  # type: ignore[method-assign]
    h.restart()
    h.settle()
    assert asked == [execution]


# ── pause, overlap, terminate ───────────────────────────────────────────────────────────────────────────────────────


def test_a_terminate_is_not_forgotten_when_the_attempt_was_displaced(h: Harness) -> None:
    execution = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
    h.backend.active.clear()
    h.operations.terminate(execution, actor="me")
    outcome = {"id": execution, "attempt": 1, "kind": "displaced", "started": 1, "ended": 2}
    h.backend.on_event({"op": "outcomes", "items": [outcome]})
    h.settle()
    assert h.status(execution) == "terminated"


def test_a_workflow_that_waits_for_overlap_is_held_by_a_pause(h: Harness) -> None:
    [task_id] = h.define(
        workflow_task("w", [command_node("a")], schedule=EVERY_MINUTE, overlap=Overlap.QUEUE)
    )
    h.tick(60)
    h.tick(60)
    h.operations.pause(task_id, actor="me")
    h.end(h.backend.node("a"))
    assert h.backend.active == {}
    h.operations.resume(task_id, actor="me")
    assert len(h.backend.active) == 1


def test_a_serial_workflow_of_tasks_with_nothing_to_run_ends_without_recursion(h: Harness) -> None:
    h.define(TaskDef(name="empty", task_type=TaskType.MANUAL))
    nodes = [command_node(f"n{i}", task="empty") for i in range(500)]
    [task_id] = h.define(workflow_task("w", nodes, on_failure=OnFailure.CONTINUE))
    root = h.operations.trigger(task_id, actor="me")
    assert h.status(root) == "completed"


def test_a_node_that_can_not_start_and_is_terminated_in_one_turn_breaks_nothing(
    h: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    h.define(command_task("shared"))
    nodes = [
        command_node("x"),
        command_node("y"),
        command_node("bad", "x", task="shared", arguments={"v": {"$ref": ["nodes", "x", "result", "no"]}}),
    ]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    with one_turn(h):
        h.backend.end(h.backend.node("x"), result="{}")
        h.backend.end(h.backend.node("y"), "failed")
    h.settle()
    assert h.status(root) == "failed"
    assert "a turn failed" not in caplog.text


def test_a_referenced_task_that_is_paused_is_tried_again_as_a_node(h: Harness) -> None:
    shared_id, outer_id = h.define(
        command_task("shared", action=retrying(1)), workflow_task("outer", [command_node("s", task="shared")])
    )
    h.operations.pause(shared_id, actor="me")
    h.operations.trigger(outer_id, actor="me")
    [child] = h.backend.active
    h.end(child, "failed")
    h.tick(60)
    assert child in h.backend.active


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_whose_file_comes_back_still_counts_what_runs(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    first = h.operations.trigger(task_id, actor="me")
    h.operations.register([], ["t.yaml"])
    assert h.define(command_task("t")) == [task_id]
    with pytest.raises(AlreadyRunning, match=f"execution {first}"):
        h.operations.trigger(task_id, actor="me")


def test_a_held_retry_of_a_task_that_was_away_goes_on_when_it_is_resumed(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(1)))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    h.operations.pause(task_id, actor="me")
    h.tick(60)
    h.operations.register([], ["t.yaml"])
    h.define(command_task("t", action=retrying(1)))
    h.operations.resume(task_id, actor="me")
    assert h.status(execution) == "running"


def test_a_file_that_enables_its_task_catches_nothing_up(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE, enabled=False))
    h.tick(3600)
    h.define(command_task("t", schedule=EVERY_MINUTE))
    h.tick(0)
    assert h.backend.orders == []
    assert ledger(h, task_id) == ["disabled"]


def test_the_time_of_a_task_that_was_away_and_disabled_is_written_once(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.operations.disable(task_id, actor="me")
    h.tick(600)
    h.operations.register([], ["t.yaml"])
    h.tick(600)
    h.define(command_task("t", schedule=EVERY_MINUTE))
    h.tick(600)
    h.operations.enable(task_id, actor="me")
    rows = sorted((row.logical_time, row.until) for row in queries.ledger(h.database, task_id, 0, 1 << 60))
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(rows)), rows


def test_a_clock_set_back_voids_the_later_part_of_a_span(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.operations.disable(task_id, actor="me")
    h.tick(600)
    h.operations.enable(task_id, actor="me")
    h.tick(0)
    h.clock.step(-300)
    h.tick(0)
    h.tick(60)
    now = int(h.clock.now().timestamp() * 1e6)
    spans = [row for row in queries.ledger(h.database, task_id, 0, 1 << 60) if row.outcome == "disabled"]
    assert all(row.until <= now - 60_000_000 for row in spans)


def test_an_extreme_start_at_does_not_stop_a_registration(h: Harness) -> None:
    schedule = Schedule(rules=(Rule(cron="* * * * *"),), start_at=datetime(1, 1, 1, tzinfo=UTC))
    h.define(command_task("t", schedule=schedule))
    h.tick(60)
    assert len(h.backend.orders) == 1
