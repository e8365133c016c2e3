"""What has changed since? Every change of an execution or a task has its number, given inside the commit that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, counters, executions, tasks

_EXECUTION = (
    "id",
    "task_id",
    "root_id",
    "parent_execution_id",
    "node",
    "inline",
    "status",
    "trigger_type",
    "logical_time",
    "version",
    "retry_count",
    "progress_percent",
    "current_item",
    "start_time",
    "end_time",
    "duration_seconds",
    "error_code",
    "error_message",
    "waiting_for",
    "pause_requested",
    "marked_status",
    "terminate_requested",
    "change_seq",
)
_TASK = (
    "id",
    "name",
    "enabled",
    "paused",
    "archived_at",
    "version",
    "source",
    "next_fire",
    "adhoc",
    "change_seq",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows as they are now, by the number of their last change; complete up to the number `until`."""

    executions: Sequence[Any]
    tasks: Sequence[Any]
    until: int


def last_change(database: Database) -> int:
    """The number of the newest change."""
    with database.read() as connection:
        return int(
            connection.execute(select(counters.c.value).where(counters.c.name == "change")).scalar_one()
        )


def changes_since(database: Database, number: int, *, inline: bool, limit: int = 5000) -> Changes:
    """What changed after that number, as it is now; at most `limit` executions. With `inline` nodes too."""
    of_executions = (
        select(*(executions.c[name] for name in _EXECUTION), tasks.c.name.label("task_name"))
        .join_from(executions, tasks, tasks.c.id == executions.c.task_id)
        .where(executions.c.change_seq > number)
        .order_by(executions.c.change_seq)
        .limit(limit)
    )
    if not inline:
        of_executions = of_executions.where(LISTED)
    with database.read() as connection:
        until = int(
            connection.execute(select(counters.c.value).where(counters.c.name == "change")).scalar_one()
        )
        if until == number:
            return Changes((), (), until)
        changed = connection.execute(of_executions).all()
        if len(changed) == limit:
            until = changed[-1].change_seq
        changed_tasks = connection.execute(
            select(*(tasks.c[name] for name in _TASK))
            .where(tasks.c.change_seq > number, tasks.c.change_seq <= until)
            .order_by(tasks.c.change_seq)
        ).all()
    return Changes(changed, changed_tasks, until)
