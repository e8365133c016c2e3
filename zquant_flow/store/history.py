"""Which executions match, newest first, and how many are there in all?

A page is a walk along one index; a total comes from the tallies and counts only what they can't know: what is active, and
the broken hours at the ends of a span. Both stay exact and quick with millions of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)

from zquant_flow.core.approval import APPROVAL
from zquant_flow.core.status import ACTIVE, FINAL
from zquant_flow.store.database import Database
from zquant_flow.store.tables import IS_ACTIVE, LISTED, executions, hour_tallies, task_tallies, tasks
from zquant_flow.store.tallies import whole_hours
from zquant_flow.store.tasklist import TaskFilter

_ACTIVE = frozenset(status.value for status in ACTIVE)
_FINAL = frozenset(status.value for status in FINAL)
_EVER = -(2**62), 2**62
_NAMED = select(executions, tasks.c.name.label("task_name")).join_from(
    executions, tasks, tasks.c.id == executions.c.task_id
)

PIECE = 1000
"""Rows of a long list that are read at once."""
FEW_TASKS = 20
"""So many tasks are merged from their own indexes; more are sought along the time."""
FEW_ROWS = 3000
"""So many matches are sorted sooner than they are found among all others."""

Position = tuple[int, int]
"""Where a page ended: `created_time` and id of its last execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which executions: all of these conditions hold. `since` and `until` are inclusive, of `created_time`, in microseconds."""

    task_id: int | None = None
    tasks: TaskFilter | None = None
    statuses: tuple[str, ...] = ()
    trigger_types: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    waiting_for: str | None = None
    inline: bool = False
    """Inline nodes too; their totals are counted one by one."""

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last instant."""
        first, last = _EVER
        return (
            first if self.since is None else self.since,
            last if self.until is None else self.until,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of executions with their `task_name`; how many match in all; where the next page begins, if there is one."""

    rows: Sequence[Any]
    total: int
    following: Position | None


@dataclass(frozen=True, slots=True)
class _Tasks:
    """The tasks whose executions are wanted: a few ids, or a query where they are many."""

    ids: Sequence[int] | None
    query: Select[Any]

    def among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.in_(self.query if self.ids is None else self.ids)


def page(
    database: Database, wanted: Wanted, *, limit: int, skip: int = 0, after: Position | None = None
) -> Page:
    """A page of executions, newest first: `skip` of them left out, or those `after` a position."""
    with database.read() as connection:
        chosen = _chosen(connection, wanted)
        total = _total(connection, wanted, chosen)
        ids = _page_ids(connection, wanted, chosen, total, limit + 1, skip, after)
        rows = rows_of(connection, ids[:limit])
    following = (rows[-1].created_time, rows[-1].id) if len(ids) > limit else None
    return Page(rows, total, following)


def one(database: Database, execution_id: int) -> Any | None:
    """One execution with its `task_name`."""
    with database.read() as connection:
        return next(iter(rows_of(connection, [execution_id])), None)


def children(database: Database, row: Any) -> Iterator[Any]:
    """The executions of a workflow's nodes with their `task_name`, by id; read in pieces, for there may be many."""
    last = 0
    while True:
        query = (
            _NAMED.where(
                executions.c.root_id == row.root_id,
                executions.c.parent_execution_id == row.id,
                executions.c.id > last,
            )
            .order_by(executions.c.id)
            .limit(PIECE)
        )
        with database.read() as connection:
            found = connection.execute(query).all()
        yield from found
        if len(found) < PIECE:
            return
        last = found[-1].id


def rows_of(connection: Connection, ids: Sequence[int]) -> Sequence[Any]:
    """The rows of these executions with their `task_name`, in this order."""
    query = _NAMED.where(executions.c.id.in_(ids))
    found = {row.id: row for row in connection.execute(query)} if ids else {}
    return [found[number] for number in ids if number in found]


def _chosen(connection: Connection, wanted: Wanted) -> _Tasks | None:
    """The tasks whose executions are wanted; None for all of them."""
    query = select(tasks.c.id)
    if wanted.task_id is not None:
        query = query.where(tasks.c.id == wanted.task_id)
    if wanted.tasks is not None:
        query = query.where(*wanted.tasks.conditions())
    elif wanted.task_id is None:
        return None
    ids = connection.execute(query.limit(FEW_TASKS + 1)).scalars().all()
    return _Tasks(ids if len(ids) <= FEW_TASKS else None, query)


# ── totals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _total(connection: Connection, wanted: Wanted, chosen: _Tasks | None) -> int:
    span = wanted.span
    if wanted.inline or wanted.waiting_for or (chosen is not None and span != _EVER):
        return _counted(connection, wanted, chosen, wanted.statuses, span)
    active = [status for status in wanted.statuses or _ACTIVE if status in _ACTIVE]
    final = [status for status in wanted.statuses or _FINAL if status in _FINAL]
    found = _counted(connection, wanted, chosen, active, span) if active else 0
    if not final:
        return found
    if span == _EVER:
        return found + _tallied(connection, wanted, final, chosen)
    return found + _of_span(connection, wanted, final, span)


def _tallied(connection: Connection, wanted: Wanted, final: Sequence[str], chosen: _Tasks | None) -> int:
    if chosen is None:
        return _sum(connection, hour_tallies, wanted, final)
    return _sum(connection, task_tallies, wanted, final, chosen.among(task_tallies.c.task_id))


def _of_span(connection: Connection, wanted: Wanted, final: Sequence[str], span: tuple[int, int]) -> int:
    """Whole hours from their tallies, the broken ones at both ends counted."""
    hours, edges = whole_hours(*span)
    found = sum(_counted(connection, wanted, None, final, edge) for edge in edges)
    if hours is not None:
        found += _sum(connection, hour_tallies, wanted, final, hour_tallies.c.hour.between(*hours))
    return found


def _sum(
    connection: Connection, table: Any, wanted: Wanted, final: Sequence[str], *where: ColumnElement[bool]
) -> int:
    query = select(func.coalesce(func.sum(table.c.count), 0)).where(table.c.status.in_(sorted(final)), *where)
    if wanted.trigger_types:
        query = query.where(table.c.trigger_type.in_(wanted.trigger_types))
    return int(connection.execute(query).scalar_one())


def _counted(
    connection: Connection,
    wanted: Wanted,
    chosen: _Tasks | None,
    statuses: Sequence[str],
    span: tuple[int, int],
) -> int:
    query = select(func.count()).select_from(executions).where(*_conditions(wanted, chosen, statuses, span))
    return int(connection.execute(query).scalar_one())


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _page_ids(
    connection: Connection,
    wanted: Wanted,
    chosen: _Tasks | None,
    total: int,
    limit: int,
    skip: int,
    after: Position | None,
) -> Sequence[int]:
    if skip >= total:
        return []
    conditions = _conditions(wanted, chosen, wanted.statuses, wanted.span)
    if after is not None:
        conditions.append(tuple_(executions.c.created_time, executions.c.id) < after)
    elif skip > total // 2:
        return _from_the_end(connection, conditions, total - skip, limit)
    if chosen is not None and chosen.ids is not None and len(chosen.ids) > 1:
        query = _merged(conditions, chosen.ids, skip + limit)
    else:
        query = _newest_first(conditions, few=total <= FEW_ROWS)
    return connection.execute(query.offset(skip).limit(limit)).scalars().all()


def _newest_first(conditions: Sequence[ColumnElement[bool]], *, few: bool) -> Select[Any]:
    """`few` are found by their filters and then sorted; others are met on a walk along the time."""
    when: ColumnElement[Any] = executions.c.created_time
    when = when + literal(0) if few else when
    return select(executions.c.id).where(*conditions).order_by(when.desc(), executions.c.id.desc())


def _from_the_end(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], remaining: int, limit: int
) -> Sequence[int]:
    """A page nearer to the oldest is walked to from there."""
    limit = min(limit, remaining)
    query = select(executions.c.id).where(*conditions).order_by(executions.c.created_time, executions.c.id)
    found: Sequence[int] = connection.execute(query.offset(remaining - limit).limit(limit)).scalars().all()
    return found[::-1]


