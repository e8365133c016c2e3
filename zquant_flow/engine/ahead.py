"""What can begin before the heavy parts are imported?

The runner and the loader are processes: started first, they come up on another processor while this one imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace
from typing import IO

from zquant_flow.backends.local import LocalBackend
from zquant_flow.config import Settings
from zquant_flow.definitions.loader import Loader
from zquant_flow.errors import DataFolderInUse, Unavailable
from zquant_flow.plugin.snapshots import Snapshots
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import say


@dataclass(slots=True)
class Ahead:
    """The parts that have processes of their own, and the lock they need."""

    backend: LocalBackend
    loader: Loader
    plugins: Sources
    lock: IO[str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Ahead:
        """The parts, made and not started."""
        plugins = copied(Sources.of(settings), Snapshots(settings.data_dir))
        loader = Loader(settings.tasks_dir, timezone=settings.zone.key, plugins=plugins)
        return cls(LocalBackend(settings.data_dir), loader, plugins)

    @classmethod
    def launched(cls, settings: Settings) -> Ahead:
        """The parts, their processes on their way. Raises DataFolderInUse, and Unavailable where it can't be written."""
        ahead = cls.of(settings)
        ahead.lock = lock_data_folder(settings)
        ahead.backend.launch()
        ahead.loader.start()
        return ahead


def copied(sources: Sources, snapshots: Snapshots) -> Sources:
    """The same with the plugins folder as it is now, in a copy; the folder itself where none can be written."""
    if sources.folder is None:
        return sources
    with contextlib.suppress(OSError):
        return replace(sources, folder=snapshots.take(sources.folder))
    return sources


def lock_data_folder(settings: Settings) -> IO[str]:
    """The lock that one control plane holds on its data folder; it goes with the process.

    Raises DataFolderInUse, and Unavailable where the folder can't be written.
    """
    path = settings.data_dir / "serve.lock"
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    except OSError as exc:
        raise _not_writable(settings, exc) from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = file.read().strip() or say("another process")
        file.close()
        raise DataFolderInUse(
            say(
                "{folder} is in use by {holder}; stop that one, or choose another folder with --data",
                folder=str(settings.data_dir),
                holder=holder,
            )
        ) from None
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
    except OSError as exc:
        raise _not_writable(settings, exc) from exc
    return file


def _not_writable(settings: Settings, exc: OSError) -> Unavailable:
    return Unavailable(
        say(
            "the data folder {folder} can't be written: {reason}; make it writable, or choose another with --data",
            folder=str(settings.data_dir),
            reason=exc.strerror,
        )
    )
