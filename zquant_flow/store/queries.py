"""What do the rows say? Every question that an engine or the API asks, one transaction each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, or_, select

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, attempts, backfills, executions, fires, tasks

CHUNK = 500
"""How many ids one statement names at the most."""

_ACTIVE = executions.c.status.in_([literal_column(f"'{status.value}'") for status in sorted(ACTIVE)])
"""As the partial index says it."""


def unfinished_trees(database: Database) -> list[list[Any]]:
    """Every root execution that has not ended, with all rows below it; the root first, then by id."""
    with database.read() as connection:
        roots = connection.execute(
            select(executions)
            .where(LISTED, _ACTIVE, executions.c.parent_execution_id.is_(None))
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


def handed_trees(database: Database, engine_id: int) -> list[list[Any]]:
    """Every execution that was handed over to this engine and has not ended, with the nodes below it."""
    with database.read() as connection:
        tops = connection.execute(
            select(executions)
            .where(LISTED, _ACTIVE, executions.c.owner == engine_id)
            .order_by(executions.c.id)
        ).all()
        return [
            [
                top,
                *connection.execute(
                    select(executions)
                    .where(executions.c.root_id == top.root_id, _below(top.id))
                    .order_by(executions.c.id)
                ),
            ]
            if _has_children(top)
            else [top]
            for top in tops
        ]


def _below(top: int) -> ColumnElement[bool]:
    """The nodes of an execution, and the items of these."""
    above = executions.c.parent_execution_id
    nodes = select(executions.c.id).where(above == top).scalar_subquery()
    return or_(above == top, above.in_(nodes))


def _has_children(root: Any) -> bool:
    return bool(root.status != "pending")


def fired_between(database: Database, task_id: int, first: int, last: int) -> dict[int, int]:
    """The logical times of the task in [first, last] that have fired, with their executions."""
    with database.read() as connection:
        found = connection.execute(
            select(fires.c.logical_time, fires.c.execution_id).where(
                fires.c.task_id == task_id,
                fires.c.logical_time.between(first, last),
                fires.c.outcome == literal_column("'fired'"),
            )
        )
        return {row.logical_time: row.execution_id for row in found}


def parallel_of(database: Database, numbers: Iterable[int | None]) -> dict[int, int]:
    """How many executions of each of these backfills may be active at once."""
    wanted = sorted(number for number in numbers if number is not None)
    if not wanted:
        return {}
    with database.read() as connection:
        found = connection.execute(
            select(backfills.c.id, backfills.c.parallel).where(backfills.c.id.in_(wanted))
        )
        return {row.id: row.parallel for row in found}


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


def newest_entry(database: Database, task_id: int) -> Any | None:
    """The entry of the task's ledger that reaches furthest."""
    with database.read() as connection:
        return connection.execute(
            select(fires)
            .where(fires.c.task_id == task_id)
            .order_by(fires.c.until.desc(), fires.c.id.desc())
            .limit(1)
        ).one_or_none()


def due_until(database: Database, end: int, *, task_id: int | None = None) -> Sequence[Any]:
    """The tasks whose next fire is not later than `end` (microseconds): `id, next_fire, anchor`, by next fire."""
    query = select(tasks.c.id, tasks.c.next_fire, tasks.c.anchor).where(
        tasks.c.next_fire <= end, tasks.c.archived_at.is_(None)
    )
    if task_id is not None:
        query = query.where(tasks.c.id == task_id)
    with database.read() as connection:
        return connection.execute(query.order_by(tasks.c.next_fire)).all()


def task_switches(database: Database) -> Sequence[Any]:
    """`id, anchor, enabled, paused` of every task that is not archived, by id."""
    query = select(tasks.c.id, tasks.c.anchor, tasks.c.enabled, tasks.c.paused)
    with database.read() as connection:
        return connection.execute(query.where(tasks.c.archived_at.is_(None)).order_by(tasks.c.id)).all()


