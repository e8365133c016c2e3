"""Which paths does a glob mean?

`*`, `?` and `[...]` stay within a name, `**` is any number of folders. A name that begins with a dot is meant only where the
glob says the dot.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from zquant_flow.wording import say

MAX_TEXT = 1_000
ANY_FOLDERS = "**"
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Glob:
    """A folder, and what is meant below it: a pattern for each name on the way."""

    root: str
    parts: tuple[str, ...]

    @property
    def depth(self) -> int | None:
        """How many folders below the root may hold what is meant; None where there is no limit."""
        return None if ANY_FOLDERS in self.parts else len(self.parts) - 1

    def means(self, path: str) -> bool:
        """Whether this path, below the root and with slashes, is meant."""
        return _means(self.parts, path.split("/"))

    def may_hold(self, folder: str) -> bool:
        """Whether something that is meant may lie in this folder below the root."""
        names = folder.split("/") if folder else []
        for position, name in enumerate(names):
            if position >= len(self.parts) - 1 or self.parts[position] == ANY_FOLDERS:
                return self.depth is None and not any(one.startswith(".") for one in names[position:])
            if not _fits(self.parts[position], name):
                return False
        return True


def glob_in(text: str, base: str) -> Glob:
    """The glob that a text means, seen from the folder `base`. Raises ValueError where it can mean no file."""
    if (fault := fault_of(text)) is not None:
        raise ValueError(fault)
    names = os.path.normpath(os.path.join(base, text)).split("/")
    first = next((place for place, name in enumerate(names) if _MAGIC.search(name)), len(names) - 1)
    root = "/".join(names[:first]) or "/"
    parts = tuple(names[first:])
    return Glob(root, (*parts, "*") if parts[-1] == ANY_FOLDERS else parts)


def fault_of(text: str) -> str | None:
    """What is wrong with a glob; None if nothing is."""
    if not text.strip() or len(text) > MAX_TEXT:
        return say("a glob has 1 to {count} characters", count=MAX_TEXT)
    if "\0" in text:
        return say("a glob can't hold the character NUL")
    if text.endswith("/"):
        return say("a glob means files, not a folder: write inbox/*.csv")
    names = text.split("/")
    if any(ANY_FOLDERS in name and name != ANY_FOLDERS for name in names):
        return say("`**` stands alone between slashes, such as inbox/**/*.csv")
    if text.startswith("/") and len(names) > 1 and _MAGIC.search(names[1]):
        return say("begin with a folder: a glob over the whole machine is not watched")
    if _MAGIC.search("/".join(names[: names.index("..")]) if ".." in names else ""):
        return say("`..` stands before all wildcards")
    return None


def _means(parts: Sequence[str], names: Sequence[str]) -> bool:
    """Position by position: which parts may come next, after each of the names."""
    reached = _behind({0}, parts)
    for name in names:
        following: set[int] = set()
        for place in reached:
            if place < len(parts) and parts[place] == ANY_FOLDERS and not name.startswith("."):
                following.add(place)
            elif place < len(parts) and parts[place] != ANY_FOLDERS and _fits(parts[place], name):
                following.add(place + 1)
        reached = _behind(following, parts)
    return len(parts) in reached


def _behind(places: set[int], parts: Sequence[str]) -> set[int]:
    """The places, and those behind a `**` that stands for no folder."""
    found = set(places)
    for place in sorted(places):
        while place < len(parts) and parts[place] == ANY_FOLDERS:
            place += 1
            found.add(place)
    return found


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))
