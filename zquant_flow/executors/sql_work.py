"""How is work for a database done, and what is told of it? Runs in a worker.

Errors name the statement by its number and say what the database says: neither parameters nor the password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Engine, bindparam, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from zquant_flow.executors.context import Context, Terminated
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.sql_config import SqlConfig
from zquant_flow.executors.sql_files import Row, sink
from zquant_flow.executors.sql_values import plain

PIECE = 10_000
"""Rows that are in memory at once on their way into a file."""
SQLITE_STEPS = 10_000
"""Steps of SQLite's machine between two looks at whether the attempt is to end: about a millisecond."""
_ONLY_READS = re.compile(r"\s*(?:select|values|table)\b", re.IGNORECASE)


class Work:
    """One connection of one attempt."""

    def __init__(self, context: Context, config: SqlConfig) -> None:
        self._context = context
        self._config = config
        self._url = _url_of(config)
        self._number = 0

    def carry_out(self) -> dict[str, Any]:
        """The result of the attempt; raises Failure. Whatever fails takes back what the transaction has done."""
        engine = self._engine()
        try:
            with self._connection(engine) as connection:
                found = self._all(connection)
                self._check(found)
            return found
        except SQLAlchemyError as exc:
            if self._context.stopping:
                raise Terminated("the attempt is to end") from None
            raise Failure("sql_failed", self._told(exc)) from None
        finally:
            engine.dispose()

    def _all(self, connection: Connection) -> dict[str, Any]:
        """The result of the last statement that gives rows; how many rows were changed where none does."""
        statements = self._config.listed()
        found, written = None, 0
        for self._number, statement in enumerate(statements, 1):
            self._context.checkpoint()
            is_last = self._number == len(statements)
            result = self._executed(connection, statement, is_last)
            if result.returns_rows:
                found = self._taken(result, is_last)
            else:
                written += max(0, result.rowcount)
            self._context.progress(current_item="statements", processed=self._number, total=len(statements))
        return {"row_count": written} if found is None else found

    def _engine(self) -> Engine:
        try:
            engine = create_engine(
                self._url, poolclass=NullPool, hide_parameters=True, connect_args=self._config.connect_args
            )
        except NoSuchModuleError:
            raise Failure(
                "sql_failed", f"there is no database {self._url.drivername!r} for SQLAlchemy here"
            ) from None
        except ModuleNotFoundError as exc:
            raise Failure("extra_missing", _driver_missing(self._url, exc.name or "")) from None
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", self._watch_sqlite)
        return engine

    def _watch_sqlite(self, connection: Any, record: object) -> None:
        connection.set_progress_handler(lambda: self._context.stopping, SQLITE_STEPS)

    @contextmanager
    def _connection(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect() as connection:
            if self._config.autocommit:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            with nullcontext() if self._config.autocommit else connection.begin():
                yield connection

    def _executed(self, connection: Connection, statement: str, is_last: bool) -> CursorResult[Any]:
        """`stream_results` wants a cursor of the server, which only what reads can have."""
        clause = text(statement)
        known = clause.compile(dialect=connection.dialect).params
        values = {name: value for name, value in self._config.parameters.items() if name in known}
        clause = clause.bindparams(
            *(bindparam(name, expanding=True) for name in values if _is_in_list(name, statement))
        )
        streamed = is_last and not self._config.autocommit and _ONLY_READS.match(statement) is not None
        return connection.execute(clause, values, execution_options={"stream_results": streamed})

    def _taken(self, result: CursorResult[Any], is_last: bool) -> dict[str, Any]:
        columns = list(result.keys())
        if is_last and self._config.to is not None:
            return self._filed(result, columns, self._config.to)
        limit = self._config.limit
        wanted = max(limit, self._config.min_rows or 0, self._config.max_rows or 0) + 1
        rows = [list(map(plain, row)) for row in islice(result, limit)]
        count = len(rows) + sum(1 for _ in islice(result, wanted - limit))
        result.close()
        found: dict[str, Any] = {"columns": columns, "rows": rows, "row_count": count}
        return {**found, "more": True} if count > limit else found

    def _filed(self, result: CursorResult[Any], columns: Sequence[str], path: str) -> dict[str, Any]:
        count = 0
        mark = f"{self._context.execution_id}-{self._context.attempt}"
        with sink(path, columns, mark) as file:
            for piece in _pieces(result):
                self._context.checkpoint()
                file.write(piece)
                count += len(piece)
                self._context.progress(current_item="rows", processed=count)
            self._check({"columns": columns, "row_count": count})
        return {"columns": columns, "file": os.path.abspath(path), "row_count": count}

    def _check(self, found: dict[str, Any]) -> None:
        """Raises Failure where the rows are not as they have to be."""
        config, count = self._config, found["row_count"]
        if config.min_rows is not None and count < config.min_rows:
            raise Failure("check_failed", f"{count} rows, at least {config.min_rows} are expected")
        if config.max_rows is not None and count > config.max_rows:
            many = f"over {config.max_rows}" if "rows" in found else str(count)
            raise Failure("check_failed", f"{many} rows, at most {config.max_rows} are expected")
        if "expect" in config.model_fields_set:
            rows = found.get("rows", [])
            value = rows if isinstance(config.expect, list) else (rows[0][0] if rows and rows[0] else None)
            if value != config.expect:
                raise Failure("check_failed", f"{value!r:.300} was found, {config.expect!r:.300} is expected")

    def _told(self, exc: SQLAlchemyError) -> str:
        """What the database says, without what SQLAlchemy adds to it, and without the password."""
        said = str(exc.orig) if isinstance(exc, DBAPIError) else str(exc).partition("\n")[0]
        where = f"statement {self._number}: " if self._number else f"{_named(self._url)}: "
        return where + _masked(said.strip(), self._url)


def _is_in_list(name: str, statement: str) -> bool:
    """Whether it stands as `IN :name`: then its list becomes so many parameters."""
    return re.search(rf"\bin\s+:{re.escape(name)}\b", statement, re.IGNORECASE) is not None


def _pieces(result: CursorResult[Any]) -> Iterator[list[Row]]:
    rows = iter(result)
    for first in rows:
        yield list(chain([first], islice(rows, PIECE - 1)))


def _url_of(config: SqlConfig) -> URL:
    said = config.url
    if config.url_env is not None:
        said = os.environ.get(config.url_env)
        if said is None:
            raise Failure("sql_failed", f"the variable {config.url_env} is not set")
    try:
        return make_url(said or "")
    except (ArgumentError, ValueError):
        raise Failure(
            "sql_failed", "the url is none of a database: write it as dialect://user:password@host/name"
        ) from None


def _named(url: URL) -> str:
    """The database without user, password and options."""
    host = f"{url.host}:{url.port}" if url.port else url.host or ""
    return f"{url.drivername}://{host}/{url.database or ''}"


def _masked(said: str, url: URL) -> str:
    password = str(url.password or "")
    return said.replace(password, "***") if len(password) > 2 else said


def _driver_missing(url: URL, module: str) -> str:
    ours = ' (pip install "zquant-flow[postgres]")' if module == "psycopg" else ""
    return f"the driver {module} of {url.drivername} is not installed: pip install {module}{ours}"
