"""What have other engines told this one? (`store.batch` writes and deletes the rows)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import letters


def letters_to(database: Database, engines: Sequence[int]) -> Sequence[Any]:
    """The letters to these numbers, in the order in which they were written."""
    with database.read() as connection:
        return connection.execute(
            select(letters).where(letters.c.to_engine.in_(engines)).order_by(letters.c.id)
        ).all()
