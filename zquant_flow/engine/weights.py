"""How long did the nodes of a workflow take before? Read once an hour for each version; progress is weighed by it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from zquant_flow.clock import Clock
from zquant_flow.store import durations
from zquant_flow.store.database import Database
from zquant_flow.store.durations import PastRuns

log = logging.getLogger(__name__)

KEPT_SECONDS = 3600.0
MOST_KEPT = 1000
MOST_ROWS = 2000
"""So many rows of nodes are read in the engine's thread: of a large workflow fewer runs, or none."""
_NOTHING = PastRuns({}, None)


class Weights:
    """Threads: the engine's, and the one that plans a large workflow."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._kept: dict[tuple[int, int], tuple[float, PastRuns]] = {}

    def of(self, task_id: int, version: int, size: int) -> PastRuns:
        """What its newest runs took; nothing where there is none, or it can't be read now: all nodes count the same then."""
        now = self._clock.monotonic()
        kept = self._kept.get((task_id, version))
        if kept is not None and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        runs = min(durations.ROOTS, MOST_ROWS // max(1, size))
        try:
            found = durations.of_runs(self._database, task_id, runs) if runs else _NOTHING
        except SQLAlchemyError as error:
            log.warning("durations can't be read: %s", error, extra={"action": "durations_unreadable"})
            return _NOTHING
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[task_id, version] = now, found
        return found
