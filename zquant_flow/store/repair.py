"""Where do rows that repeat what others say differ from them, and how are they set right?

Tallies, what a task knows of its executions, and the counters are kept beside the rows they are made of. Each check is one
statement, over one state of the database; so it may run while a server writes. Each repair makes them anew from the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    union_all,
    update,
)

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import (
    LISTED,
    attempts,
    counters,
    executions,
    fires,
    hour_tallies,
    task_tallies,
    tasks,
)
from zquant_flow.store.tallies import HOUR

_STATES: list[Any] = [literal_column(f"'{status.value}'") for status in sorted(ACTIVE)]
_ACTIVE = executions.c.status.in_(_STATES)
_ENDED = executions.c.status.not_in(_STATES)
SECONDS_OFF = 1.0
"""Sums of seconds may differ by so much for each thousand executions: they are added in another order."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is not as the rows say: what, how often, and an example of it."""

    what: str
    count: int
    example: str


def flaws(database: Database) -> list[Flaw]:
    """All of them; nothing is changed."""
    with database.read() as connection:
        found = [Flaw(what, *look(connection)) for what, (look, _) in _CHECKS.items()]
    return [flaw for flaw in found if flaw.count]


def repair(database: Database) -> list[Flaw]:
    """Set all of them right in one transaction; what was wrong. For who holds the lock of the data folder."""
    with database.write() as connection:
        found = []
        for what, (look, mend) in _CHECKS.items():
            flaw = Flaw(what, *look(connection))
            if flaw.count:
                mend(connection)
                found.append(flaw)
        return found


def active_executions(database: Database) -> int:
    """Root executions that have not ended."""
    query = select(func.count()).where(LISTED, _ACTIVE, executions.c.parent_execution_id.is_(None))
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


# ── tallies ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_KIND = ("status", "trigger_type")


def _tallied(place: ColumnElement[Any], name: str) -> Select[Any]:
    """The tallies as they should be."""
    columns = (place.label(name), executions.c.status, executions.c.trigger_type)
    seconds = func.coalesce(func.sum(executions.c.duration_seconds), 0.0)
    return (
        select(*columns, func.count().label("count"), seconds.label("seconds"))
        .where(LISTED, _ENDED)
        .group_by(place, executions.c.status, executions.c.trigger_type)
    )


def _tally_flaws(table: Any, wanted: Select[Any]) -> Callable[[Connection], tuple[int, str]]:
    def look(connection: Connection) -> tuple[int, str]:
        place = table.primary_key.columns.values()[0].name
        has = {
            (row[0], row.status, row.trigger_type): (row.count_, row.seconds)
            for row in connection.execute(
                select(
                    table.c[place],
                    table.c.status,
                    table.c.trigger_type,
                    table.c.count.label("count_"),
                    table.c.seconds,
                )
            )
        }
        rows = wanted.subquery()
        should = {
            (row[0], row.status, row.trigger_type): (row.count_, row.seconds)
            for row in connection.execute(
                select(
                    rows.c[place],
                    rows.c.status,
                    rows.c.trigger_type,
                    rows.c.count.label("count_"),
                    rows.c.seconds,
                )
            )
        }
        wrong = [key for key in sorted(has.keys() | should.keys()) if _differ(has.get(key), should.get(key))]
        if not wrong:
            return 0, ""
        first = wrong[0]
        counts = [facts.get(first, (0, 0.0))[0] for facts in (has, should)]
        return len(wrong), f"{place} {first[0]}, {first[1]}, {first[2]}: {counts[0]} → {counts[1]}"

    return look


def _differ(has: tuple[int, float] | None, should: tuple[int, float] | None) -> bool:
    count, seconds = has or (0, 0.0)
    right_count, right_seconds = should or (0, 0.0)
    return count != right_count or abs(seconds - right_seconds) > SECONDS_OFF * (1 + right_count / 1000)


def _tally_anew(table: Any, wanted: Select[Any]) -> Callable[[Connection], None]:
    def mend(connection: Connection) -> None:
        connection.execute(delete(table))
        connection.execute(insert(table).from_select([column.name for column in table.c], wanted))

    return mend


_BY_TASK = _tallied(executions.c.task_id, "task_id")
_BY_HOUR = _tallied(executions.c.created_time.op("/")(literal_column(str(HOUR))), "hour")

# ── what tasks know of their executions ─────────────────────────────────────────────────────────────────────────────

