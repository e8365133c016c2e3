"""Which term does this engine work in, does it lead, and who else is there?

Who shares a database renews its lease in time also where nothing else is written. The one that leads ends the terms of those
who fell silent; the others watch that one in the same way.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.exc import OperationalError

from zquant_flow.clock import Clock
from zquant_flow.store import terms
from zquant_flow.store.clock import DatabaseClock
from zquant_flow.store.database import Database

log = logging.getLogger(__name__)


class Lease:
    """The lease of one engine; without `seconds` nobody else can be there, and it leads. Owned by the engine's thread."""

    def __init__(
        self, database: Database, clock: Clock, data_dir: Path, slots: int, seconds: float | None
    ) -> None:
        """`slots`: the places that it offers to executions which another engine hands over."""
        self.shared = seconds is not None
        self.leads = False
        self.drift = 0
        """How many files of its folder differ from what is registered: while there are any, it offers no place."""
        self.others: Mapping[int, int] = {}
        """The places that other engines offer, by engine; known to the one that leads."""
        self._database = database
        self._clock = clock
        self._slots = slots
        self._seconds = seconds or 0.0
        self._owner = f"{socket.gethostname()}:{data_dir}"
        self._term = terms.Term(0, 0, None)
        self._beaten = float("-inf")

    def begin(self) -> terms.Term:
        """Begin a term; `leads` says whether this engine leads in it."""
        self._measure()
        self._term = terms.begin_term(
            self._database, now=self._clock.micros(), owner=self._owner, shared=self.shared
        )
        self.leads = not self.shared or self._takes_lead()
        if not self.leads:
            log.info("another scheduler leads; this one works along", extra={"action": "follows"})
        return self._term

    def renew(self) -> bool:
        """Four times in its length. Whether the rows have to be read anew: it came to lead, or has inherited executions.

        Raises Fenced where another engine has ended this term.
        """
        now = self._clock.monotonic()
        if not self.shared or now - self._beaten < self._seconds / 4:
            return False
        self._measure()
        terms.beat(
            self._database,
            **self._named(),
            now=self._clock.micros(),
            slots=0 if self.drift else self._slots,
            drift=self.drift,
        )
        self._beaten = now
        if self.leads:
            return self._looks_after_others()
        self.leads = self._takes_lead()
        if self.leads:
            log.warning("this scheduler leads from now on", extra={"action": "leads"})
        return self.leads

    def leave(self, *, stays: bool = False) -> None:
        """The term is over; unless the same folder's next engine `stays` with what runs, others need not wait."""
        if not self.shared or stays:
            return
        try:
            terms.leave(self._database, **self._named())
        except OperationalError:
            log.warning("the lease could not be ended; it runs out by itself", extra={"action": "left"})

    def _takes_lead(self) -> bool:
        return terms.lead(self._database, **self._named(), now=self._clock.micros(), lease=self.length)

    def _looks_after_others(self) -> bool:
        """Whether this engine has inherited what others, who fell silent, drove."""
        now = self._clock.micros()
        silent = terms.end_silent(self._database, **self._named(), now=now, lease=self.length)
        for other in silent:
            log.warning(
                "engine %d has been silent: what it drove is taken over", other, extra={"action": "took_over"}
            )
        own = self._term.engine_id
        self.others = {
            row.id: row.slots
            for row in terms.known_engines(self._database)
            if row.id != own and row.slots and now - row.heartbeat < self.length
        }
        return bool(silent)

    def _named(self) -> dict[str, int]:
        return {"engine_id": self._term.engine_id, "epoch": self._term.epoch}

    @property
    def length(self) -> int:
        """After so many microseconds of silence an engine is believed dead."""
        return int(self._seconds * 1e6)

    def _measure(self) -> None:
        if isinstance(self._clock, DatabaseClock):
            self._clock.measure()
