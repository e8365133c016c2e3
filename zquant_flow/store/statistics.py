"""How often does work succeed, and how long does it take? Aggregates by the database, over tallies wherever they reach.

A span is `[first, last]` of `created_time` in microseconds; None means ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, executions, hour_tallies, task_tallies, tasks
from zquant_flow.store.tallies import HOUR, whole_hours

Span = tuple[int, int]

SAMPLE = 10_000
"""Percentiles are those of so many newest successes: more would not change them, and cost the more."""
PERCENTILES = (50, 90, 95, 99)
_ACTIVE = [status.value for status in sorted(ACTIVE)]


@dataclass(slots=True)
class Tally:
    """Executions by status, and the seconds that the successful ones took in all."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, rows: Iterable[Any]) -> None:
        """Rows of (status, count, seconds)."""
        for status, count, seconds in rows:
            self.counts[status] = self.counts.get(status, 0) + int(count)
            if status == "success":
                self.seconds += seconds or 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """A tally, the newest execution's `created_time`, and durations of successes in seconds by percentile."""

    tally: Tally
    latest: int | None
    percentiles: dict[int, float]


def overall(database: Database, *, task_id: int | None = None, span: Span | None = None) -> Statistics:
    """Of all executions, or of one task's."""
    with database.read() as connection:
        tally = Tally()
        if span is None:
            tally.add(_tallied(connection, task_id))
            tally.add(_grouped(connection, task_id, None, [executions.c.status.in_(_ACTIVE)]))
        elif task_id is not None:
            tally.add(_grouped(connection, task_id, span))
        else:
            _add_span(connection, tally, span)
        conditions = _conditions(task_id, span)
        latest = connection.execute(select(func.max(executions.c.created_time)).where(*conditions)).scalar()
        return Statistics(tally, latest, _percentiles(connection, conditions))


