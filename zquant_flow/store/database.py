"""How is the database reached, and who may write when?

SQLite in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut, and group commit pays for it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zquant_flow.errors import Unavailable
from zquant_flow.store.tables import counters, metadata, partial_indexes_for
from zquant_flow.wording import say

HEAD = "0002"
"""The newest migration."""

IDLE_SECONDS = 4
"""How long PostgreSQL lets a transaction stand still before it ends the connection; ours take milliseconds."""

BUSY_SECONDS = 5
"""How long a statement waits for another process's lock on an SQLite file before it says so."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

UNREADABLE = (SQLAlchemyError, ValueError, TypeError, LookupError)
"""What a start meets in a damaged database: a refusal, or rows that make no sense."""


class Database:
    """One database: many readers at a time, and writers one after the other.

    Threads: any; `write` queues them on a lock of this process, because SQLite would make them poll instead.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._write_lock = threading.Lock()
        self._writer: Connection | None = None
        self.engine = _create_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # Several questions of one reader get answers about one moment; SQLite's transactions are so by themselves.
        self._reader = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )

    def open(self) -> None:
        """Make or migrate the schema. Raises Unavailable for one that can't be opened, or is newer than this program."""
        file = self.engine.url.database if self.is_sqlite else None
        if file:
            _refuse_emptied(Path(file))
            _make_file(Path(file))
        try:
            with self.engine.connect() as connection:
                version = _schema_version(connection)
        except DBAPIError as exc:
            raise self.unusable(exc) from exc
        if version == HEAD:
            return
        if version is None:
            self._create()
            return
        from zquant_flow.store.migrate import upgrade  # Alembic costs 0.3 s and 12 MB: only when behind

        upgrade(self.url, version)

    def unusable(self, exc: Exception) -> Unavailable:
        """What its refusal, or a row that makes no sense, means for who starts on it; the way out of a damaged file."""
        shown = self.engine.url.render_as_string(hide_password=True)
        refusal = exc.orig if isinstance(exc, DBAPIError) else None
        error = str(refusal or f"{type(exc).__name__}: {exc}")
        if refusal is None or getattr(refusal, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            return Unavailable(
                say(
                    "the database {url} can't be opened: {error}; restore a backup (`zqf db restore`), "
                    "or move it away to begin anew",
                    url=shown,
                    error=error,
                )
            )
        return Unavailable(say("the database {url} can't be opened: {error}", url=shown, error=error))

    def close(self) -> None:
        """Give all connections back; a closed database can be opened again."""
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block, rolled back where it raises."""
        with self._write_lock:
            if self._writer is None or self._writer.closed:
                self._writer = self.engine.connect().execution_options(immediate=True)
            with self._writer.begin():
                yield self._writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state; readers never wait for writers."""
        with self._reader.connect() as connection, connection.begin():
            yield connection

    def _create(self) -> None:
        if not self.is_sqlite:
            partial_indexes_for(self.engine.dialect.name)
        with self.engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(
                text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            )
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            connection.execute(
                counters.insert(), [{"name": name, "value": 0} for name in ("execution", "task", "change")]
            )


_TAKE = text("UPDATE counters SET value = value + :count WHERE name = :name RETURNING value")


def take(connection: Connection, counter: str, count: int) -> int:
    """Reserve `count` numbers of a counter in this transaction; the first of them."""
    last = connection.execute(_TAKE, {"count": count, "name": counter}).scalar_one()
    return int(last) - count + 1


def _make_file(file: Path) -> None:
    """The file, where there is none yet. Raises Unavailable where it can't be written."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)  # SQLite gives its -wal and -shm the same mode
    except OSError as exc:
        raise Unavailable(
            say(
                "the database file {file} can't be written: {reason}; make it writable, or name another with --database",
                file=str(file),
                reason=exc.strerror,
            )
        ) from exc


def _refuse_emptied(file: Path) -> None:
    """An empty file beside the logs of executions is a loss, and no beginning. Raises Unavailable."""
    if not file.is_file() or file.stat().st_size:
        return
    if (file.parent / "logs").is_dir() and not file.with_name(f"{file.name}-wal").exists():
        raise Unavailable(
            say(
                "{file} is empty, though logs of executions lie beside it: restore a backup (`zqf db restore`), "
                "or remove the file to begin anew",
                file=str(file),
            )
        )


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(parsed, pool_pre_ping=True)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own idea of it starts too late
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except UnicodeDecodeError as exc:  # SQLite quotes what it found in a damaged schema
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error from exc
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA temp_store=MEMORY")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """One that stalls inside a transaction must not hold its locks against whoever takes over."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000}")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: one that read first could no longer get it (SQLITE_BUSY_SNAPSHOT).
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _schema_version(connection: Connection) -> str | None:
    """The migration that made the schema; None for a database that has no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
