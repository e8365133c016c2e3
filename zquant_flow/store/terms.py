"""Which engine writes, in which term?"""

from __future__ import annotations

import os
import socket

from sqlalchemy import insert, select, update

from zquant_flow.store.database import Database
from zquant_flow.store.tables import counters, engines


def begin_term(database: Database, *, now: int, engine_id: int = 1) -> tuple[int, int | None]:
    """Start a new term of this engine: its epoch, and the last heartbeat of the term before (microseconds)."""
    facts = {
        "heartbeat": now,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_time": now,
        "turn": 0,
    }
    with database.write() as connection:
        before = connection.execute(
            select(engines.c.epoch, engines.c.heartbeat).where(engines.c.id == engine_id)
        ).one_or_none()
        if before is None:
            connection.execute(insert(engines), {"id": engine_id, "epoch": 1, **facts})
            return 1, None
        connection.execute(
            update(engines).where(engines.c.id == engine_id), {"epoch": before.epoch + 1, **facts}
        )
        return before.epoch + 1, before.heartbeat


def last_number(database: Database, counter: str) -> int:
    """The highest number that this counter (`execution`, `task`, `change`) has given."""
    with database.read() as connection:
        return int(
            connection.execute(select(counters.c.value).where(counters.c.name == counter)).scalar_one()
        )
