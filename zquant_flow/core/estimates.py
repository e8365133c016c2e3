"""How far is a workflow, and when will something have ended?

A node counts by how long it took before; one that is not known counts as the middle of those that are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

TOLD = 0.05
"""From this share on what has been done says more than the past does."""


def seconds_left(elapsed: float, share: float, usual: float | None = None) -> float | None:
    """How long it still takes after `elapsed` seconds, of which nobody counts those it stood still; None if nobody can tell.

    `share` of the work is done, from 0 to 1; `usual`: how long it took before.
    """
    if share >= 1:
        return 0.0
    if share >= TOLD or (usual is None and share > 0):
        return elapsed * (1 - share) / share
    return None if usual is None else max(0.0, usual - elapsed)


class Shares:
    """What each node of a run is of the whole, and what has ended of it. A node that ends costs the same in any workflow."""

    __slots__ = ("_ended", "_weights", "done", "total")

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = weights
        self._ended = bytearray(len(weights))
        self.total = sum(weights)
        self.done = 0.0

    @classmethod
    def by_time(cls, names: Sequence[str], seconds: Mapping[str, float]) -> Shares:
        """By how many seconds each took before."""
        known = [seconds[name] for name in names if name in seconds]
        usual = median(known) if known else 1.0
        return cls([max(seconds.get(name, usual), 1e-3) for name in names])

    @classmethod
    def alike(cls, count: int) -> Shares:
        """So many, each as much as another."""
        return cls([1.0] * count)

    def end(self, node: int) -> None:
        """It has ended, or was skipped."""
        if not self._ended[node]:
            self._ended[node] = 1
            self.done += self._weights[node]

    def share(self, under_way: Iterable[tuple[int, float]]) -> float:
        """From 0 to 1, with nodes that are under way and their per cent."""
        if not self.total:
            return 1.0
        part = sum(self._weights[node] * percent / 100 for node, percent in under_way)
        return min(1.0, (self.done + part) / self.total)
