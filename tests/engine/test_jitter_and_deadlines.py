"""A fire may start a little later, and an execution should end in time; neither depends on who looks."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from tests.engine.conftest import EVERY_MINUTE
from zquant_flow.core.model import Overlap, Schedule
from zquant_flow.core.schedule import delay_of
from zquant_flow.core.status import TriggerType
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

JITTER = timedelta(seconds=50)
SPREAD = Schedule(rules=EVERY_MINUTE.rules, jitter=JITTER)


def only(h: Harness):
    [execution] = h.engine.memory.executions.values()
    return queries.execution_row(h.database, execution.id)


def delay(task: int, logical_time: int) -> float:
    return delay_of(task, logical_time, JITTER).total_seconds()


def test_a_delay_is_the_same_at_every_asking_and_spreads_evenly():
    delays = [delay(task, 60_000_000) for task in range(1000)]
    assert delays == [delay(task, 60_000_000) for task in range(1000)]
    assert 0 <= min(delays) < 1 < 49 < max(delays) < 50
    assert 23 < sum(delays) / 1000 < 27


def test_an_execution_is_there_at_its_logical_time_and_starts_when_its_jitter_is_over(h: Harness):
    [task] = h.define(command_task("often", schedule=SPREAD))
    h.tick(60)
    row = only(h)
    wait = delay(task, row.logical_time)
    assert (row.status, row.waiting_for) == ("pending", "jitter")
    assert row.waiting_until == row.logical_time + int(wait * 1e6)
    assert h.backend.orders == []
    h.tick(wait - 0.01)
    assert h.backend.orders == []
    h.tick(0.02)
    assert [order["id"] for order in h.backend.orders] == [row.id]
    assert only(h).logical_time == row.logical_time


def test_jitter_survives_a_restart(h: Harness):
    [task] = h.define(command_task("often", schedule=SPREAD))
    h.tick(60)
    wait = delay(task, only(h).logical_time)
    h.restart()
    h.tick(wait - 0.01)
    assert h.backend.orders == []
    h.tick(0.02)
    assert len(h.backend.orders) == 1


def test_a_late_fire_does_not_wait_for_a_jitter_that_is_over(h: Harness):
    h.define(command_task("often", schedule=SPREAD))
    h.tick(110)
    assert len(h.backend.orders) == 1


def test_a_pause_holds_what_waits_for_its_jitter(h: Harness):
    [task] = h.define(command_task("often", schedule=SPREAD))
    h.tick(60)
    h.operations.pause(task, actor="test")
    h.tick(55)
    assert h.backend.orders == []
    h.operations.resume(task, actor="test")
    h.settle()
    assert len(h.backend.orders) == 1


def test_a_workflow_waits_for_its_jitter_too(h: Harness):
    h.define(workflow_task("nightly", [command_node("one")], schedule=SPREAD))
    h.tick(60)
    assert h.backend.orders == []
    h.tick(50)
    assert [order["node"] for order in h.backend.orders] == ["one"]


def test_what_waits_for_its_jitter_can_be_terminated(h: Harness):
    h.define(command_task("often", schedule=SPREAD))
    h.tick(60)
    row = only(h)
    h.operations.terminate(row.id, actor="test")
    h.tick(55)
    assert h.status(row.id) == "terminated"
    assert h.backend.orders == []


def late(h: Harness, execution: int) -> bool:
    row = queries.execution_row(h.database, execution)
    assert row is not None
    return bool(row.deadline_missed)


def test_an_execution_that_has_not_ended_in_time_says_so_and_runs_on(
    h: Harness, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    h.define(command_task("slow", schedule=EVERY_MINUTE, expected_within=timedelta(seconds=90)))
    h.tick(60)
    row = only(h)
    assert row.deadline == row.logical_time + 90_000_000
    h.tick(89)
    assert not late(h, row.id)
    h.tick(2)
    assert late(h, row.id)
    assert "deadline_missed" in [getattr(record, "action", "") for record in caplog.records]
    assert h.status(row.id) == "running"
    h.end(row.id)
    assert late(h, row.id)


def test_one_that_ended_in_time_is_never_late(h: Harness):
    [task] = h.define(command_task("quick", expected_within=timedelta(seconds=90)))
    execution = h.operations.trigger(task, actor="test")
    h.end(execution)
    h.tick(200)
    assert not late(h, execution)


def test_a_deadline_that_passed_while_nobody_was_there_is_missed_at_the_start(h: Harness):
    [task] = h.define(command_task("slow", expected_within=timedelta(seconds=90)))
    execution = h.operations.trigger(task, actor="test")
    h.clock.advance(100)
    h.restart()
    h.tick(0)
    assert late(h, execution)
    h.restart()
    h.tick(0)
    assert h.status(execution) == "running"


def test_a_backfill_has_no_deadline(h: Harness):
    [task] = h.define(
        command_task(
            "slow", schedule=EVERY_MINUTE, expected_within=timedelta(seconds=90), overlap=Overlap.ALLOW
        )
    )
    found = h.operations.backfill(task, [60_000_000], span=(60_000_000, 60_000_000), parallel=1, actor="test")
    row = queries.execution_row(h.database, found["backfill_id"])
    assert row is not None
    assert (row.trigger_type, row.deadline) == (TriggerType.BACKFILL, None)
