"""Which bearer tokens are there? Only their digests are kept: who reads the database can't sign in with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from zquant_flow.errors import NameInUse
from zquant_flow.store.database import Database
from zquant_flow.store.tables import tokens
from zquant_flow.wording import say


def add(database: Database, *, name: str, digest: str, actor: str, now: int, expires: int | None) -> Any:
    """A new token's row; instants in microseconds. Raises NameInUse."""
    row = {
        "name": name,
        "digest": digest,
        "created_by": actor,
        "created_time": now,
        "expires_time": expires,
    }
    try:
        with database.write() as connection:
            connection.execute(insert(tokens), row)
            return connection.execute(select(tokens).where(tokens.c.digest == digest)).one()
    except IntegrityError as exc:
        raise NameInUse(say("a token named {name!r} exists; revoke it first", name=name)) from exc


def all_tokens(database: Database) -> Sequence[Any]:
    """The rows of all tokens, by id."""
    with database.read() as connection:
        return connection.execute(select(tokens).order_by(tokens.c.id)).all()


def remove(database: Database, token_id: int) -> bool:
    """Whether there was such a token; it is gone now."""
    with database.write() as connection:
        return connection.execute(delete(tokens).where(tokens.c.id == token_id)).rowcount > 0
