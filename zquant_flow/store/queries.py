"""What do the rows say? Every question that an engine or the API asks, one transaction each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import attempts, executions, fires, tasks

CHUNK = 500
"""How many ids one statement names at the most."""

_ACTIVE = [status.value for status in sorted(ACTIVE)]
EXECUTION_ORDER = {"id": executions.c.id, "start_time": executions.c.start_time}
TASK_ORDER = {
    "id": tasks.c.id,
    "name": tasks.c.name,
    "task_type": tasks.c.task_type,
    "enabled": tasks.c.enabled,
    "created_time": tasks.c.created_time,
    "updated_time": tasks.c.updated_time,
    "next_run_time": tasks.c.next_fire,
    "latest_execution_time": tasks.c.latest_time,
    "latest_execution_status": tasks.c.latest_status,
}
"""What lists may be sorted by: an enumeration, so that no text of a client becomes SQL."""


def unfinished_trees(database: Database) -> list[list[Any]]:
    """Every root execution that has not ended, with all rows below it; the root first, then by id."""
    active = executions.c.status.in_(_ACTIVE) & ~executions.c.inline
    with database.read() as connection:
        roots = connection.execute(
            select(executions)
            .where(active, executions.c.parent_execution_id.is_(None))
            .order_by(executions.c.id)
        ).all()
        return [
            [
                root,
                *connection.execute(
                    select(executions)
                    .where(executions.c.root_id == root.id, executions.c.parent_execution_id.is_not(None))
                    .order_by(executions.c.id)
                ),
            ]
            if _has_children(root)
            else [root]
            for root in roots
        ]


def _has_children(root: Any) -> bool:
    return bool(root.status != "pending")


def fired(database: Database, task_id: int, logical_time: int) -> int | None:
    """The execution that this logical time of the task has fired, if it has."""
    with database.read() as connection:
        return connection.execute(
            select(fires.c.execution_id).where(
                fires.c.task_id == task_id, fires.c.logical_time == logical_time, fires.c.outcome == "fired"
            )
        ).scalar()


def newest_fired(database: Database, task_ids: Sequence[int]) -> dict[int, int]:
    """The latest logical time of each of these tasks that has fired; 0 if none has. One step down the index for each."""
    newest = (
        select(func.max(fires.c.logical_time))
        .where(fires.c.task_id == tasks.c.id, fires.c.outcome == literal_column("'fired'"))
        .scalar_subquery()
    )
    found = dict.fromkeys(task_ids, 0)
    with database.read() as connection:
        for start in range(0, len(task_ids), CHUNK):
            part = task_ids[start : start + CHUNK]
            for task_id, moment in connection.execute(select(tasks.c.id, newest).where(tasks.c.id.in_(part))):
                found[task_id] = moment or 0
    return found


def ledger(database: Database, task_id: int, start: int, end: int, *, limit: int = 1000) -> Sequence[Any]:
    """The task's ledger entries that touch [start, end], by time."""
    with database.read() as connection:
        return connection.execute(
            select(fires)
            .where(fires.c.task_id == task_id, fires.c.until >= start, fires.c.logical_time <= end)
            .order_by(fires.c.logical_time, fires.c.id)
            .limit(limit)
        ).all()


def task_row(database: Database, task_id: int) -> Any | None:
    """A task by id, archived or not."""
    with database.read() as connection:
        return connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()


def list_tasks(
    database: Database,
    *,
    skip: int,
    limit: int,
    task_type: str | None = None,
    enabled: bool | None = None,
    text: str | None = None,
    tag: str | None = None,
    archived: bool = False,
    order_by: str = "id",
    descending: bool = False,
) -> tuple[Sequence[Any], int]:
    """A page of tasks, and how many match in all."""
    conditions: list[ColumnElement[bool]] = []
    if not archived:
        conditions.append(tasks.c.archived_at.is_(None))
    if task_type is not None:
        conditions.append(tasks.c.task_type == task_type)
    if enabled is not None:
        conditions.append(tasks.c.enabled.is_(enabled))
    if text:
        conditions.append(
            or_(
                tasks.c.name.icontains(text, autoescape=True),
                tasks.c.description.icontains(text, autoescape=True),
            )
        )
    if tag:
        conditions.append(tasks.c.tags.contains(json.dumps(tag, ensure_ascii=False), autoescape=True))
    order = TASK_ORDER[order_by]
    page = (
        select(tasks)
        .where(*conditions)
        .order_by(order.desc() if descending else order.asc(), tasks.c.id)
        .offset(skip)
        .limit(limit)
    )
    with database.read() as connection:
        total = connection.execute(select(func.count()).select_from(tasks).where(*conditions)).scalar_one()
        return connection.execute(page).all(), total


def latest_facts(database: Database, ids: Iterable[int]) -> dict[int, Any]:
    """The rows of these executions by id."""
    wanted = list(ids)
    if not wanted:
        return {}
    with database.read() as connection:
        found = connection.execute(select(executions).where(executions.c.id.in_(wanted)))
        return {row.id: row for row in found}


def active_of(database: Database, task_ids: Iterable[int]) -> dict[int, list[Any]]:
    """The executions of these tasks that have not ended; inline nodes are not among them."""
    wanted = list(task_ids)
    found: dict[int, list[Any]] = {}
    if not wanted:
        return found
    query = select(executions.c.task_id, executions.c.status, executions.c.waiting_for).where(
        ~executions.c.inline, executions.c.status.in_(_ACTIVE), executions.c.task_id.in_(wanted)
    )
    with database.read() as connection:
        for row in connection.execute(query):
            found.setdefault(row.task_id, []).append(row)
    return found


def execution_row(database: Database, execution_id: int) -> Any | None:
    """One execution."""
    with database.read() as connection:
        return connection.execute(select(executions).where(executions.c.id == execution_id)).one_or_none()


def attempts_of(database: Database, execution_id: int) -> Sequence[Any]:
    """The attempts of an execution that have ended, first to last."""
    with database.read() as connection:
        return connection.execute(
            select(attempts).where(attempts.c.execution_id == execution_id).order_by(attempts.c.attempt)
        ).all()


def children_of(database: Database, row: Any, *, limit: int = 200_000) -> Sequence[Any]:
    """The executions of a workflow's nodes, by id."""
    with database.read() as connection:
        return connection.execute(
            select(executions)
            .where(
                executions.c.root_id == row.root_id,
                executions.c.parent_execution_id == row.id,
            )
            .order_by(executions.c.id)
            .limit(limit)
        ).all()


def list_executions(
    database: Database,
    *,
    skip: int,
    limit: int,
    task_id: int | None = None,
    status: str | None = None,
    since: int | None = None,
    until: int | None = None,
    nodes: bool = False,
) -> tuple[Sequence[Any], int]:
    """A page of executions, newest first, and how many match in all. Inline nodes only where `nodes`."""
    conditions: list[ColumnElement[bool]] = []
    if not nodes:
        conditions.append(~executions.c.inline)
    if task_id is not None:
        conditions.append(executions.c.task_id == task_id)
    if status is not None:
        conditions.append(executions.c.status == status)
    if since is not None:
        conditions.append(executions.c.created_time >= since)
    if until is not None:
        conditions.append(executions.c.created_time <= until)
    where: Select[Any] = select(executions).where(and_(True, *conditions))
    with database.read() as connection:
        total = connection.execute(
            select(func.count()).select_from(executions).where(and_(True, *conditions))
        ).scalar_one()
        found = connection.execute(where.order_by(executions.c.id.desc()).offset(skip).limit(limit)).all()
        return found, total
