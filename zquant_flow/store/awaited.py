"""How far is the task that somebody waits for? Asked by the engine for each look of the executor `wait`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, executions, tasks

BEFOREHAND_MICROS = 86_400_000_000
"""An execution may be made so long before the instant that it stands for."""

_STATUS = func.coalesce(executions.c.marked_status, executions.c.status)
"""As somebody has marked it, else as it ended."""
_COLUMNS = (executions.c.id, _STATUS.label("status"), executions.c.logical_time, executions.c.end_time)


def task_named(database: Database, name: str) -> int | None:
    """The id of the task that has this name now."""
    query = select(tasks.c.id).where(tasks.c.name == name, tasks.c.archived_at.is_(None))
    with database.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def standing_for(database: Database, task_id: int, logical_time: int) -> Any | None:
    """Of the task's executions that stand for this instant one that succeeded, else the newest: `id, status, logical_time, end_time`."""
    made = executions.c.created_time >= logical_time - BEFOREHAND_MICROS
    query = select(*_COLUMNS).where(
        LISTED, executions.c.task_id == task_id, made, executions.c.logical_time == logical_time
    )
    order = ((_STATUS == "success").desc(), executions.c.created_time.desc())
    with database.read() as connection:
        return connection.execute(query.order_by(*order).limit(1)).one_or_none()


def newest_success(database: Database, task_id: int) -> Any | None:
    """The newest execution of the task that succeeded, in the same shape: one step down an index."""
    query = select(*_COLUMNS).where(
        LISTED, executions.c.task_id == task_id, executions.c.status == "success", _STATUS == "success"
    )
    with database.read() as connection:
        return connection.execute(query.order_by(executions.c.created_time.desc()).limit(1)).one_or_none()