def series(database: Database, *, span: Span, step: int, task_id: int | None = None) -> dict[int, Tally]:
    """Tallies by step (microseconds): the key is the number of the step since 1970. Steps without executions are not there."""
    first, last = span
    if task_id is None and step % HOUR == 0:
        place = hour_tallies.c.hour // (step // HOUR)
        query = (
            select(
                place.label("step"),
                hour_tallies.c.status,
                func.sum(hour_tallies.c.count),
                func.sum(hour_tallies.c.seconds),
            )
            .where(hour_tallies.c.hour.between(first // HOUR, last // HOUR))
            .group_by(place, hour_tallies.c.status)
        )
    else:
        place = executions.c.created_time // step
        query = (
            select(
                place.label("step"),
                executions.c.status,
                func.count(),
                func.sum(executions.c.duration_seconds),
            )
            .where(*_conditions(task_id, span), executions.c.status.not_in(_ACTIVE))
            .group_by(place, executions.c.status)
        )
    found: dict[int, Tally] = {}
    with database.read() as connection:
        for number, *facts in connection.execute(query):
            found.setdefault(int(number), Tally()).add([facts])
    return found


def by_task(
    database: Database, *, span: Span | None, order_by: str, descending: bool, limit: int, skip: int
) -> tuple[Sequence[Any], int]:
    """Tasks that have executions, each with the fields of `TaskStatsOut`; and how many tasks there are."""
    source = _by_task(span)
    columns = {column.name: column for column in source.c}
    order = tasks.c.name if order_by == "name" else columns[order_by]
    direction = order.desc() if descending else order.asc()
    joined = source.join(tasks, tasks.c.id == source.c.task_id)
    shown = ~tasks.c.adhoc
    page = (
        select(source, tasks.c.name)
        .select_from(joined)
        .where(shown)
        .order_by(order.is_(None), direction, tasks.c.id)
        .offset(skip)
        .limit(limit)
    )
    with database.read() as connection:
        total = connection.execute(select(func.count()).select_from(joined).where(shown)).scalar_one()
        return connection.execute(page).all(), total


def _by_task(span: Span | None) -> Any:
    table: Any
    count: Any
    if span is None:
        table, count, seconds = task_tallies, task_tallies.c.count, task_tallies.c.seconds
        conditions: list[ColumnElement[bool]] = []
        latest: ColumnElement[Any] = (
            select(tasks.c.latest_time).where(tasks.c.id == table.c.task_id).scalar_subquery()
        )
    else:
        table, count, seconds = executions, func.count(), executions.c.duration_seconds
        conditions = [*_conditions(None, span), executions.c.status.not_in(_ACTIVE)]
        latest = func.max(executions.c.created_time)
    total = func.sum(count) if span is None else count

    def of(*statuses: str) -> ColumnElement[Any]:
        is_one = or_(*(table.c.status == status for status in statuses))
        if span is None:
            return func.coalesce(func.sum(count).filter(is_one), 0)
        return func.count().filter(is_one)

    succeeded = of("success")
    taken = func.sum(seconds).filter(table.c.status == "success")
    return (
        select(
            table.c.task_id,
            total.label("total_executions"),
            succeeded.label("success_count"),
            of("failed").label("failed_count"),
            of("terminated").label("terminated_count"),
            of("completed").label("completed_count"),
            (taken / func.nullif(succeeded, 0)).label("avg_duration_seconds"),
            latest.label("latest_time"),
        )
        .where(*conditions)
        .group_by(table.c.task_id)
        .subquery()
    )


def _add_span(connection: Connection, tally: Tally, span: Span) -> None:
    """Whole hours from their tallies, the broken ones and what is active from the rows."""
    hours, edges = whole_hours(*span)
    if hours is not None:
        tally.add(
            connection.execute(
                select(
                    hour_tallies.c.status, func.sum(hour_tallies.c.count), func.sum(hour_tallies.c.seconds)
                )
                .where(hour_tallies.c.hour.between(*hours))
                .group_by(hour_tallies.c.status)
            )
        )
    is_final = executions.c.status.not_in(_ACTIVE)
    for edge in edges:
        tally.add(_grouped(connection, None, edge, [is_final]))
    tally.add(_grouped(connection, None, span, [executions.c.status.in_(_ACTIVE)]))


def _tallied(connection: Connection, task_id: int | None) -> Iterable[Any]:
    table = hour_tallies if task_id is None else task_tallies
    query = select(table.c.status, func.sum(table.c.count), func.sum(table.c.seconds)).group_by(
        table.c.status
    )
    return connection.execute(query if task_id is None else query.where(table.c.task_id == task_id))


def _grouped(
    connection: Connection,
    task_id: int | None,
    span: Span | None,
    more: Sequence[ColumnElement[bool]] = (),
) -> Iterable[Any]:
    return connection.execute(
        select(executions.c.status, func.count(), func.sum(executions.c.duration_seconds))
        .where(*_conditions(task_id, span), *more)
        .group_by(executions.c.status)
    )


def _percentiles(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> dict[int, float]:
    newest = (
        select(executions.c.duration_seconds.label("seconds"))
        .where(*conditions, executions.c.status == "success", executions.c.duration_seconds.is_not(None))
        .order_by(executions.c.created_time.desc())
        .limit(SAMPLE)
        .subquery()
    )
    ranked = select(
        newest.c.seconds,
        func.row_number().over(order_by=newest.c.seconds).label("rank"),
        func.count().over().label("size"),
    ).subquery()
    found: dict[int, float] = {}
    # The nearest rank: the smallest value that is not exceeded by that share of all.
    wanted = {share: (ranked.c.size * share + 99) // 100 for share in PERCENTILES}
    rows = connection.execute(
        select(ranked).where(or_(*(ranked.c.rank == place for place in wanted.values())))
    ).all()
    for share in PERCENTILES:
        for row in rows:
            if row.rank == (row.size * share + 99) // 100:
                found[share] = row.seconds
    return found


def _conditions(task_id: int | None, span: Span | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [LISTED]
    if task_id is not None:
        conditions.append(executions.c.task_id == task_id)
    if span is not None:
        conditions.append(executions.c.created_time.between(*span))
    return conditions
