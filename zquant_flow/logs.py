"""Where is the log of an attempt, and how do its bytes get there?

One file for each attempt, named by ids and never by a task's name: raw bytes, made when the first one comes, with an
end. A full disk or a lost folder costs log lines, never the attempt.
"""

from __future__ import annotations

import os

LIMIT = 10 * 1024 * 1024
"""How many bytes of an attempt's output are kept, unless told otherwise."""

_BLOCK = 64 * 1024
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def log_path(data_dir: str | os.PathLike[str], execution_id: int, attempt: int) -> str:
    """`<data>/logs/<execution_id // 1000>/<execution_id>-<attempt>.log`; made for every attempt, so plain text."""
    return f"{os.fspath(data_dir)}/logs/{execution_id // 1000}/{execution_id}-{attempt}.log"


def state_path(data_dir: str | os.PathLike[str], execution_id: int) -> str:
    """Where the attempts of an execution keep their state, beside their logs: `<execution_id>.state.json`."""
    return f"{os.fspath(data_dir)}/logs/{execution_id // 1000}/{execution_id}.state.json"


def read(path: str | os.PathLike[str], offset: int = 0, limit: int = 65536) -> tuple[bytes, int]:
    """At most `limit` bytes from `offset`, and the offset that follows them; a log that is not there is empty."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b"", offset
    try:
        data = os.pread(fd, limit, offset)
    finally:
        os.close(fd)
    return data, offset + len(data)


def size(path: str | os.PathLike[str]) -> int:
    """How many bytes the log has; none if it is not there."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def start_of_tail(path: str | os.PathLike[str], end: int, lines: int) -> int:
    """Where the last `lines` lines of the first `end` bytes begin; reads backwards, and no more than it must."""
    start, wanted = end, lines + 1  # the end of the line before them is sought
    if end and read(path, end - 1, 1)[0] != b"\n":
        wanted -= 1
    while start > 0:
        begin = max(0, start - _BLOCK)
        block = read(path, begin, start - begin)[0]
        found = block.count(b"\n")
        if found >= wanted:
            for _ in range(wanted):
                block = block[: block.rindex(b"\n")]
            return begin + len(block) + 1
        wanted, start = wanted - found, begin
    return 0


class AttemptLog:
    """The log of one attempt, open for writing from its first byte on.

    Past `limit` bytes one line says so and the rest is dropped. An error of the disk drops what it met; the next
    write tries again.
    """

    __slots__ = ("_fd", "_full", "_room", "limit", "path")

    def __init__(self, path: str | os.PathLike[str], limit: int = LIMIT) -> None:
        self.path = path
        self.limit = limit
        self._fd = -1
        self._room = limit
        self._full = False

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`, as far as there is room; never raises OSError."""
        if self._full or not data:
            return
        try:
            if self._fd < 0:
                self._open()
            kept = data[: self._room]
            self._append(kept)
            self._room -= len(kept)
            if len(kept) < len(data):
                self._full = True
                self._append(f"\n[zquant-flow] log cut at {_size(self.limit)}\n".encode())
        except OSError:
            return

    def close(self) -> None:
        """Close the file; a later write would open it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open(self) -> None:
        try:
            self._fd = os.open(self.path, _FLAGS, 0o600)
        except FileNotFoundError:
            make_folders(os.path.dirname(self.path))
            self._fd = os.open(self.path, _FLAGS, 0o600)
        self._room = max(0, self.limit - os.fstat(self._fd).st_size)

    def _append(self, data: bytes | memoryview) -> None:
        while data:
            data = data[os.write(self._fd, data) :]


def make_folders(path: str) -> None:
    """Like os.makedirs, but every folder that is made is 0700 (makedirs gives the mode to the last one only)."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        make_folders(path)


def _size(limit: int) -> str:
    for factor, unit in ((1024 * 1024, "MB"), (1024, "KB")):
        if limit >= factor and limit % factor == 0:
            return f"{limit // factor} {unit}"
    return f"{limit} bytes"
