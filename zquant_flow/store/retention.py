"""What of the past may go, and how does it go without holding anybody up?

Candidates are found by reading; each transaction that deletes is small, looks again at what may have changed since, and
takes from the tallies what it deletes. What must stay: an execution that has not ended, the latest of a task, one that an
active one resumes, one of a backfill under way, and every instant of the ledger that fired.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, literal_column, select, tuple_

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import (
    LISTED,
    attempts,
    audit,
    backfills,
    bundles,
    counters,
    definitions,
    executions,
    fires,
    idempotency_keys,
    task_tallies,
    tasks,
)
from zquant_flow.store.tallies import shrink

Position = tuple[int, int]
"""`created_time` and id of the last execution that was looked at."""
BEGINNING: Position = (-(2**62), 0)
KEYS_KEPT = 24 * 3_600_000_000
"""Microseconds for which the answer to a request that named a key is kept at the least."""
PAGE = 500
"""How many rows one reading looks at."""

_STATES: list[Any] = [literal_column(f"'{status.value}'") for status in sorted(ACTIVE)]
_ACTIVE = executions.c.status.in_(_STATES)
_ENDED = executions.c.status.not_in(_STATES)
_IS_ROOT = executions.c.parent_execution_id.is_(None)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A row that is to go, the tree it belongs to, and how many attempts it had at the most: each may have a log."""

    id: int
    root_id: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What something else refers to: trees by their root, and backfills that have something active."""

    roots: frozenset[int]
    backfills: frozenset[int]


# ── executions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def kept(database: Database) -> Kept:
    """What must stay, however old. The latest execution of a task only ever moves on, so that one look is enough for it."""
    newest = (
        select(executions.c.root_id)
        .join_from(tasks, executions, executions.c.id == tasks.c.latest_execution_id)
        .where(~tasks.c.adhoc)
    )
    under_way = select(executions.c.backfill_id).where(LISTED, _ACTIVE, executions.c.backfill_id.is_not(None))
    with database.read() as connection:
        roots = {*connection.execute(newest).scalars(), *_resumed(connection)}
        return Kept(frozenset(roots), frozenset(connection.execute(under_way).scalars()))


def old_roots(database: Database, *, before: int) -> Iterator[Sequence[Any]]:
    """Pages of (id, created_time, backfill_id) of the root executions that ended before that instant, oldest first."""
    ended = func.coalesce(executions.c.end_time, executions.c.created_time)
    yield from _roots(database, executions.c.created_time < before, ended < before)


def crowded_tasks(database: Database, count: int) -> Sequence[int]:
    """The tasks that may have more than so many ended executions."""
    query = (
        select(task_tallies.c.task_id)
        .group_by(task_tallies.c.task_id)
        .having(func.sum(task_tallies.c.count) > count)
    )
    with database.read() as connection:
        return connection.execute(query).scalars().all()


def surplus_roots(database: Database, task_id: int, count: int) -> Iterator[Sequence[Any]]:
    """Pages of the ended root executions of a task that stand behind its `count` newest, oldest first."""
    of_task = executions.c.task_id == task_id
    newest = (
        select(executions.c.created_time, executions.c.id)
        .where(LISTED, _IS_ROOT, of_task)
        .order_by(executions.c.created_time.desc(), executions.c.id.desc())
    )
    with database.read() as connection:
        oldest = connection.execute(newest.offset(max(count, 1) - 1).limit(1)).one_or_none()
    if oldest is not None:
        place = tuple_(executions.c.created_time, executions.c.id)
        yield from _roots(database, of_task, place < (oldest.created_time, oldest.id))


def _roots(database: Database, *where: ColumnElement[bool]) -> Iterator[Sequence[Any]]:
    last = BEGINNING
    place = tuple_(executions.c.created_time, executions.c.id)
    columns = (executions.c.id, executions.c.created_time, executions.c.backfill_id, executions.c.retry_count)
    query = select(*columns).where(LISTED, _IS_ROOT, _ENDED, *where).order_by(*place.clauses).limit(PAGE)
    while True:
        with database.read() as connection:
            found = connection.execute(query.where(place > last)).all()
        if not found:
            return
        last = (found[-1].created_time, found[-1].id)
        yield found
        if len(found) < PAGE:
            return


def trees(database: Database, roots: Sequence[Any]) -> list[Doomed]:
    """All rows of these trees, each root after what is below it. One with something active below it is left out."""
    ids = [root.id for root in roots]
    query = select(
        executions.c.id, executions.c.root_id, executions.c.retry_count, _ACTIVE.label("active")
    ).where(executions.c.root_id.in_(ids), executions.c.parent_execution_id.is_not(None))
    below: dict[int, list[Any]] = {}
    with database.read() as connection:
        for row in connection.execute(query):
            below.setdefault(row.root_id, []).append(row)
    found: list[Doomed] = []
    for root in roots:
        children = below.get(root.id, ())
        if not any(child.active for child in children):
            found += (Doomed(child.id, child.root_id, child.retry_count + 1) for child in children)
            found.append(Doomed(root.id, root.id, root.retry_count + 1))
    return found


def delete_executions(database: Database, doomed: Sequence[Doomed]) -> tuple[list[Doomed], float]:
    """Delete these rows with their attempts, in one transaction; those that are gone now, and the seconds it held the lock."""
    with database.write() as connection:
        begin = time.perf_counter()
        resumed = set(_resumed(connection))
        ids = [one.id for one in doomed if one.root_id not in resumed]
        if not database.is_sqlite:  # another scheduler may clean up too
            free = select(executions.c.id).where(executions.c.id.in_(ids)).with_for_update(skip_locked=True)
            ids = list(connection.execute(free).scalars())
        gone = connection.execute(
            delete(executions)
            .where(executions.c.id.in_(ids), _ENDED)
            .returning(
                executions.c.id,
                executions.c.task_id,
                executions.c.created_time,
                executions.c.status,
                executions.c.trigger_type,
                executions.c.duration_seconds.label("seconds"),
                executions.c.inline,
            )
        ).all()
        numbers = {row.id for row in gone}
        connection.execute(delete(attempts).where(attempts.c.execution_id.in_(numbers)))
        shrink(connection, (row._asdict() for row in gone if not row.inline))
    return [one for one in doomed if one.id in numbers], time.perf_counter() - begin


def _resumed(connection: Connection) -> Sequence[int]:
    """What active executions take successes over from."""
    query = select(executions.c.resume_from_execution_id).where(
        LISTED, _ACTIVE, executions.c.resume_from_execution_id.is_not(None)
    )
    return list(connection.execute(query).scalars())


# ── what belongs to executions ──────────────────────────────────────────────────────────────────────────────────────


def empty_backfills(database: Database) -> Sequence[int]:
    """The backfills of which no execution is left: all of them were made in one instant."""
    remaining = (
        select(executions.c.id)
        .where(
            LISTED,
            executions.c.task_id == backfills.c.task_id,
            executions.c.created_time == backfills.c.created_time,
            executions.c.backfill_id == backfills.c.id,
        )
        .exists()
    )
    with database.read() as connection:
        return connection.execute(select(backfills.c.id).where(~remaining)).scalars().all()


def delete_backfills(database: Database, numbers: Sequence[int]) -> int:
    """Forget these backfills."""
    with database.write() as connection:
        return connection.execute(delete(backfills).where(backfills.c.id.in_(numbers))).rowcount


def unused_adhoc_tasks(database: Database, *, before: int) -> Sequence[int]:
    """Hidden tasks, made before that instant, of which no execution is left."""
    query = select(tasks.c.id).where(tasks.c.adhoc, tasks.c.created_time < before, ~_HAS_EXECUTIONS)
    with database.read() as connection:
        return connection.execute(query).scalars().all()


def delete_adhoc_tasks(database: Database, ids: Sequence[int]) -> int:
    """Delete those of these hidden tasks that still have no execution. For the engine's thread: it gives them executions."""
    with database.write() as connection:
        free = select(tasks.c.id).where(tasks.c.id.in_(ids), tasks.c.adhoc, ~_HAS_EXECUTIONS)
        gone = connection.execute(free).scalars().all()
        connection.execute(delete(definitions).where(definitions.c.task_id.in_(gone)))
        connection.execute(delete(fires).where(fires.c.task_id.in_(gone)))
        connection.execute(delete(tasks).where(tasks.c.id.in_(gone)))
    return len(gone)


