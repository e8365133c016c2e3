"""Where is a result that is too large for its row, and how is it written and read?

One file of JSON for each execution, beside its logs, replaced as a whole: an outcome that refers to one comes after it is on
the disk.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from typing import BinaryIO

from zquant_flow.logs import make_folders

IN_ROW = 256 * 1024
"""Bytes of JSON up to which a result stays in the row of its execution."""
LARGEST = 64 * 1024 * 1024
"""Bytes of JSON that a result may have."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def result_path(data_dir: str | os.PathLike[str], execution_id: int) -> str:
    """Beside the logs of the execution: `<execution_id>.result.json`."""
    return f"{os.fspath(data_dir)}/logs/{execution_id // 1000}/{execution_id}.result.json"


def beside_log(log: str, execution_id: int) -> str:
    """The same, from the path of one of its logs."""
    return os.path.join(os.path.dirname(log), f"{execution_id}.result.json")


def write(path: str, data: bytes) -> None:
    """Put it there as a whole, and on the disk; raises OSError and leaves what was there before."""
    beside = f"{path}.{os.getpid()}_{threading.get_ident()}"
    make_folders(os.path.dirname(path))
    try:
        with open(os.open(beside, _WRITE, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path)
    except BaseException:  # also Terminated, which may come at any time
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def open_first(paths: Sequence[str]) -> BinaryIO:
    """The first of these files that is there, for reading. Raises FileNotFoundError, or the OSError of one that can't be read."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            return open(os.open(path, _READ), "rb")
    raise FileNotFoundError(2, os.strerror(2), paths[0])


def copy(sources: Sequence[str], target: str) -> None:
    """Let the first of these files that is there also be `target`, unless there is one already; raises OSError."""
    for source in sources:
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            if os.path.exists(source):  # it is the folder that is missing
                make_folders(os.path.dirname(target))
                os.link(source, target, follow_symlinks=False)
                return
        except FileExistsError:
            return
        except OSError:  # a file system without links
            with open_first([source]) as file:
                write(target, file.read())
            return
        else:
            return
    raise FileNotFoundError(2, os.strerror(2), sources[0])


def _sync_folder(path: str) -> None:
    """The name is on the disk as well."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