def task_row(database: Database, task_id: int) -> Any | None:
    """A task by id, archived or not."""
    with database.read() as connection:
        return connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()


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
    columns = ("id", "task_id", "status", "waiting_for", "waiting_until", "start_time")
    query = select(*(executions.c[name] for name in columns)).where(
        LISTED, _ACTIVE, executions.c.task_id.in_(wanted)
    )
    with database.read() as connection:
        for row in connection.execute(query):
            found.setdefault(row.task_id, []).append(row)
    return found


def execution_row(database: Database, execution_id: int) -> Any | None:
    """One execution."""
    with database.read() as connection:
        return connection.execute(select(executions).where(executions.c.id == execution_id)).one_or_none()


def identities(database: Database, ids: Iterable[int]) -> list[Any]:
    """What stays the same of these executions, and how they stand."""
    columns = (
        executions.c.id,
        executions.c.task_id,
        executions.c.root_id,
        executions.c.parent_execution_id,
        executions.c.node,
        executions.c.inline,
        executions.c.trigger_type,
        executions.c.logical_time,
        executions.c.retry_count,
    )
    wanted, found = list(ids), list[Any]()
    with database.read() as connection:
        for first in range(0, len(wanted), CHUNK):
            found += connection.execute(
                select(*columns).where(executions.c.id.in_(wanted[first : first + CHUNK]))
            )
    return found


def large_results(database: Database, since: int) -> Sequence[Any]:
    """The executions that have ended since that instant with a result in a file: `id, reused_from, result_size`."""
    columns = executions.c.id, executions.c.reused_from, executions.c.result, executions.c.result_size
    query = select(*columns).where(executions.c.result_size.is_not(None), executions.c.end_time >= since)
    with database.read() as connection:
        return connection.execute(query.order_by(executions.c.id)).all()


def attempts_of(database: Database, execution_id: int) -> Sequence[Any]:
    """The attempts of an execution that have ended, first to last."""
    with database.read() as connection:
        return connection.execute(
            select(attempts).where(attempts.c.execution_id == execution_id).order_by(attempts.c.attempt)
        ).all()


def nodes_named(database: Database, row: Any, names: Iterable[str]) -> dict[str, Any]:
    """The executions of these nodes of a workflow's execution, by name: `id, node, status`; only those that have one."""
    wanted = list(dict.fromkeys(names))
    found: dict[str, Any] = {}
    with database.read() as connection:
        for start in range(0, len(wanted), CHUNK):
            query = select(executions.c.id, executions.c.node, executions.c.status).where(
                executions.c.root_id == row.root_id,
                executions.c.parent_execution_id == row.id,
                executions.c.node.in_(wanted[start : start + CHUNK]),
            )
            found |= {node.node: node for node in connection.execute(query)}
    return found


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


def ended_before(database: Database, task_id: int, execution_id: int, *, wanted: Iterable[str]) -> str | None:
    """The status in which the last listed execution of a task before this one has ended; None for the first.

    Those whose termination was `wanted`, by their error codes, don't count.
    """
    query = (
        select(executions.c.status)
        .where(
            executions.c.task_id == task_id,
            LISTED,
            executions.c.id < execution_id,
            executions.c.status.in_(("success", "failed", "completed", "terminated")),
            or_(executions.c.error_code.is_(None), executions.c.error_code.not_in(list(wanted))),
        )
        .order_by(executions.c.created_time.desc(), executions.c.id.desc())
        .limit(1)
    )
    with database.read() as connection:
        found: str | None = connection.execute(query).scalar()
    return found


def attempt_fault(database: Database, execution_id: int, attempt: int) -> tuple[str | None, str | None]:
    """Code and message of the error with which an attempt has ended."""
    query = select(attempts.c.error_code, attempts.c.error_message).where(
        attempts.c.execution_id == execution_id, attempts.c.attempt == attempt
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    return (None, None) if row is None else (row.error_code, row.error_message)
