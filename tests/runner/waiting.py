"""Waiting for what other processes do: a condition with a limit, never a fixed sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    return state(pid) not in ("Z", "X", "")


def state(pid: int) -> str:
    """The kernel's letter for what a process does (proc(5)); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def pid_in(path: Path) -> int:
    """The pid that a process writes into a file, once it is there."""
    until(lambda: path.exists() and path.read_text().strip().isdigit(), what=f"a pid in {path}")
    return int(path.read_text())


def zombies_of(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if state(int(child)) == "Z"]


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
