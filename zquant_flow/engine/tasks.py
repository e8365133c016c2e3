"""How does a registered task stand when its file says something new?

What an operator switched stays, unless the file's own `enabled` changed; time in which nobody looked for fires becomes spans of
the ledger; a new schedule counts from now (SEMANTICS §2.5, §6.5-6.6). Pure: each function makes a new `Task`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from zquant_flow.core.model import Schedule, TaskDef
from zquant_flow.core.schedule import SkipReason
from zquant_flow.definitions.registry import Entry
from zquant_flow.engine.memory import Task

Span = tuple[int, int, SkipReason]
"""From, to (microseconds), and why nothing fired in between."""


def state_tag(row: Any) -> str:
    """Names a state of a task's definition and switches: the row's version, and when it was last changed."""
    return f"{row.version}-{row.updated_time}"


def new_task(entry: Entry, now: int) -> Task:
    """A task that is registered for the first time."""
    enabled = entry.definition.enabled
    return Task(
        id=entry.id,
        name=entry.name,
        version=entry.version,
        definition=entry.definition,
        folder=entry.folder,
        enabled=enabled,
        paused=False,
        anchor=_cut(now),
        cursor=now,
        idle_since=None if enabled else now,
        files_since=None if entry.definition.on_file is None else now,
        seen_until=0,
    )


def task_of(entry: Entry, row: Any) -> Task:
    """A task as its row has it."""
    return Task(
        id=entry.id,
        name=entry.name,
        version=entry.version,
        definition=entry.definition,
        folder=entry.folder,
        enabled=row.enabled,
        paused=row.paused,
        anchor=row.anchor,
        cursor=row.cursor,
        idle_since=row.idle_since,
        latest_id=row.latest_execution_id,
        latest_status=row.latest_status,
        latest_time=row.latest_time,
        files_since=row.files_since,
    )


def changed_task(entry: Entry, before: Task, now: int) -> tuple[Task, list[Span]]:
    """The task under a new version or from another file, and the span that its new `enabled` closes."""
    task = replace(before, version=entry.version, definition=entry.definition, folder=entry.folder)
    spans: list[Span] = []
    if entry.definition.enabled != before.definition.enabled:
        task.enabled = entry.definition.enabled
    if before.idle and not task.idle:
        spans += idle_span(before, now)
        task.cursor, task.idle_since = now, None
    elif task.idle and not before.idle:
        task.idle_since = now
    _follow_schedule(task, before.definition, now)
    if (task.definition.on_file, task.folder) != (before.definition.on_file, before.folder):
        task.files_since = None if task.definition.on_file is None else now
    return task, spans


def returned_task(entry: Entry, row: Any, before: TaskDef, now: int) -> tuple[Task, list[Span]]:
    """A task whose name is back: its id, history and switches stay; the time away is one span, idle time before it another."""
    archived = task_of(entry, row)
    spans = list(idle_span(replace(archived, definition=before), row.archived_at)) if archived.idle else []
    if before.schedule is not None and row.archived_at < now:
        spans.append((row.archived_at, now, SkipReason.ARCHIVED))
    task = replace(archived, cursor=now, files_since=None if entry.definition.on_file is None else now)
    if entry.definition.enabled != before.enabled:
        task.enabled = entry.definition.enabled
    task.idle_since = now if task.idle else None
    _follow_schedule(task, before, now)
    return task, spans


def idle_span(task: Task, until: int) -> Iterator[Span]:
    """The time since the task was disabled or paused, if it has a schedule that could have fired in it."""
    if task.definition.schedule is not None and task.idle_since is not None and task.idle_since < until:
        yield task.idle_since, until, SkipReason.PAUSED if task.enabled else SkipReason.DISABLED


def _follow_schedule(task: Task, before: TaskDef, now: int) -> None:
    after = task.definition.schedule
    if after == before.schedule:
        return
    task.cursor = now
    if _intervals(after) != _intervals(before.schedule):
        task.anchor = _cut(now)


def _intervals(schedule: Schedule | None) -> list[object]:
    rules = schedule.rules if schedule else ()
    return [rule.interval for rule in rules if rule.interval is not None]


def _cut(now: int) -> int:
    """Intervals count from a whole second (SEMANTICS §6.3)."""
    return now - now % 1_000_000
