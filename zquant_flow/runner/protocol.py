"""How do frames look on the wire?

One JSON object per line (docs/architecture.md). The text is pure ASCII, so that no string that a user can make, lone
surrogates included, breaks it.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 1

Frame = dict[str, Any]
Key = tuple[int, int]
"""Execution and attempt."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode

LOCK_FILE = "runner.lock"
SOCKET_FILE = "runner.sock"
SPOOL_FILE = "runner.outcomes"


class BrokenFrame(ValueError):
    """A line that is no JSON object: the other side does not speak this protocol."""


def encode(frame: Frame) -> bytes:
    return _encode(frame).encode() + b"\n"


def decode(line: bytes) -> Frame:
    try:
        frame = _decode(line.decode())
    except ValueError as exc:
        raise BrokenFrame(f"not JSON: {line[:80]!r}") from exc
    if not isinstance(frame, dict):
        raise BrokenFrame(f"not an object: {line[:80]!r}")
    return frame


class Decoder:
    """Frames out of bytes that come in pieces of any size."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes; raises BrokenFrame."""
        if b"\n" not in data:
            self._pieces.append(data)
            return []
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self._pieces.append(rest)
        return [decode(line) for line in lines if line]