def _merged(conditions: Sequence[ColumnElement[bool]], task_ids: Sequence[int], enough: int) -> Select[Any]:
    """The newest of each task, merged."""
    of_one = (
        select(executions.c.id, executions.c.created_time)
        .where(executions.c.task_id == task_id, *conditions)
        .order_by(executions.c.created_time.desc(), executions.c.id.desc())
        .limit(enough)
        .subquery()
        for task_id in task_ids
    )
    newest = union_all(*(select(part.c.id, part.c.created_time) for part in of_one)).subquery()
    return select(newest.c.id).order_by(newest.c.created_time.desc(), newest.c.id.desc())


def _conditions(
    wanted: Wanted, chosen: _Tasks | None, statuses: Sequence[str], span: tuple[int, int]
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if not wanted.inline:
        conditions.append(LISTED)
    if chosen is not None:
        conditions.append(chosen.among(executions.c.task_id))
    if statuses:
        conditions.append(executions.c.status.in_(sorted(statuses)))
    if wanted.trigger_types:
        # What is active is sought by its status: there are few, whatever started them.
        is_few = bool(statuses) and _ACTIVE.issuperset(statuses)
        kind = executions.c.trigger_type.concat("") if is_few else executions.c.trigger_type
        conditions.append(kind.in_(wanted.trigger_types))
    if wanted.waiting_for is not None:
        conditions += _waiting(wanted.waiting_for)
    if span != _EVER:
        conditions.append(executions.c.created_time.between(*span))
    return conditions


def _waiting(what: str) -> list[ColumnElement[bool]]:
    """Said as the partial indexes say it, so that few are sought among many."""
    if what == APPROVAL:
        return [literal_column(f"executions.waiting_for = '{APPROVAL}'")]
    return [executions.c.waiting_for == what, IS_ACTIVE]
