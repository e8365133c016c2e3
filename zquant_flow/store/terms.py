"""Which engines work on this database, in which terms, and which of them leads?

Each has a row: an epoch that fences off its terms before, and a heartbeat that each of its writes renews (a lease, on the
database's time). One of them holds the lease to lead. Who has been silent for longer than its lease is ended by the next who
looks: its epoch grows, so that it can't write any more, and what it drove has another owner, in one transaction.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from zquant_flow.core.status import ACTIVE
from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, counters, engines, executions, leases, letters

SOLO = 1
"""The id of an engine that has its database for itself."""
LEAD = "scheduler"
_CHUNK = 1000
_UNFINISHED = executions.c.status.in_([status.value for status in sorted(ACTIVE)])


class Fenced(Exception):
    """Another engine has begun a later term: this one must touch nothing any more."""


@dataclass(frozen=True, slots=True)
class Term:
    """A term that has begun: the engine, its epoch, and the last heartbeat before (microseconds), if there was one."""

    engine_id: int
    epoch: int
    last_heartbeat: int | None


def begin_term(database: Database, *, now: int, owner: str, shared: bool = False) -> Term:
    """Start a new term of the engine on this data folder, which `owner` names; the one before is fenced off.

    Where the database is not `shared` there is one engine, whatever folder it is on.
    """
    facts = {
        "heartbeat": now,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "owner": owner,
        "started_time": now,
        "turn": 0,
        "slots": 0,
        "drift": 0,
    }
    who = engines.c.owner == owner if shared else engines.c.id == SOLO
    while True:
        try:
            with database.write() as connection:
                before = connection.execute(select(engines).where(who).with_for_update()).one_or_none()
                if before is not None:
                    epoch = before.epoch + 1
                    connection.execute(
                        update(engines).where(engines.c.id == before.id), {"epoch": epoch, **facts}
                    )
                    return Term(before.id, epoch, before.heartbeat or None)
                number = (connection.execute(select(func.max(engines.c.id))).scalar() or 0) + 1
                connection.execute(insert(engines), {"id": number, "epoch": 1, **facts})
                return Term(number, 1, None)
        except IntegrityError:
            pass  # another engine took that number: the next one


def lead(database: Database, *, engine_id: int, epoch: int, now: int, lease: int) -> bool:
    """Whether this engine leads from now on: it did, nobody did, or who did has been silent for `lease` microseconds.

    Raises Fenced.
    """
    try:
        return _lead(database, engine_id, epoch, now, lease)
    except IntegrityError:
        return False  # two came first at once, and the other one was quicker


def _lead(database: Database, engine_id: int, epoch: int, now: int, lease: int) -> bool:
    with database.write() as connection:
        hold(connection, engine_id, epoch)
        holder = connection.execute(
            select(leases.c.engine_id).where(leases.c.name == LEAD).with_for_update()
        ).scalar()
        if holder is None:
            connection.execute(insert(leases), {"name": LEAD, "engine_id": engine_id})
            return True
        if holder == engine_id:
            return True
        other = connection.execute(select(engines).where(engines.c.id == holder)).one_or_none()
        if other is not None and not _ended(connection, other, engine_id, now, lease):
            return False
        connection.execute(update(leases).where(leases.c.name == LEAD), {"engine_id": engine_id})
        return True


def end_silent(database: Database, *, engine_id: int, epoch: int, now: int, lease: int) -> list[int]:
    """End the terms of the engines that have been silent for too long; this one has what they drove. Raises Fenced."""
    silent = (engines.c.id != engine_id, engines.c.heartbeat <= now - lease)
    drives = select(executions.c.owner).where(LISTED, _UNFINISHED, executions.c.owner != engine_id).distinct()
    with database.write() as connection:
        found = connection.execute(
            select(engines).where(*silent, (engines.c.slots > 0) | engines.c.id.in_(drives))
        ).all()
        if not found:
            return []
        hold(connection, engine_id, epoch)
        return [other.id for other in found if _ended(connection, other, engine_id, now, lease)]


def _ended(connection: Connection, other: Any, heir: int, now: int, lease: int) -> bool:
    """End a silent engine's term, unless it has been heard meanwhile."""
    if now - other.heartbeat < lease:
        return False
    taken = connection.execute(
        update(engines).where(
            engines.c.id == other.id,
            engines.c.epoch == other.epoch,
            engines.c.heartbeat == other.heartbeat,
        ),
        {"epoch": other.epoch + 1, "slots": 0},
    )
    if taken.rowcount != 1:
        return False
    roots = connection.execute(
        update(executions)
        .where(LISTED, _UNFINISHED, executions.c.owner == other.id)
        .values(owner=heir)
        .returning(executions.c.root_id)
    ).scalars()
    _inherit_nodes(connection, sorted(set(roots)), other.id, heir)
    connection.execute(update(letters).where(letters.c.to_engine == other.id), {"to_engine": heir})
    return True


def _inherit_nodes(connection: Connection, roots: Sequence[int], owner: int, heir: int) -> None:
    for start in range(0, len(roots), _CHUNK):
        connection.execute(
            update(executions).where(
                executions.c.root_id.in_(roots[start : start + _CHUNK]),
                executions.c.parent_execution_id.is_not(None),
                _UNFINISHED,
                executions.c.owner == owner,
            ),
            {"owner": heir},
        )


def hold(connection: Connection, engine_id: int, epoch: int) -> None:
    """Let nobody end this term before the transaction ends. Raises Fenced where somebody has."""
    held = connection.execute(
        update(engines)
        .where(engines.c.id == engine_id, engines.c.epoch == epoch)
        .values(heartbeat=engines.c.heartbeat)
    )
    if held.rowcount != 1:
        raise Fenced(f"engine {engine_id} of epoch {epoch} has been fenced off")


def beat(database: Database, *, engine_id: int, epoch: int, now: int, slots: int, drift: int) -> None:
    """Renew the lease, and say what the engine offers. Raises Fenced."""
    with database.write() as connection:
        renewed = connection.execute(
            update(engines).where(engines.c.id == engine_id, engines.c.epoch == epoch),
            {"heartbeat": now, "slots": slots, "drift": drift},
        )
        if renewed.rowcount != 1:
            raise Fenced(f"engine {engine_id} of epoch {epoch} has been fenced off")


def leave(database: Database, *, engine_id: int, epoch: int) -> None:
    """End the lease at once: nobody needs to wait for it to run out."""
    with database.write() as connection:
        connection.execute(
            update(engines).where(engines.c.id == engine_id, engines.c.epoch == epoch),
            {"heartbeat": 0, "slots": 0},
        )


def known_engines(database: Database) -> Sequence[Any]:
    """The rows of all engines, and which of them leads (`leads`), by id."""
    leads = select(leases.c.engine_id).where(leases.c.name == LEAD).scalar_subquery()
    with database.read() as connection:
        return connection.execute(
            select(engines, (engines.c.id == leads).label("leads")).order_by(engines.c.id)
        ).all()


def last_number(database: Database, counter: str) -> int:
    """The highest number that this counter (`execution`, `task`, `change`) has given."""
    with database.read() as connection:
        return int(
            connection.execute(select(counters.c.value).where(counters.c.name == counter)).scalar_one()
        )
