"""What has arrived for the tasks that wait for others? (`store.batch` writes the rows)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import signals as table


def signals(database: Database) -> Sequence[Any]:
    """All that has arrived and has not led to an execution."""
    with database.read() as connection:
        return connection.execute(select(table)).all()


def signals_of(database: Database, task_id: int) -> Sequence[Any]:
    """The same of one task."""
    with database.read() as connection:
        return connection.execute(select(table).where(table.c.task_id == task_id)).all()
