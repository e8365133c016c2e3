"""Which engine drives this database, in which term?

One at a time: its row says until when (a lease that each write renews), and in which term (an epoch that fences off the one
before). Whoever comes while the lease holds stands by; the same data folder is the same engine, and needs not wait.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from zquant_flow.store.database import Database
from zquant_flow.store.tables import counters, engines


@dataclass(frozen=True, slots=True)
class Term:
    """A term that has begun: its epoch, and the last heartbeat of the one before (microseconds), if there was one."""

    epoch: int
    last_heartbeat: int | None


@dataclass(frozen=True, slots=True)
class Busy:
    """Another engine's lease holds."""

    host: str
    pid: int


def begin_term(
    database: Database, *, now: int, owner: str, lease: int | None = None, engine_id: int = 1
) -> Term | Busy:
    """Start a new term, unless another owner has written within the last `lease` microseconds.

    `owner` names the data folder; without `lease` nobody is waited for (a lock keeps others away).
    """
    facts = {
        "heartbeat": now,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "owner": owner,
        "started_time": now,
        "turn": 0,
    }
    try:
        with database.write() as connection:
            before = connection.execute(select(engines).where(engines.c.id == engine_id)).one_or_none()
            if before is None:
                connection.execute(insert(engines), {"id": engine_id, "epoch": 1, **facts})
                return Term(1, None)
            if lease is not None and before.owner != owner and now - before.heartbeat < lease:
                return Busy(before.host, before.pid)
            epoch = before.epoch + 1
            taken = connection.execute(
                update(engines).where(engines.c.id == engine_id, engines.c.epoch == before.epoch),
                {"epoch": epoch, **facts},
            )
            if taken.rowcount == 1:
                return Term(epoch, before.heartbeat)
    except IntegrityError:
        pass  # another came first with the very first term
    return Busy("?", 0)


def beat(database: Database, *, now: int, epoch: int, engine_id: int = 1) -> bool:
    """Renew the lease; False where another engine has begun a later term."""
    with database.write() as connection:
        renewed = connection.execute(
            update(engines).where(engines.c.id == engine_id, engines.c.epoch == epoch), {"heartbeat": now}
        )
        return renewed.rowcount == 1


def last_number(database: Database, counter: str) -> int:
    """The highest number that this counter (`execution`, `task`, `change`) has given."""
    with database.read() as connection:
        return int(
            connection.execute(select(counters.c.value).where(counters.c.name == counter)).scalar_one()
        )
