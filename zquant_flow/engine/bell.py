"""When must the engine look at the clock again?

APScheduler rings the bell and knows nothing else: one job, whose trigger returns the next wake-up, at most a second away
so that steps of the clock are seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

LONGEST_SLEEP = timedelta(seconds=1)

logging.getLogger("apscheduler").setLevel(logging.WARNING)


class _NextWake(BaseTrigger):  # type: ignore[misc]
    """Rings at the instant that `wanted` names, at the latest a second from now."""

    def __init__(self, wanted: Callable[[], datetime | None]) -> None:
        self._wanted = wanted

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        wanted = self._wanted()
        latest = now + LONGEST_SLEEP
        if wanted is None or wanted <= now or (previous is not None and wanted <= previous):
            return latest
        return min(wanted, latest)


class Bell:
    """Calls `ring` in APScheduler's thread, which starts with `start` and ends with `stop`; both may be called twice."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._wanted: datetime | None = None
        self._scheduler: Any = None

    def start(self) -> None:
        if self._scheduler is not None:
            return
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": DebugExecutor()})
        self._scheduler.add_job(
            self._ring,
            _NextWake(lambda: self._wanted),
            id="tick",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
            self._scheduler = None

    def set(self, wanted: datetime | None) -> None:
        """Ring at `wanted` (aware), or in a second where that is earlier."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if self._scheduler is None or wanted is None:
            return
        latest = datetime.now(UTC) + LONGEST_SLEEP
        if wanted < latest:
            self._scheduler.modify_job("tick", next_run_time=wanted)
