"""How does one get the whole database into one file, while a server writes?

The file is an SQLite database, whatever the database is: one form to check, to migrate and to look into, and the way from
one kind of database to the other. It holds one consistent state, and is whole or not there.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine, func, insert, make_url, select
from sqlalchemy.exc import DBAPIError

from zquant_flow.errors import BadRequest, Unavailable
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.health import schema_found
from zquant_flow.store.migrate import create_as_of, require_known
from zquant_flow.store.tables import metadata
from zquant_flow.wording import say

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""
PIECE = 2000
"""Rows that are written at once."""
_MAGIC = b"SQLite format 3\0"
_LOOK_EVERY = 0.2


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def write_backup(url: str, target: Path, *, progress: Progress = unseen) -> str:
    """Write the database to a new file, mode 0600; the migration that its schema is of.

    Raises BadRequest where the file is there already, Unavailable where there is no database or it can't be read.
    """
    if target.exists():
        raise BadRequest(say("{file} is there already; choose another name", file=str(target)))
    found = schema_found(url)
    if found is None:
        raise Unavailable(say("there is no database yet: nothing to back up"))
    require_known(found)
    with _new_file(target) as building:
        if make_url(url).get_backend_name() == "sqlite":
            _vacuum(Path(str(make_url(url).database)), building, progress)
        else:
            _copy_server(url, building, found, progress)
        check_backup(building)
    return found


def check_backup(file: Path, *, shown: Path | None = None) -> str:
    """The migration that the backup's schema is of. Raises BadRequest for a file that is none, or is damaged.

    `shown`: the file that messages name, where this is a copy of it.
    """
    name = str(shown or file)
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(_MAGIC))
    except OSError as exc:
        raise BadRequest(
            say("{file} can't be read: {error}", file=name, error=exc.strerror or str(exc))
        ) from exc
    if begin != _MAGIC:
        raise BadRequest(say("{file} is no backup of zquant-flow", file=name))
    try:
        with closing(sqlite3.connect(f"file:{_quoted(file)}?immutable=1", uri=True)) as connection:
            damage = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            named = connection.execute(
                "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
            ).fetchone()
            found = named and connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as exc:  # what SQLite says of damage may itself be damaged
        damage, found = [str(exc)], None
    if damage != ["ok"]:
        raise BadRequest(say("{file} is damaged: {error}", file=name, error="; ".join(map(str, damage))))
    if not found:
        raise BadRequest(say("{file} is no backup of zquant-flow", file=name))
    require_known(str(found[0]))
    return str(found[0])


@contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, which becomes it when the block ends well."""
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield building
        sync(building)
        place(building, target)
    except FileExistsError as exc:
        raise BadRequest(say("{file} is there already; choose another name", file=str(target))) from exc
    except OSError as exc:
        raise Unavailable(
            say("{file} can't be written: {error}", file=str(target), error=exc.strerror or str(exc))
        ) from exc
    except (sqlite3.Error, DBAPIError) as exc:
        error = str(exc.orig) if isinstance(exc, DBAPIError) else str(exc)
        raise Unavailable(say("the backup failed: {error}", error=error)) from exc
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{building}{end}").unlink(missing_ok=True)


def place(building: Path, target: Path) -> None:
    """Give a finished file its name, and bring that to the disk. Raises FileExistsError: it never replaces another."""
    try:
        os.link(building, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(target) from None
        os.rename(building, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _vacuum(source: Path, building: Path, progress: Progress) -> None:
    """One state, read without holding up writers, written without gaps; damage that reading meets is an error."""
    with closing(sqlite3.connect(source, timeout=30)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        total = pages * connection.execute("PRAGMA page_size").fetchone()[0]
        done = threading.Event()

        def look() -> None:
            while not done.wait(_LOOK_EVERY):
                progress(min(total, building.stat().st_size), total)

        watcher = threading.Thread(target=look, name="backup", daemon=True)
        watcher.start()
        try:
            connection.execute("VACUUM INTO ?", (str(building),))
        finally:
            done.set()
            watcher.join()
    progress(total, total)


def _copy_server(url: str, building: Path, found: str, progress: Progress) -> None:
    file = f"sqlite:///{building}"
    if found == HEAD:
        made = Database(file)
        made.open()
        made.close()
    else:
        create_as_of(file, found)
    source, target = create_engine(url), create_engine(file)
    try:
        reading = source.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True, stream_results=True
        )
        with reading, reading.begin(), target.connect() as writing:
            tables = metadata
            if found != HEAD:
                tables = MetaData()
                tables.reflect(reading, only=lambda name, _: name in metadata.tables)
            with writing.begin():
                copy_rows(reading, writing, tables, progress)
            writing.exec_driver_sql("PRAGMA journal_mode=DELETE")
    finally:
        source.dispose()
        target.dispose()


def copy_rows(source: Connection, target: Connection, tables: MetaData, progress: Progress) -> None:
    """Copy all rows of these tables, into the places of those that the target has."""
    counts = {
        table.name: source.execute(select(func.count()).select_from(table)).scalar_one()
        for table in tables.sorted_tables
    }
    total, done = sum(counts.values()), 0
    for table in tables.sorted_tables:
        target.execute(table.delete())
        for rows in (
            source.execution_options(yield_per=PIECE).execute(select(table)).mappings().partitions(PIECE)
        ):
            target.execute(insert(table), [dict(row) for row in rows])
            done += len(rows)
            progress(done, total)


def _quoted(file: Path) -> str:
    from urllib.parse import quote

    return quote(str(file.resolve()))
