"""How does a request get to the process that can decide it, and its answer back?

A row is the request; who takes it changes its address first, so that nobody takes it twice: a request whose taker dies is not
answered, and its client must look. None of it need survive a power cut, so commits don't wait for the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from zquant_flow.store.database import Database
from zquant_flow.store.notices import tell
from zquant_flow.store.tables import calls

TAKEN = -1
"""The address of a request that somebody works on."""


def ask(database: Database, *, to_engine: int, actor: str, request: str, now: int) -> int:
    """Write a request; its id."""
    with _quickly(database) as connection:
        row = {"to_engine": to_engine, "actor": actor, "request": request, "created_time": now}
        made = connection.execute(insert(calls).values(row).returning(calls.c.id)).scalar_one()
        tell(connection, {to_engine})
        return int(made)


def take(database: Database, engines: Sequence[int]) -> Sequence[Any]:
    """The requests to these engines, which nobody else gets any more."""
    with database.read() as connection:
        waiting = connection.execute(
            select(calls.c.id).where(calls.c.to_engine.in_(engines)).limit(1)
        ).scalar()
    if waiting is None:
        return ()
    with _quickly(database) as connection:
        return connection.execute(
            update(calls).where(calls.c.to_engine.in_(engines)).values(to_engine=TAKEN).returning(calls)
        ).all()


def answer(database: Database, call_id: int, text_: str) -> None:
    """Write the answer to a request."""
    with _quickly(database) as connection:
        connection.execute(update(calls).where(calls.c.id == call_id).values(answer=text_))
        tell(connection)


def answer_of(database: Database, call_id: int) -> str | None:
    """The answer, if there is one; the row goes with it."""
    with database.read() as connection:
        found = connection.execute(select(calls.c.answer).where(calls.c.id == call_id)).scalar()
    if found is not None:
        withdraw(database, call_id)
    return found


def withdraw(database: Database, call_id: int) -> bool:
    """Nobody waits for the answer any more; whether somebody had taken the request."""
    with _quickly(database) as connection:
        gone = connection.execute(
            delete(calls).where(calls.c.id == call_id).returning(calls.c.to_engine)
        ).scalar()
        return gone == TAKEN


def forget(database: Database, *, before: int) -> None:
    """Delete what was asked before that instant: whoever asked is gone. On SQLite nobody asks."""
    if database.is_sqlite:
        return
    with _quickly(database) as connection:
        connection.execute(delete(calls).where(calls.c.created_time < before))


@contextmanager
def _quickly(database: Database) -> Iterator[Connection]:
    """A transaction of its own connection: it waits for no batch of this process."""
    with database.engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit = off"))
        yield connection
