"""How does a command get the results of the nodes that it comes after?

All of them in one file, the small ones also as variables of its environment. Large ones are copied from files of their own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from zquant_flow.result_files import open_first
from zquant_flow.runner.environment import folded
from zquant_flow.runner.protocol import Frame
from zquant_flow.runner.starting import SpawnFailed

RESULTS = "ZQUANT_FLOW_RESULTS"
SMALL = 32 * 1024
"""Bytes of JSON up to which a result is a variable, too."""
TOGETHER = 256 * 1024
"""Bytes of all such variables; a system may refuse a larger environment."""


class ResultsFile:
    """The file of one attempt: `{"node": its result}`. There is none where no earlier node has a result."""

    __slots__ = ("_filed", "_results", "path")

    def __init__(self, path: str, order: Frame) -> None:
        self.path = path
        self._results: Mapping[str, str] = order.get("results") or {}
        self._filed: Mapping[str, Sequence[str]] = order.get("filed") or {}

    def __bool__(self) -> bool:
        return bool(self._results or self._filed)

    def write(self) -> None:
        """Raises SpawnFailed where the disk doesn't take it."""
        if not self:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(self.path, flags, 0o600), "wb") as file:
                self._write_to(file)
        except OSError as exc:
            self.remove()
            raise SpawnFailed(
                "spawn_failed", f"the file of the earlier results can't be written: {exc.strerror}"
            ) from exc

    def _write_to(self, file: BinaryIO) -> None:
        between = b"{"
        for name, result in self._results.items():
            file.write(between + _text(f"{json.dumps(name, ensure_ascii=False)}: {result}"))
            between = b",\n"
        for name, paths in self._filed.items():
            file.write(between + _text(f"{json.dumps(name, ensure_ascii=False)}: "))
            between = b",\n"
            try:
                with open_first(paths) as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            except FileNotFoundError as exc:
                self.remove()
                raise SpawnFailed(
                    "result_missing", f"the result of {name!r} is not there any more: {paths[0]}"
                ) from exc
        file.write(b"}\n")

    def environment(self) -> dict[str, str]:
        """Where the file is, and a variable for each result that is small and alone with its name."""
        if not self:
            return {}
        env = {RESULTS: self.path}
        names = Counter(map(result_variable, (*self._results, *self._filed)))
        left = TOGETHER
        for node, result in self._results.items():
            name = result_variable(node)
            size = len(result.encode("utf-8", "replace"))
            if size <= min(SMALL, left) and names[name] == 1 and _says_something(name):
                value = json.loads(result) if result.startswith('"') else result
                if _can_be_passed(value):
                    env[name] = value
                    left -= size
        return env

    def remove(self) -> None:
        if self:
            try:
                os.unlink(self.path)
            except OSError:
                pass


def complaint(order: Frame) -> bytes:
    """A line for the log that names the results which were too large to be passed on; empty for most."""
    left_out = order.get("left_out")
    if not left_out:
        return b""
    names = ", ".join(left_out[:10]) + (f" and {len(left_out) - 10} more" if len(left_out) > 10 else "")
    return f"[zquant-flow] too large together for {RESULTS}, left out: {names}\n".encode("utf-8", "replace")


def result_variable(node: str) -> str:
    """`sync-daily` -> `ZQF_RESULT_SYNC_DAILY`."""
    return f"ZQF_RESULT_{folded(node)}"


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # half a character, as JSON has it


def _says_something(variable: str) -> bool:
    """Whether anything of the node's name is left in the variable's."""
    return re.search("[0-9A-Z]", variable.removeprefix("ZQF_RESULT_")) is not None


def _can_be_passed(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False
