"""Which files have come to rest, so that a task may run for them?

A file is told once its writer has closed it or renamed it into place; where nobody says so, once it has stood still for a
while. What a task has run for is not told again, until it is written anew. Pure: times come from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zquant_flow.engine.found_files import FileFacts

STILL = 2.0
"""Seconds that a file has to stand still where nobody tells that its writer is done (SEMANTICS §1.3)."""
MOMENT = 0.1
"""Seconds after a close: some writers set the time of a file when they have closed it."""
UNTOUCHED = 60.0
"""Seconds after which one that was made and never written to counts as done."""
MISSING = 86_400.0
"""Seconds after which a file that is gone is forgotten: a folder that is away for an hour must not bring all back as new."""


@dataclass(slots=True)
class _Unrest:
    facts: FileFacts
    since: float
    closed: bool = False
    made: bool = False
    """It was made, and nobody has written to it or closed it."""
    written: bool = False
    """Somebody writes to it, and will close it."""


class Settling:
    """The files of one task. `now` is monotonic seconds everywhere, `wall` nanoseconds since 1970."""

    def __init__(self, settle: float | None, seen: Mapping[str, tuple[int, int]]) -> None:
        self._settle = settle
        self._seen = dict(seen)
        self._unrest: dict[str, _Unrest] = {}
        self._missing: dict[str, float] = {}

    def closed(self, facts: FileFacts, now: float) -> None:
        """Its writer has closed it, or it was renamed into place."""
        self._note(facts, now, closed=True)

    def made(self, facts: FileFacts, now: float) -> None:
        """It has come to be, and its writer has still to say something."""
        self._note(facts, now, made=True)

    def written(self, facts: FileFacts, now: float) -> None:
        """Somebody writes to it."""
        self._note(facts, now, written=True)

    def touched(self, facts: FileFacts, now: float) -> None:
        """It is another than before, and nobody tells whether that is all."""
        known = self._unrest.get(facts.path)
        if known is None or known.facts.identity != facts.identity:
            self._note(
                facts,
                now,
                made=known is not None and known.made,
                written=known is not None and known.written,
            )

    def found(self, files: Mapping[str, FileFacts], now: float, wall: int, *, complete: bool) -> None:
        """A look at the folder has found these; what has not been touched for long has stood still since then."""
        for facts in files.values():
            self._missing.pop(facts.path, None)
            known = self._unrest.get(facts.path)
            if known is not None and known.facts.identity == facts.identity:
                known.facts = facts
            elif self._seen.get(facts.path) != facts.identity:
                self.touched(facts, now)
                self._unrest[facts.path].since -= max(0.0, (wall - max(facts.mtime_ns, facts.ctime_ns)) / 1e9)
        if complete:
            for path in [path for path in self._unrest if path not in files]:
                del self._unrest[path]
            for path in self._seen:
                if path not in files:
                    self._missing.setdefault(path, now)

    def gone(self, path: str) -> None:
        """It is not there any more."""
        self._unrest.pop(path, None)

    def doubt(self) -> None:
        """What was told of writers may be incomplete: only standing still counts now."""
        for unrest in self._unrest.values():
            unrest.closed = unrest.made = unrest.written = False

    def rested(self, now: float) -> list[FileFacts]:
        """Those that may be told, by when they came to be."""
        ready = [unrest.facts for unrest in self._unrest.values() if self._rests_at(unrest) <= now]
        return sorted(ready, key=lambda facts: (facts.mtime_ns, facts.path))

    def told(self, files: Iterable[FileFacts]) -> None:
        """These have been taken."""
        for facts in files:
            self._seen[facts.path] = facts.identity
            unrest = self._unrest.get(facts.path)
            if unrest is not None and unrest.facts.identity == facts.identity:
                del self._unrest[facts.path]

    def forgotten(self, now: float) -> list[str]:
        """Paths that have been gone for long, and are not remembered any more."""
        paths = [path for path, since in self._missing.items() if now - since >= MISSING]
        for path in paths:
            del self._missing[path], self._seen[path]
        return paths

    def next_look(self) -> float | None:
        """When the next one may come to rest."""
        times = [time for unrest in self._unrest.values() if (time := self._rests_at(unrest)) < float("inf")]
        return min(times, default=None)

    def _note(
        self,
        facts: FileFacts,
        now: float,
        *,
        closed: bool = False,
        made: bool = False,
        written: bool = False,
    ) -> None:
        if self._seen.get(facts.path) == facts.identity and not written:
            self._unrest.pop(facts.path, None)
            return
        self._unrest[facts.path] = _Unrest(facts, now, closed, made, written)

    def _rests_at(self, unrest: _Unrest) -> float:
        if unrest.written or self._seen.get(unrest.facts.path) == unrest.facts.identity:
            return float("inf")
        if unrest.made:
            return unrest.since + UNTOUCHED
        if self._settle is not None:
            return unrest.since + self._settle
        return unrest.since + (MOMENT if unrest.closed else STILL)
