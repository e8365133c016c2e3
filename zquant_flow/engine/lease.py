"""Does this engine drive the database, and how does it keep doing so?

Who shares a database waits here for its term, and renews its lease in time also where nothing else is written.
"""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path

from zquant_flow.clock import Clock
from zquant_flow.store.batch import Fenced
from zquant_flow.store.clock import DatabaseClock
from zquant_flow.store.database import Database
from zquant_flow.store.terms import Term, beat, begin_term

log = logging.getLogger(__name__)

STAND_BY_PAUSE = 1.0
"""Seconds between two looks of an engine that stands by."""


class Lease:
    """The lease of one engine on its database; without `seconds` nobody else can be there, and nothing is waited for."""

    def __init__(
        self, database: Database, clock: Clock, data_dir: Path, engine_id: int, seconds: float | None
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine_id = engine_id
        self._seconds = seconds
        self._owner = f"{socket.gethostname()}:{data_dir}"
        self._beaten = 0.0

    def begin(self, stopping: threading.Event) -> Term | None:
        """Wait until no other engine drives this database; None where this one is stopped before."""
        told = False
        while True:
            self._measure()
            found = begin_term(
                self._database,
                now=self._clock.micros(),
                owner=self._owner,
                lease=None if self._seconds is None else int(self._seconds * 1e6),
                engine_id=self._engine_id,
            )
            if isinstance(found, Term):
                return found
            if not told:
                told = True
                log.warning(
                    "this scheduler stands by: process %d on %s drives the database",
                    found.pid,
                    found.host,
                    extra={"action": "standing_by"},
                )
            if stopping.wait(STAND_BY_PAUSE):
                return None

    def renew(self, epoch: int) -> None:
        """Four times in its length. Raises Fenced where another engine has begun a later term."""
        now = self._clock.monotonic()
        if self._seconds is None or now - self._beaten < self._seconds / 4:
            return
        self._measure()
        if not beat(self._database, now=self._clock.micros(), epoch=epoch, engine_id=self._engine_id):
            raise Fenced(f"engine {self._engine_id} of epoch {epoch} has been fenced off")
        self._beaten = now

    def _measure(self) -> None:
        if isinstance(self._clock, DatabaseClock):
            self._clock.measure()
