"""How does a backup take the place of the database, without losing either of them?

The backup is checked, copied, migrated and prepared beside; only then it takes the place, in one step. What was there
before is kept. Numbers go on from the higher of both: an id never stands for two executions, and a term never comes again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, func, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError

from zquant_flow.core.status import ACTIVE
from zquant_flow.errors import BadRequest, Conflict, Unavailable, ZquantFlowError
from zquant_flow.store.backup import Progress, check_backup, copy_rows, sync, unseen, write_backup
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.health import schema_found
from zquant_flow.store.tables import (
    counters,
    engines,
    executions,
    fires,
    metadata,
    partial_indexes_for,
    tasks,
)
from zquant_flow.wording import say

UNKNOWN = 1000
"""By so much numbers go on where the database before can't say how far it was."""
SAMPLE = 200
"""So many executions are compared to see whether both databases are of one history."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    found: str
    """The migration that the backup's schema was of."""
    tasks: int
    executions: int
    active: int
    """Executions that had not ended."""
    entries: int
    """Entries of the ledger that were taken over from the database before."""
    kept: Path | None
    """Where the database before is now."""
    same_history: bool
    """Whether the database before was an earlier or later state of the same; else its logs are others'."""


@dataclass(slots=True)
class _Before:
    """What the database that is replaced knows."""

    numbers: dict[str, int] = field(default_factory=dict)
    epoch: int = 0
    cursors: dict[int, tuple[str, int]] = field(default_factory=dict)
    entries: Sequence[Mapping[str, Any]] = ()
    sample: dict[int, int] = field(default_factory=dict)
    """`created_time` of executions by id."""


def restore(
    url: str, file: Path, *, data_dir: Path, label: str, last_log: int = 0, progress: Progress = unseen
) -> Restored:
    """Put the backup in the place of the database. For who holds the lock of the data folder.

    `label`: what the name of the old one ends with; `last_log`: the highest id of an execution that has left a log. Raises
    BadRequest for what is no backup or damaged, Unavailable for a newer schema, Conflict where a server is connected.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    building = data_dir / f"restoring-{label}.db"
    try:
        _copy(file, building)
        found = check_backup(building, shown=file)
        own = Database(f"sqlite:///{building}")
        try:
            own.open()
            before, is_there = _before(url, own)
            same = before is None or _is_same_history(own, before)
            entries = _prepare(own, before if same else None, is_there, last_log)
            counts = _counts(own)
        finally:
            own.close()
        _settle(building)
        if make_url(url).get_backend_name() == "sqlite":
            kept = _replace_file(Path(str(make_url(url).database)), building, label)
        else:
            kept = _replace_tables(url, building, data_dir, label, progress)
    finally:
        for path in data_dir.glob(f"{building.name}*"):
            path.unlink()
    return Restored(found, *counts, entries, kept, same)


def _copy(file: Path, building: Path) -> None:
    """The file, and what a journal beside it holds: the copy of a database that was not closed has one."""
    try:
        shutil.copyfile(file, building)
        building.chmod(0o600)
        if Path(f"{file}-wal").exists():
            shutil.copyfile(f"{file}-wal", f"{building}-wal")
            _fold_journal(building)
    except OSError as exc:
        raise BadRequest(
            say("{file} can't be read: {error}", file=str(file), error=exc.strerror or str(exc))
        ) from exc


# ── the copy ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _before(url: str, own: Database) -> tuple[_Before | None, bool]:
    """What the database before knows, as far as it can be read; and whether there is one at all."""
    try:
        if schema_found(url) is None:
            return None, False
    except ZquantFlowError:
        return None, True
    with own.read() as connection:
        last = connection.execute(select(func.max(fires.c.recorded_time))).scalar() or 0
        ids = connection.execute(select(executions.c.id).order_by(executions.c.id.desc()).limit(SAMPLE))
        sample = list(ids.scalars())
    old = Database(url)
    try:
        with old.read() as connection:
            return _read_before(connection, last, sample), True
    except DBAPIError:
        return None, True
    finally:
        old.close()


def _read_before(connection: Connection, last: int, sample: Sequence[int]) -> _Before:
    """In words that every schema understands."""
    entries = connection.execute(
        text(
            "SELECT task_id, logical_time, until, outcome, execution_id, recorded_time FROM fires "
            "WHERE recorded_time > :last ORDER BY id"
        ),
        {"last": last},
    )
    known = select(executions.c.id, executions.c.created_time).where(executions.c.id.in_(sample))
    return _Before(
        {row.name: row.value for row in connection.execute(select(counters))},
        connection.execute(select(func.max(engines.c.epoch))).scalar() or 0,
        {
            row.id: (row.name, row.cursor)
            for row in connection.execute(select(tasks.c.id, tasks.c.name, tasks.c.cursor))
        },
        [dict(row) for row in entries.mappings()],
        {row.id: row.created_time for row in connection.execute(known)},
    )


def _is_same_history(own: Database, before: _Before) -> bool:
    """No id stands for one execution here and for another there."""
    query = select(executions.c.id, executions.c.created_time).where(executions.c.id.in_(list(before.sample)))
    with own.read() as connection:
        return all(before.sample[row.id] == row.created_time for row in connection.execute(query))


def _prepare(own: Database, before: _Before | None, is_there: bool, last_log: int) -> int:
    """Let numbers and ledger go on where the database before was; how many entries were taken over."""
    more = UNKNOWN if before is None and is_there else 0
    known = before or _Before()
    with own.write() as connection:
        for row in connection.execute(select(counters)).all():
            value = max(row.value, known.numbers.get(row.name, 0))
            if row.name == "execution":
                value = max(value, last_log)
            connection.execute(update(counters).where(counters.c.name == row.name).values(value=value + more))
        for row in connection.execute(select(engines.c.id, engines.c.epoch)).all():
            epoch = max(row.epoch, known.epoch) + more
            connection.execute(update(engines).where(engines.c.id == row.id).values(epoch=epoch))
        return _take_over_ledger(connection, known)


def _take_over_ledger(connection: Connection, before: _Before) -> int:
    names = {row.id: row.name for row in connection.execute(select(tasks.c.id, tasks.c.name))}
    same = {task_id for task_id, (name, _) in before.cursors.items() if names.get(task_id) == name}
    for task_id in sorted(same):
        cursor = before.cursors[task_id][1]
        connection.execute(
            update(tasks).where(tasks.c.id == task_id, tasks.c.cursor < cursor).values(cursor=cursor)
        )
    fired = (
        {
            (row.task_id, row.logical_time)
            for row in connection.execute(
                select(fires.c.task_id, fires.c.logical_time).where(fires.c.outcome == "fired")
            )
        }
        if before.entries
        else set()
    )
    entries = [
        dict(entry)
        for entry in before.entries
        if entry["task_id"] in same
        and not (entry["outcome"] == "fired" and (entry["task_id"], entry["logical_time"]) in fired)
    ]
    if entries:
        connection.execute(insert(fires), entries)
    return len(entries)


def _counts(own: Database) -> tuple[int, int, int]:
    is_active = executions.c.status.in_([status.value for status in sorted(ACTIVE)])
    with own.read() as connection:
        shown = select(func.count()).select_from(tasks).where(tasks.c.archived_at.is_(None))
        whole = select(func.count()).select_from(executions)
        return (
            int(connection.execute(shown).scalar_one()),
            int(connection.execute(whole).scalar_one()),
            int(connection.execute(whole.where(is_active)).scalar_one()),
        )


def _settle(building: Path) -> None:
    """All of it in the one file, and on the disk."""
    with closing(sqlite3.connect(building)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    sync(building)


# ── the exchange ────────────────────────────────────────────────────────────────────────────────────────────────────


def _replace_file(target: Path, building: Path, label: str) -> Path | None:
    """The old file and its journal get other names, and the new one the old name; at no moment there is no database."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if building.parent != target.parent:
        building = Path(shutil.move(building, target.with_name(building.name)))
    kept = None
    if target.exists():
        kept = target.with_name(f"{target.name}.before-restore-{label}")
        _fold_journal(target)
        for end in ("-wal", "-shm", ""):
            if Path(f"{target}{end}").exists():
                shutil.copy2(f"{target}{end}", f"{kept}{end}")
                sync(Path(f"{kept}{end}"))
        sync(target.parent)
        for end in ("-wal", "-shm"):  # of the old file: SQLite would play it into the new one
            Path(f"{target}{end}").unlink(missing_ok=True)
    building.replace(target)
    sync(target.parent)
    return kept


