"""When may a channel be used again? The same thing is told once in a while, and a storm becomes one message.

Pure: whoever calls says what time it is, in seconds that never go back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MINUTE = 60.0
LISTED = 50
"""So many of a storm are named; the others are counted."""
MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending(Generic[T]):
    """One message: of one thing that was `repeated` so many times since, or of several, and so many `more`."""

    items: tuple[T, ...]
    repeated: int = 0
    more: int = 0
    is_digest: bool = False


class Throttle(Generic[T]):
    """Decides for one channel. What is held back is told when its time has come: the newest of its kind, with their number."""

    def __init__(self, *, every: float, per_minute: int) -> None:
        """`every`: seconds between two of the same key. `per_minute`: of all; what is more is gathered for a minute."""
        self._every, self._per_minute = every, per_minute
        self._told: dict[Hashable, float] = {}
        self._held: dict[Hashable, tuple[T, int]] = {}
        self._sent: deque[float] = deque()
        self._gathered: list[T] = []
        self._more = 0
        self._gathering_since: float | None = None

    def offer(self, key: Hashable, item: T, now: float) -> Sending[T] | None:
        """What to send now; None where it is held back."""
        told = self._told.get(key)
        if told is not None and now - told < self._every:
            self._held[key] = item, self._held.get(key, (item, 0))[1] + 1
            return None
        _, repeated = self._held.pop(key, (item, 0))
        return self._let_through(key, item, repeated, now)

    def release(self, now: float, *, all_of_it: bool = False) -> list[Sending[T]]:
        """What was held back and may be told by now; with `all_of_it` in one message, however early."""
        found = []
        for key in [key for key in self._held if all_of_it or now - self._told[key] >= self._every]:
            item, count = self._held.pop(key)
            sending = self._let_through(key, item, count - 1, now)
            if sending is not None:
                found.append(sending)
        since = self._gathering_since
        if since is not None and (all_of_it or now - since >= MINUTE):
            self._sent.append(now)
            found.append(Sending(items=tuple(self._gathered), more=self._more, is_digest=True))
            self._gathered, self._more, self._gathering_since = [], 0, None
        return found

    @property
    def due(self) -> float | None:
        """When to look again; None where nothing is held back."""
        times = [self._told[key] + self._every for key in self._held]
        if self._gathering_since is not None:
            times.append(self._gathering_since + MINUTE)
        return min(times, default=None)

    def _let_through(self, key: Hashable, item: T, repeated: int, now: float) -> Sending[T] | None:
        self._told.pop(key, None)
        self._told[key] = now
        self._forget(now)
        while self._sent and now - self._sent[0] >= MINUTE:
            self._sent.popleft()
        if self._gathering_since is None and len(self._sent) < self._per_minute:
            self._sent.append(now)
            return Sending(items=(item,), repeated=repeated)
        if self._gathering_since is None:
            self._gathering_since = now
        if len(self._gathered) < LISTED:
            self._gathered.append(item)
            self._more += repeated
        else:
            self._more += 1 + repeated
        return None

    def _forget(self, now: float) -> None:
        """The oldest keys go first: those that could be told again anyway, and any where there are too many."""
        while self._told:
            key, told = next(iter(self._told.items()))
            if key in self._held or (now - told < self._every and len(self._told) <= MOST_KEYS):
                return
            del self._told[key]
