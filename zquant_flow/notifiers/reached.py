"""Who of several has had a message already? A further try leaves them out."""

from __future__ import annotations

from collections.abc import Iterable


class Reached:
    """Remembers it of the newest message. For a notifier, which sends one after the other; a test beside it is a message of its own."""

    def __init__(self) -> None:
        self._message = ""
        self._who: frozenset[str] = frozenset()

    def left(self, message: str, everybody: Iterable[str]) -> list[str]:
        """Those who have not had this message yet."""
        had = self._who if message == self._message else frozenset[str]()
        return [who for who in everybody if who not in had]

    def note(self, message: str, who: Iterable[str]) -> None:
        """These have had it now."""
        before = self._who if message == self._message else frozenset[str]()
        self._message, self._who = message, before.union(who)
