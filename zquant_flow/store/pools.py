"""Which pools have been made over REST?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from zquant_flow.store.database import Database
from zquant_flow.store.tables import pools
from zquant_flow.store.terms import hold


def all_pools(database: Database) -> Sequence[Any]:
    """The rows of all pools, by name."""
    with database.read() as connection:
        return connection.execute(select(pools).order_by(pools.c.name)).all()


def put(
    database: Database,
    *,
    name: str,
    slots: int,
    description: str | None,
    actor: str,
    now: int,
    term: tuple[int, int],
) -> None:
    """Make the pool, or change it; without a `description` it keeps its own. Raises Fenced as every decision."""
    row = {"slots": slots, "updated_by": actor, "updated_time": now}
    if description is not None:
        row["description"] = description
    with database.write() as connection:
        hold(connection, *term)
        if connection.execute(update(pools).where(pools.c.name == name), row).rowcount == 0:
            connection.execute(insert(pools), {"name": name, "description": "", **row})


def remove(database: Database, name: str, *, term: tuple[int, int]) -> None:
    """Delete the pool. Raises Fenced."""
    with database.write() as connection:
        hold(connection, *term)
        connection.execute(delete(pools).where(pools.c.name == name))
