"""What does it change that somebody says how an execution is to be taken?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_resume_and_backfill import failed_in_the_middle, row_of, rows_of
from zquant_flow.core.status import Status
from zquant_flow.errors import ExecutionNotFound, WrongState
from zquant_flow.testing import Harness, command_task

SUCCESS, FAILED = Status.SUCCESS, Status.FAILED


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def running_nodes(h: Harness) -> list[str]:
    return [order["node"] for order in h.backend.active.values()]


def test_a_mark_is_kept_beside_the_status_and_taken_back(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    h.operations.mark(root, SUCCESS, actor="alice", comment="loaded by hand")
    row = row_of(h, root)
    assert (row.status, row.marked_status, row.marked_by) == ("failed", "success", "alice")
    assert row.marked_time == h.clock.micros()
    h.operations.mark(root, None, actor="alice")
    row = row_of(h, root)
    assert (row.marked_status, row.marked_by, row.marked_time) == (None, None, None)
    with h.database.read() as connection:
        found = connection.exec_driver_sql("SELECT detail FROM audit WHERE action = 'mark' ORDER BY id")
        assert found.scalars().all() == ["success: loaded by hand", "none"]


def test_a_node_that_is_marked_as_a_success_is_not_run_again(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    h.operations.mark(rows_of(h, root)["b"].id, SUCCESS, actor="me")
    again = h.operations.resume_execution(root, actor="me")
    assert running_nodes(h) == ["c"]
    assert h.nodes(again) == {"a": "success", "b": "success", "c": "running"}


def test_a_node_that_is_marked_as_a_failure_is_run_again(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    h.operations.mark(rows_of(h, root)["a"].id, FAILED, actor="me")
    h.operations.resume_execution(root, actor="me")
    assert running_nodes(h) == ["a"]


def test_what_is_taken_as_a_success_is_not_resumed_and_what_is_taken_as_a_failure_is(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    h.operations.mark(root, SUCCESS, actor="me")
    with pytest.raises(WrongState, match=f"execution {root} is success"):
        h.operations.resume_execution(root, actor="me")
    [task] = h.define(command_task("t"))
    good = h.operations.trigger(task, actor="me")
    h.end(good)
    h.operations.mark(good, FAILED, actor="me")
    assert h.operations.resume_execution(good, actor="me") != good


def test_what_has_not_ended_and_what_is_not_there_is_not_marked(h: Harness) -> None:
    [task] = h.define(command_task("t"))
    running = h.operations.trigger(task, actor="me")
    with pytest.raises(WrongState, match="only what has ended can be marked"):
        h.operations.mark(running, SUCCESS, actor="me")
    with pytest.raises(ExecutionNotFound):
        h.operations.mark(running + 1, SUCCESS, actor="me")


def test_a_mark_is_news_to_those_who_listen(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    before = row_of(h, root).change_seq
    h.operations.mark(root, SUCCESS, actor="me")
    assert row_of(h, root).change_seq > before


def test_of_two_marks_in_one_turn_the_last_one_counts(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    h.operations.at_once(
        [
            lambda operations: operations.mark(root, SUCCESS, actor="a"),
            lambda operations: operations.mark(root, FAILED, actor="b"),
        ]
    )
    assert (row_of(h, root).marked_status, row_of(h, root).marked_by) == ("failed", "b")
