"""Retries in the engine: their number and spacing are exact, over a restart too, and a terminated one has none (E9)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from zquant_flow.core.model import Action, Backoff, RetryPolicy
from zquant_flow.testing import Harness, command_task

GROWING = Action(
    executor="command",
    config={"command": "true"},
    retry=RetryPolicy(
        max_retries=3,
        interval=timedelta(seconds=10),
        backoff=Backoff(factor=3.0, cap=timedelta(seconds=60)),
    ),
)


def waits_until(h: Harness, execution: int) -> int:
    """In how many seconds the next try is due."""
    with h.database.read() as connection:
        until = connection.execute(
            text("SELECT waiting_until FROM executions WHERE id = :id"), {"id": execution}
        ).scalar_one()
    return round((until - h.clock.micros()) / 1e6)


def test_each_wait_is_as_long_as_the_policy_says_also_over_a_restart(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=GROWING))
    execution = h.operations.trigger(task_id, actor="me")
    for number, seconds in enumerate((10, 30, 60), 1):
        h.end(execution, "failed")
        assert waits_until(h, execution) == seconds
        h.restart()
        h.tick(seconds - 1)
        assert h.status(execution) == "pending"
        h.tick(2)
        assert h.backend.active[execution]["attempt"] == number + 1
    h.end(execution, "failed")
    assert h.status(execution) == "failed"
    assert len(h.backend.orders) == 4


def test_one_that_is_terminated_while_it_waits_is_not_tried_again(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=GROWING))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    h.operations.terminate(execution, actor="me")
    h.tick(3600)
    assert h.status(execution) == "terminated"
    assert len(h.backend.orders) == 1
