"""Which processes belong to the attempts of a data folder?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from zquant_flow.environment import RUNNER_MARK


def workers_of(data_dir: Path) -> set[psutil.Process]:
    """All that a runner of this folder has started, our own workers among them."""
    return {process for process in psutil.process_iter() if _mark(process) == str(data_dir)}


def started_by_attempts(data_dir: Path) -> list[str]:
    """The command lines of what is neither a runner nor a worker of ours: what attempts themselves have started."""
    found = workers_of(data_dir)
    words = {_words(child) for process in found for child in (process, *_children(process))}
    return sorted(word for word in words if word and "zquant_flow.runner" not in word)


def eventually(condition: Callable[[], object], seconds: float) -> bool:
    """Whether this comes to hold within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUNNER_MARK)
    except psutil.Error:
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _words(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""
