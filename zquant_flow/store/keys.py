"""Which requests named a key, and what came of them?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import idempotency_keys


def answer(database: Database, key: str, actor: str) -> Any | None:
    """The request that this caller made with that key."""
    with database.read() as connection:
        return connection.execute(
            select(idempotency_keys).where(idempotency_keys.c.key == key, idempotency_keys.c.actor == actor)
        ).one_or_none()


def drop(database: Database, key: str, actor: str) -> None:
    """Forget this key of this caller."""
    with database.write() as connection:
        connection.execute(
            delete(idempotency_keys).where(idempotency_keys.c.key == key, idempotency_keys.c.actor == actor)
        )
