"""What time is it? The only reader of the clocks.

Wall time says which instants are due; the monotonic clock measures durations. Everything that needs time takes a
`Clock`, so that tests turn the hands themselves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def micros(self) -> int:
        """The wall clock as microseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def local(self, instant: datetime) -> datetime:
        """What the machine's own wall clock shows at that instant of this clock."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def micros(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def local(self, instant: datetime) -> datetime:
        return instant
