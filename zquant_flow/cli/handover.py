"""How does a new server take the place of the one that runs, so that no attempt notices?

The one that runs is asked by SIGUSR1 to leave its attempts with the runner and go; the data folder's lock says when it has.
A release that does not know the signal dies of it, which comes to the same.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from pathlib import Path

from zquant_flow.config import Settings
from zquant_flow.errors import DataFolderInUse
from zquant_flow.wording import say

SIGNAL = signal.SIGUSR1
PATIENCE_SECONDS = 60.0
"""How long the other may finish what was asked of it over HTTP, and its last commit."""


def take_over(settings: Settings) -> None:
    """Ask the server of this data folder to leave, and wait until it has. Raises DataFolderInUse if it does not."""
    path = settings.data_dir / "serve.lock"
    holder = _holder(path)
    if holder is None:
        return
    try:
        os.kill(holder, SIGNAL)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise DataFolderInUse(
            say("{folder} is served by process {pid} of another user", folder=str(path.parent), pid=holder)
        ) from exc
    free = threading.Event()
    threading.Thread(target=_wait, args=(path, free), daemon=True).start()
    if not free.wait(PATIENCE_SECONDS):
        raise DataFolderInUse(
            say("process {pid} does not leave {folder}; stop it", pid=holder, folder=str(path.parent))
        )


def _holder(path: Path) -> int | None:
    """The process that holds the lock; None where nobody does."""
    try:
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found = re.search(r"process (\d+)", file.read())
                return int(found[1]) if found else None
    except FileNotFoundError:
        pass
    return None


def _wait(path: Path, free: threading.Event) -> None:
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    free.set()
