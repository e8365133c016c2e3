"""How many executions have ended, how, and when were they made? Kept beside the rows, so that a total costs no count.

Only listed executions that have ended are tallied: inline nodes stand in no list, and what is active is few, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

HOUR = 3_600_000_000
"""Microseconds; the width of a bucket of `hour_tallies`."""

_GROW_TASK = text(
    "INSERT INTO task_tallies (task_id, status, trigger_type, count, seconds) "
    "VALUES (:place, :status, :trigger_type, :count, :seconds) "
    "ON CONFLICT (task_id, status, trigger_type) DO UPDATE "
    "SET count = task_tallies.count + excluded.count, seconds = task_tallies.seconds + excluded.seconds"
)
_GROW_HOUR = text(
    "INSERT INTO hour_tallies (hour, status, trigger_type, count, seconds) "
    "VALUES (:place, :status, :trigger_type, :count, :seconds) "
    "ON CONFLICT (hour, status, trigger_type) DO UPDATE "
    "SET count = hour_tallies.count + excluded.count, seconds = hour_tallies.seconds + excluded.seconds"
)
_EMPTY_TASK = text("DELETE FROM task_tallies WHERE task_id = :place AND count <= 0")
_EMPTY_HOUR = text("DELETE FROM hour_tallies WHERE hour = :place AND count <= 0")


def grow(connection: Connection, ended: Iterable[dict[str, Any]]) -> None:
    """Add executions that this transaction ends: dicts of `task_id, created_time, status, trigger_type, seconds`."""
    _add(connection, ended, 1)


def shrink(connection: Connection, deleted: Iterable[dict[str, Any]]) -> None:
    """Take away executions that this transaction deletes: the same dicts. A tally that comes to nothing goes."""
    deleted = list(deleted)
    if deleted:
        _add(connection, deleted, -1)
        connection.execute(
            _EMPTY_TASK, [{"place": place} for place in sorted({row["task_id"] for row in deleted})]
        )
        hours = sorted({row["created_time"] // HOUR for row in deleted})
        connection.execute(_EMPTY_HOUR, [{"place": place} for place in hours])


def _add(connection: Connection, executions: Iterable[dict[str, Any]], sign: int) -> None:
    by_task: dict[tuple[int, str, str], list[float]] = {}
    by_hour: dict[tuple[int, str, str], list[float]] = {}
    for row in executions:
        kind = row["status"], row["trigger_type"]
        for tally, place in ((by_task, row["task_id"]), (by_hour, row["created_time"] // HOUR)):
            cell = tally.setdefault((place, *kind), [0, 0.0])
            cell[0] += sign
            cell[1] += sign * (row["seconds"] or 0.0)
    if by_task:
        connection.execute(_GROW_TASK, _rows(by_task))
        connection.execute(_GROW_HOUR, _rows(by_hour))


def whole_hours(first: int, last: int) -> tuple[tuple[int, int] | None, list[tuple[int, int]]]:
    """How tallies cover [first, last]: the first and the last whole hour, if there is one, and the broken ends as spans."""
    begin, end = -(-first // HOUR), (last + 1) // HOUR
    if begin >= end:
        return None, [(first, last)]
    edges = [(first, begin * HOUR - 1), (end * HOUR, last)]
    return (begin, end - 1), [edge for edge in edges if edge[0] <= edge[1]]


def _rows(tally: dict[tuple[int, str, str], list[float]]) -> list[dict[str, Any]]:
    # Sorted, so that two writers lock the same rows in the same order.
    return [
        {"place": place, "status": status, "trigger_type": kind, "count": count, "seconds": seconds}
        for (place, status, kind), (count, seconds) in sorted(tally.items())
    ]
