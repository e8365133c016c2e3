"""Attempts that look, wait without a place, and look again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from zquant_flow.core.model import Action, RetryPolicy
from zquant_flow.engine.deferring import MOST_LOSSES
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path, slots=1) as made:
        yield made


def sensor(**keys: Any) -> Action:
    return Action(executor="example", config={}, **keys)


def started(h: Harness, **keys: Any) -> int:
    (task_id,) = h.define(command_task("wait", action=sensor(**keys)))
    return h.operations.trigger(task_id, actor="me")


def row_of(h: Harness, number: int) -> Any:
    return queries.execution_row(h.database, number)


def attempts(h: Harness, number: int) -> list[tuple[int, str]]:
    return [(row.attempt, row.outcome) for row in queries.attempts_of(h.database, number)]


def remember(h: Harness, number: int, handle: str, attempt: int = 1) -> None:
    """Its attempt keeps a handle."""
    h.backend.on_event({"op": "progress", "items": [{"id": number, "attempt": attempt, "handle": handle}]})
    h.settle()


def test_it_waits_for_a_check_without_a_place_and_looks_again_in_the_same_attempt(h: Harness) -> None:
    number = started(h)
    h.end(number, "deferred", after=30)
    row = row_of(h, number)
    assert (row.status, row.waiting_for, row.retry_count) == ("pending", "check", 0)
    (other,) = h.define(command_task("other"))
    h.end(h.operations.trigger(other, actor="me"))
    h.tick(29)
    assert number not in h.backend.active
    h.tick(2)
    assert h.backend.active[number]["attempt"] == 1
    h.end(number, result='"there"')
    row = row_of(h, number)
    assert (row.status, row.result, attempts(h, number)) == ("success", '"there"', [(1, "success")])
    (attempt,) = queries.attempts_of(h.database, number)
    assert attempt.duration_seconds == pytest.approx(31) or attempt.start_time == row.start_time


def test_its_timeout_bounds_all_looks_together(h: Harness) -> None:
    number = started(h, timeout=timedelta(seconds=100))
    h.end(number, "deferred", after=60)
    h.tick(61)
    assert h.backend.active[number]["timeout"] == pytest.approx(39, abs=1)
    h.end(number, "deferred", after=3600)
    h.tick(38)
    assert h.status(number) == "pending"
    h.tick(2)
    assert (h.status(number), attempts(h, number)) == ("terminated", [(1, "timeout")])
    assert row_of(h, number).error_message == "timeout after 100 s"
    assert number not in h.backend.active


def test_a_timeout_between_looks_is_tried_again_where_it_may_be(h: Harness) -> None:
    number = started(
        h, timeout=timedelta(seconds=100), retry=RetryPolicy(max_retries=1, interval=timedelta(seconds=5))
    )
    remember(h, number, '"job-1"')
    h.end(number, "deferred", after=200)
    h.tick(101)
    assert h.backend.active[number]["ending"] is True
    h.end(number)
    row = row_of(h, number)
    assert (row.status, row.waiting_for, row.handle, row.checks) == ("pending", "retry", None, 0)
    h.tick(6)
    order = h.backend.active[number]
    assert (order["attempt"], order["timeout"], "handle" in order, "ending" in order) == (
        2,
        100,
        False,
        False,
    )


def test_a_handle_is_kept_at_once_and_comes_with_every_look(h: Harness) -> None:
    number = started(h)
    remember(h, number, '{"job":7}')
    assert row_of(h, number).handle == '{"job":7}'
    h.end(number, "deferred", after=1)
    h.tick(2)
    assert h.backend.active[number]["handle"] == '{"job":7}'


@pytest.mark.parametrize("kind", ["lost", "worker died"])
def test_a_look_that_is_lost_is_done_again_and_costs_no_retry(h: Harness, kind: str) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    for _ in range(MOST_LOSSES):
        if kind == "lost":
            h.end(number, "lost")
        else:
            h.end(number, "failed", code="worker_died")
        h.tick(1)
        assert h.backend.active[number]["attempt"] == 1
    h.end(number, "lost")
    assert (h.status(number), attempts(h, number)) == ("terminated", [(1, "lost")])


def test_without_a_handle_a_lost_attempt_is_lost(h: Harness) -> None:
    number = started(h)
    h.end(number, "lost")
    assert h.status(number) == "terminated"


def test_a_look_that_comes_to_an_answer_forgives_the_losses_before(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    for _ in range(3 * MOST_LOSSES):
        h.end(number, "lost")
        h.tick(1)
        h.end(number, "deferred", after=1)
        h.tick(2)
    assert h.status(number) == "running"


def test_a_crash_while_it_waits_forgets_nothing(h: Harness) -> None:
    number = started(h, timeout=timedelta(seconds=100))
    remember(h, number, '"job-1"')
    h.end(number, "deferred", after=30)
    h.tick(10)
    h.restart()
    assert row_of(h, number).waiting_for == "check"
    h.tick(21)
    order = h.backend.active[number]
    assert (order["attempt"], order["handle"]) == (1, '"job-1"')
    assert order["timeout"] == pytest.approx(69, abs=1)


def test_a_crash_while_it_looks_attaches_again(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    h.backend.active.clear()  # the runner died too
    h.restart()
    h.tick(1)
    order = h.backend.active[number]
    assert (order["attempt"], order["handle"], attempts(h, number)) == (1, '"job-1"', [])


def test_termination_while_it_waits_is_at_once_where_nothing_runs_elsewhere(h: Harness) -> None:
    number = started(h)
    h.end(number, "deferred", after=30)
    h.operations.terminate(number, actor="me")
    assert (h.status(number), attempts(h, number)) == ("terminated", [(1, "terminated")])
    assert number not in h.backend.active
    h.tick(31)


def test_termination_while_it_waits_ends_what_runs_elsewhere_first(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    h.end(number, "deferred", after=30)
    h.operations.terminate(number, actor="me")
    order = h.backend.active[number]
    assert (order["ending"], order["handle"], h.status(number)) == (True, '"job-1"', "running")
    h.end(number)
    row = row_of(h, number)
    assert (row.status, row.error_code, attempts(h, number)) == (
        "terminated",
        "terminated",
        [(1, "terminated")],
    )


def test_a_crash_in_the_middle_of_that_end_ends_it_again(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    h.end(number, "deferred", after=30)
    h.operations.terminate(number, actor="me")
    h.backend.active.clear()
    h.restart()
    h.settle()
    assert h.backend.active[number]["ending"] is True
    h.end(number)
    assert h.status(number) == "terminated"


def test_a_wish_to_end_it_that_comes_with_its_deferral_is_heeded(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    h.backend.terminate = lambda *_, **__: None  # type: ignore[method-assign]
    h.operations.terminate(number, actor="me")
    h.end(number, "deferred", after=30)
    assert h.backend.active[number]["ending"] is True
    h.end(number)
    assert h.status(number) == "terminated"


def test_a_graceful_stop_leaves_what_runs_elsewhere(h: Harness) -> None:
    number = started(h)
    remember(h, number, '"job-1"')
    h.restart(kill=False)
    h.tick(1)
    order = h.backend.active[number]
    assert (order["attempt"], order["handle"], attempts(h, number)) == (1, '"job-1"', [])


def test_a_node_that_waits_lets_its_workflow_be_ended(h: Harness) -> None:
    flow = workflow_task("flow", [command_node("a", action=sensor()), command_node("b", "a")])
    (task_id,) = h.define(flow)
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("a"), "deferred", after=30)
    h.tick(31)
    h.end(h.backend.node("a"), "deferred", after=30)
    h.operations.terminate(root, actor="me")
    assert h.status(root) == "terminated"
    assert h.nodes(root) == {"a": "terminated", "b": "skipped"}
