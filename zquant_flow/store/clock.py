"""What time is it for everyone who shares a database? Its own clock, kept by ours between two looks (SEMANTICS §6.7)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from zquant_flow.clock import Clock
from zquant_flow.store.database import Database

log = logging.getLogger(__name__)

TOLERATED = 1_000_000
"""Microseconds by which this machine's clock may be wrong before somebody should mend it."""
_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


class DatabaseClock:
    """The machine's clock, corrected by how far it is from the database's; `measure` looks anew."""

    def __init__(self, clock: Clock, database: Database) -> None:
        self._clock = clock
        self._database = database
        self._offset = 0
        self._warned = False

    def measure(self) -> None:
        """Ask the database once; half of the way there and back is taken as the age of its answer."""
        before, begin = self._clock.micros(), self._clock.monotonic()
        with self._database.read() as connection:
            theirs = int(connection.execute(_NOW).scalar_one())
        taken = int((self._clock.monotonic() - begin) * 1e6)
        offset = theirs - (before + taken // 2)
        self._offset = offset if abs(offset) > taken else 0  # less than the question took is no difference
        if abs(self._offset) > TOLERATED and not self._warned:
            log.warning(
                "this machine's clock is %.1f s from the database's, which counts",
                -self._offset / 1e6,
                extra={"action": "clock_differs"},
            )
        self._warned = abs(self._offset) > TOLERATED

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.micros())

    def micros(self) -> int:
        return self._clock.micros() + self._offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def local(self, instant: datetime) -> datetime:
        return instant - timedelta(microseconds=self._offset)
