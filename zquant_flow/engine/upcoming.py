"""Which fires are ahead, of all tasks, in the order of time?

Rows know the next fire of each task, so that only tasks which fire in the span cost anything; what follows is computed as
far as somebody reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import Times
from zquant_flow.definitions.registry import Entry, Registry
from zquant_flow.store import queries
from zquant_flow.store.database import Database

Ahead = tuple[datetime, Entry]


def upcoming(
    database: Database,
    registry: Registry,
    times_for: Callable[[Iterable[TaskDef]], Times],
    start: datetime,
    end: datetime,
    *,
    task_id: int | None = None,
) -> Iterator[Ahead]:
    """The fires in [start, end] of the tasks that are neither disabled nor paused, by time, then by id."""
    rows = queries.due_until(database, to_micros(end) or 0, task_id=task_id)
    found = [
        (row, entry)
        for row in rows
        if (entry := registry.by_id.get(row.id)) is not None and entry.definition.schedule is not None
    ]
    times = times_for(entry.definition for _, entry in found)
    streams = (_of_task(row, entry, times, start, end) for row, entry in found)
    return heapq.merge(*streams, key=lambda ahead: (ahead[0], ahead[1].id))


def _of_task(row: Any, entry: Entry, times: Times, start: datetime, end: datetime) -> Iterator[Ahead]:
    schedule, first = entry.definition.schedule, from_micros(row.next_fire)
    assert schedule is not None
    if first >= start:
        yield first, entry
    after = max(first, start - timedelta.resolution)
    for moment in times.table(schedule, from_micros(row.anchor)).between(after, end):
        yield moment, entry
