"""Which logs of attempts lie in the data folder, which states and large results beside them, and how do they go?"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zquant_flow.logs import log_path, size, state_path
from zquant_flow.result_files import result_path

PER_FOLDER = 1000
"""Executions whose logs share a folder, as `logs.log_path` says."""
_NAME = re.compile(r"(\d+)(?:-\d+\.log|\.(?:state|result)\.json(?:\.\w+)?)", re.ASCII)
"""A log; a state or a result; one that was being written when its worker was killed."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log, a kept state or a result, and whose it is. `mtime` in microseconds."""

    path: str
    execution_id: int
    size: int
    mtime: int


def folders(data_dir: Path) -> list[int]:
    """The numbers of the folders that hold logs, lowest first: that is about the order of time."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(
            int(name) for name in os.listdir(data_dir / "logs") if name.isascii() and name.isdecimal()
        )
    return []


def logs_in(data_dir: Path, folder: int) -> Iterator[LogFile]:
    """The logs, kept states and results in one of them; what has another name is nobody's and stays."""
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        os.scandir(data_dir / "logs" / str(folder)) as found,
    ):
        for entry in found:
            name = _NAME.fullmatch(entry.name)
            if name and entry.is_file(follow_symlinks=False):
                facts = entry.stat(follow_symlinks=False)
                yield LogFile(entry.path, int(name[1]), facts.st_size, facts.st_mtime_ns // 1000)


def highest_id(data_dir: Path) -> int:
    """The highest id of an execution that has left a log; 0 without logs."""
    for folder in reversed(folders(data_dir)):
        found = max((log.execution_id for log in logs_in(data_dir, folder)), default=0)
        if found:
            return found
    return 0


def remove_attempts(data_dir: Path, execution_id: int, attempts: int) -> tuple[int, int]:
    """Remove the logs of an execution's attempts, what they have kept and what came of it; how many files there were, and their bytes."""
    sizes = [remove(path) for path in _files_of(data_dir, execution_id, attempts)]
    found = [bytes_ for bytes_ in sizes if bytes_ is not None]
    return len(found), sum(found)


def attempts_size(data_dir: Path, execution_id: int, attempts: int) -> tuple[int, int]:
    """How many files an execution's attempts have left, and their bytes."""
    sizes = (size(path) for path in _files_of(data_dir, execution_id, attempts))
    found = [bytes_ for bytes_ in sizes if bytes_]
    return len(found), sum(found)


def remove_state(data_dir: Path, execution_id: int) -> None:
    """Nobody goes on from what the attempts of this execution have kept."""
    remove(state_path(data_dir, execution_id))


def _files_of(data_dir: Path, execution_id: int, attempts: int) -> list[str]:
    logs = [log_path(data_dir, execution_id, attempt) for attempt in range(1, attempts + 1)]
    return [*logs, state_path(data_dir, execution_id), result_path(data_dir, execution_id)]


def remove(path: str) -> int | None:
    """Remove a file; its bytes, None where there was none or it could not be."""
    try:
        bytes_ = os.stat(path, follow_symlinks=False).st_size
        os.unlink(path)
    except OSError:
        return None
    return bytes_


def put_aside(file: LogFile, folder: Path) -> None:
    """Move a log out of the way of the ids."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.replace(file.path, folder / os.path.basename(file.path))


def drop_folder(data_dir: Path, folder: int) -> None:
    """Remove the folder if it is empty."""
    with contextlib.suppress(OSError):
        os.rmdir(data_dir / "logs" / str(folder))
