"""What did a command tell through the file `ZQUANT_FLOW_OUTPUT`?

Lines `key=value` or JSON objects. Some keys are progress, the others are the result.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

LIMIT = 1024 * 1024
"""Bytes of the file that are read."""

PROGRESS_KEYS = {
    "progress": "percent",
    "percent": "percent",
    "current_item": "current_item",
    "total_items": "total_items",
    "processed_items": "processed_items",
    "message": "message",
}


class OutputFile:
    """The file of one attempt; made by the command when it has something to say."""

    __slots__ = ("_seen", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen = (0, 0)

    def grew(self) -> bool:
        """Whether it changed since the last look."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        seen = (status.st_size, status.st_mtime_ns)
        changed = seen != self._seen
        self._seen = seen
        return changed

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The result and the progress so far."""
        return parse(self._content())

    def remove(self) -> None:
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def _content(self) -> str:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.read(fd, LIMIT).decode("utf-8", "replace")
        except OSError:
            return ""
        finally:
            os.close(fd)


def parse(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Result and progress out of the lines; a later line wins, one that is neither form is ignored."""
    result: dict[str, Any] = {}
    progress: dict[str, Any] = {}
    for line in text.splitlines():
        for key, value in _pairs(line.strip()).items():
            if key in PROGRESS_KEYS:
                progress[PROGRESS_KEYS[key]] = _number(value)
            else:
                result[key] = value
    return result, progress


def _pairs(line: str) -> dict[str, Any]:
    if line.startswith("{"):
        try:
            value = json.loads(line, parse_constant=str)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}
    key, found, text = line.partition("=")
    return {key.strip(): text.strip()} if found and key.strip() else {}


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value.rstrip("%"))
        except ValueError:
            continue
    return value
