"""Which files are there that a glob means?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from zquant_flow.core.globs import Glob

MOST = 100_000
"""Files of one task that are looked after."""
LONGEST = 2_000
"""Bytes of a path that can be kept: an index entry of PostgreSQL has 2,704."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as it was at one moment; times in nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """What makes it the same file: written once more it is another one."""
        return self.size, self.mtime_ns


@dataclass(frozen=True, slots=True)
class Found:
    """What a look has found by path; `complete` unless there is more than may be."""

    files: dict[str, FileFacts]
    complete: bool


def find(glob: Glob, most: int = MOST) -> Found:
    """All that the glob means now. Raises OSError where its folder can't be read."""
    files: dict[str, FileFacts] = {}
    for path in _below(glob):
        if len(files) >= most:
            return Found(files, complete=False)
        if (facts := look(path)) is not None:
            files[path] = facts
    return Found(files, complete=True)


def look(path: str) -> FileFacts | None:
    """The facts of a regular file, reached by a link perhaps; None where there is none, or its path can't be kept."""
    if not can_be_kept(path):
        return None
    try:
        state = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return FileFacts(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def can_be_kept(path: str) -> bool:
    """Whether the path is text, and not too long."""
    try:
        return len(path.encode()) <= LONGEST
    except UnicodeEncodeError:
        return False


def _below(glob: Glob) -> Iterator[str]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(os.path.join(glob.root, folder))
        except OSError:
            if not folder:
                raise
            continue
        with entries:
            for entry in entries:
                below = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if glob.may_hold(below):
                        folders.append(below)
                elif glob.means(below):
                    yield entry.path