_HAS_EXECUTIONS = select(executions.c.id).where(LISTED, executions.c.task_id == tasks.c.id).exists()


def unused_bundles(database: Database, *, before: int) -> Sequence[str]:
    """Sources stored before that instant that no task has now, and no execution had that is still here."""
    query = select(definitions.c.body).where(definitions.c.body.contains('"bundle"'), _in_use())
    with database.read() as connection:
        old = (
            connection.execute(select(bundles.c.digest).where(bundles.c.created_time < before))
            .scalars()
            .all()
        )
        if not old:
            return ()
        used = {json.loads(body).get("bundle") for body in connection.execute(query).scalars()}
    return [digest for digest in old if digest not in used]


def delete_bundle(database: Database, digest: str) -> bool:
    """Delete the stored sources, unless a task has come back to them meanwhile."""
    used = select(definitions.c.task_id).where(definitions.c.body.contains(digest), _in_use()).exists()
    with database.write() as connection:
        return connection.execute(delete(bundles).where(bundles.c.digest == digest, ~used)).rowcount > 0


def _in_use() -> ColumnElement[bool]:
    is_current = (
        select(tasks.c.id)
        .where(tasks.c.id == definitions.c.task_id, tasks.c.version == definitions.c.version)
        .exists()
    )
    was_run = (
        select(executions.c.id)
        .where(
            LISTED,
            executions.c.task_id == definitions.c.task_id,
            executions.c.version == definitions.c.version,
        )
        .exists()
    )
    return is_current | was_run