_OWN = executions.c.task_id == tasks.c.id
_COUNT = select(func.count()).where(LISTED, _ACTIVE, _OWN).scalar_subquery()
_NEWEST = (
    select(executions.c.task_id, func.max(executions.c.id).label("should"))
    .where(LISTED)
    .group_by(executions.c.task_id)
    .subquery()
)


def _count_flaws(connection: Connection) -> tuple[int, str]:
    rows = select(tasks.c.id, tasks.c.active_count.label("has"), _COUNT.label("should")).subquery()
    return _first(connection, select(rows).where(rows.c.has != rows.c.should), "task")


def _count_anew(connection: Connection) -> None:
    connection.execute(update(tasks).where(tasks.c.active_count != _COUNT).values(active_count=_COUNT))


def _latest_rows() -> Select[Any]:
    """Tasks whose latest execution is another, or another in its status. One that retention took is missed by nobody."""
    newest = executions.alias("newest")
    return (
        select(
            tasks.c.id,
            tasks.c.latest_execution_id.label("has"),
            _NEWEST.c.should,
            newest.c.status,
            newest.c.created_time,
        )
        .join_from(tasks, _NEWEST, _NEWEST.c.task_id == tasks.c.id)
        .join(newest, newest.c.id == _NEWEST.c.should)
        .where(
            tasks.c.latest_execution_id.is_distinct_from(_NEWEST.c.should)
            | tasks.c.latest_status.is_distinct_from(newest.c.status)
        )
    )


def _latest_flaws(connection: Connection) -> tuple[int, str]:
    return _first(connection, _latest_rows(), "task")


def _latest_anew(connection: Connection) -> None:
    for row in connection.execute(_latest_rows()).all():
        connection.execute(
            update(tasks)
            .where(tasks.c.id == row.id)
            .values(latest_execution_id=row.should, latest_status=row.status, latest_time=row.created_time)
        )


# ── counters, and rows of nothing ───────────────────────────────────────────────────────────────────────────────────


def _low_counters() -> Select[Any]:
    highest = union_all(
        select(literal("execution").label("name"), func.max(executions.c.id).label("should")),
        select(literal("execution"), func.max(fires.c.execution_id)),
        select(literal("task"), func.max(tasks.c.id)),
        select(literal("change"), func.max(executions.c.change_seq)),
        select(literal("change"), func.max(tasks.c.change_seq)),
    ).subquery()
    should = func.max(highest.c.should)
    return (
        select(counters.c.name, counters.c.value.label("has"), should.label("should"))
        .join_from(counters, highest, highest.c.name == counters.c.name)
        .group_by(counters.c.name, counters.c.value)
        .having(should > counters.c.value)
    )


def _counter_flaws(connection: Connection) -> tuple[int, str]:
    return _first(connection, _low_counters(), "")


def _counters_on(connection: Connection) -> None:
    for row in connection.execute(_low_counters()).all():
        connection.execute(update(counters).where(counters.c.name == row.name).values(value=row.should))


_LOST = ~select(executions.c.id).where(executions.c.id == attempts.c.execution_id).exists()


def _attempt_flaws(connection: Connection) -> tuple[int, str]:
    count = connection.execute(select(func.count()).select_from(attempts).where(_LOST)).scalar_one()
    first = connection.execute(select(func.min(attempts.c.execution_id)).where(_LOST)).scalar()
    return int(count), f"execution {first}"


def _drop_attempts(connection: Connection) -> None:
    connection.execute(delete(attempts).where(_LOST))


def _first(connection: Connection, query: Select[Any], noun: str) -> tuple[int, str]:
    """How many rows of (what, has, should) there are, and the first one in words."""
    rows = connection.execute(query).all()
    if not rows:
        return 0, ""
    return len(rows), f"{noun} {rows[0][0]}: {rows[0].has} → {rows[0].should}".strip()


_CHECKS: dict[str, tuple[Callable[[Connection], tuple[int, str]], Callable[[Connection], None]]] = {
    "task_tallies": (_tally_flaws(task_tallies, _BY_TASK), _tally_anew(task_tallies, _BY_TASK)),
    "hour_tallies": (_tally_flaws(hour_tallies, _BY_HOUR), _tally_anew(hour_tallies, _BY_HOUR)),
    "active_count": (_count_flaws, _count_anew),
    "latest_execution": (_latest_flaws, _latest_anew),
    "counters": (_counter_flaws, _counters_on),
    "attempts": (_attempt_flaws, _drop_attempts),
}
