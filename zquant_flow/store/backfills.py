"""Which backfills have there been, and how far are they?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, func, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, backfills, executions, tasks

_NAMED = select(backfills, tasks.c.name.label("task_name")).join(tasks, tasks.c.id == backfills.c.task_id)


def backfill(database: Database, number: int) -> Any | None:
    """A backfill by its id, with `task_name`."""
    with database.read() as connection:
        return connection.execute(_NAMED.where(backfills.c.id == number)).one_or_none()


def newest(database: Database, *, task_id: int | None, limit: int) -> Sequence[Any]:
    """The newest backfills, of one task or of all, with `task_name`."""
    query = _NAMED if task_id is None else _NAMED.where(backfills.c.task_id == task_id)
    with database.read() as connection:
        return connection.execute(query.order_by(backfills.c.id.desc()).limit(limit)).all()


def counts(database: Database, numbers: Iterable[int]) -> dict[int, dict[str, int]]:
    """How many executions of these backfills are in each status. All of one were made in one instant: an index has them."""
    query = (
        select(backfills.c.id, executions.c.status, func.count())
        .select_from(backfills)
        .join(
            executions,
            and_(
                LISTED,
                executions.c.task_id == backfills.c.task_id,
                executions.c.created_time == backfills.c.created_time,
                executions.c.backfill_id == backfills.c.id,
            ),
        )
        .where(backfills.c.id.in_(list(numbers)))
        .group_by(backfills.c.id, executions.c.status)
    )
    found: dict[int, dict[str, int]] = {}
    with database.read() as connection:
        for number, status, count in connection.execute(query):
            found.setdefault(number, {})[status] = count
    return found