def _fold_journal(target: Path) -> None:
    """Bring the journal into the file, where that can be read."""
    try:
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return


def _replace_tables(url: str, building: Path, data_dir: Path, label: str, progress: Progress) -> Path | None:
    """All tables anew in one transaction; what they held is written to a file first, a backup like any."""
    _refuse_others(url)
    kept = None
    if schema_found(url) is not None:
        kept = data_dir / f"before-restore-{label}.db"
        write_backup(url, kept)
    source, target = Database(f"sqlite:///{building}"), Database(url)
    try:
        with source.read() as reading, target.write() as writing:
            found = MetaData()
            found.reflect(writing, only=lambda name, _: name in {*metadata.tables, "alembic_version"})
            found.drop_all(writing)
            partial_indexes_for(target.engine.dialect.name)
            metadata.create_all(writing)
            writing.execute(
                text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            )
            writing.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            copy_rows(reading, writing, metadata, progress)
            _go_on_counting(writing)
    except DBAPIError as exc:
        raise Unavailable(say("the backup could not be restored: {error}", error=str(exc.orig))) from exc
    finally:
        source.close()
        target.close()
    return kept


def _go_on_counting(connection: Connection) -> None:
    """Ids that the server gives by itself follow those that were copied."""
    for table in metadata.sorted_tables:
        if "id" in table.c:
            name = connection.execute(
                text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}
            ).scalar()
            last = connection.execute(select(func.max(table.c.id))).scalar()
            if name and last:
                connection.execute(text("SELECT setval(:name, :last)"), {"name": name, "last": last})


def _refuse_others(url: str) -> None:
    """A lock of a data folder says nothing of servers on other machines."""
    database = Database(url)
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with database.read() as connection:
            count = int(connection.execute(query).scalar_one())
    except DBAPIError as exc:
        raise Unavailable(say("the backup could not be restored: {error}", error=str(exc.orig))) from exc
    finally:
        database.close()
    if count:
        raise Conflict(
            say("{count} others are connected to the database; stop all servers on it first", count=count)
        )