# ── what is written beside them ─────────────────────────────────────────────────────────────────────────────────────


def delete_keys(database: Database, *, before: int, limit: int) -> int:
    """Forget so many answers to requests that named a key."""
    place = tuple_(idempotency_keys.c.key, idempotency_keys.c.actor)
    old = select(*place.clauses).where(idempotency_keys.c.created_time < before).limit(limit)
    with database.read() as connection:
        found = [(row.key, row.actor) for row in connection.execute(old)]
    if not found:
        return 0
    with database.write() as connection:
        return connection.execute(
            delete(idempotency_keys).where(place.in_(found), idempotency_keys.c.created_time < before)
        ).rowcount


def delete_audit(database: Database, *, before: int, limit: int) -> int:
    """Delete so many of the oldest entries of the audit."""
    oldest = select(audit.c.id, audit.c.time).order_by(audit.c.id).limit(limit)
    with database.read() as connection:
        found = [row.id for row in connection.execute(oldest) if row.time < before]
    if not found:
        return 0
    with database.write() as connection:
        return connection.execute(delete(audit).where(audit.c.id.in_(found))).rowcount


def skipped_entries(
    database: Database, *, before: int, after: int, limit: int = 5000
) -> tuple[list[int], int | None]:
    """Entries of the ledger that say why something did not fire, over before that instant, among the next after an id.

    And the id to go on from; None at the end of what is old. The newest entry of a task stays: it explains the task. What
    fired stays for ever: a backfill, or a clock that was set back, would fire it again.
    """
    columns = (fires.c.id, fires.c.task_id, fires.c.outcome, fires.c.until, fires.c.recorded_time)
    query = select(*columns).where(fires.c.id > after).order_by(fires.c.id).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
        old = [row for row in rows if row.recorded_time < before]
        skips = [row for row in old if row.outcome != "fired" and row.until < before]
        newest = _newest_entries(connection, {row.task_id for row in skips})
    found = [row.id for row in skips if row.id not in newest]
    return found, old[-1].id if old and len(rows) == limit else None


def _newest_entries(connection: Connection, task_ids: set[int]) -> set[int]:
    last = (
        select(fires.c.id)
        .where(fires.c.task_id == tasks.c.id)
        .order_by(fires.c.until.desc(), fires.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return set(connection.execute(select(last).where(tasks.c.id.in_(task_ids))).scalars())


def delete_entries(database: Database, ids: Sequence[int]) -> int:
    """Delete these entries of the ledger, if they did not fire."""
    with database.write() as connection:
        return connection.execute(
            delete(fires).where(fires.c.id.in_(ids), fires.c.outcome != "fired")
        ).rowcount


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def first_since(database: Database, moment: int) -> int:
    """The id of the first execution made since that instant; past the newest where there is none."""
    query = (
        select(executions.c.id)
        .where(LISTED, executions.c.created_time >= moment)
        .order_by(executions.c.created_time, executions.c.id)
        .limit(1)
    )
    newest = select(counters.c.value).where(counters.c.name == "execution")
    with database.read() as connection:
        found = connection.execute(query).scalar()
        return int(connection.execute(newest).scalar_one()) + 1 if found is None else int(found)


def of_ids(database: Database, first: int, last: int) -> dict[int, tuple[int, bool]]:
    """For each execution with an id in [first, last] its root, and whether it is active."""
    query = select(executions.c.id, executions.c.root_id, _ACTIVE.label("active")).where(
        executions.c.id.between(first, last)
    )
    with database.read() as connection:
        return {row.id: (row.root_id, bool(row.active)) for row in connection.execute(query)}


def last_execution(database: Database) -> int:
    """The highest id that was ever given."""
    with database.read() as connection:
        return int(
            connection.execute(select(counters.c.value).where(counters.c.name == "execution")).scalar_one()
        )


def write_back(database: Database) -> None:
    """Bring SQLite's journal into its file here, so that a commit of the engine need not do it. Holds nobody up."""
    if database.is_sqlite:
        connection = database.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()
