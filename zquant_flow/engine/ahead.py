"""What can begin before the heavy parts are imported?

The runner and the loader are processes: started first, they come up on another processor while this one imports.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from zquant_flow.backends.local import LocalBackend
from zquant_flow.config import Settings
from zquant_flow.definitions.loader import Loader
from zquant_flow.errors import BadRequest, DataFolderInUse, Unavailable
from zquant_flow.plugin.snapshots import Snapshots
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import joined, say


@dataclass(slots=True)
class Ahead:
    """The parts that have processes of their own, and the lock they need."""

    backend: Any
    """What `engine.worker.Backend` says, with `launch` and `attach`."""
    loader: Loader
    plugins: Sources
    lock: Locks | None = None

    @classmethod
    def of(cls, settings: Settings) -> Ahead:
        """The parts, made and not started."""
        plugins = copied(Sources.of(settings), Snapshots(settings.data_dir))
        loader = Loader(settings.tasks_dir, timezone=settings.zone.key, plugins=plugins)
        return cls(backend_of(settings, plugins), loader, plugins)

    @classmethod
    def launched(cls, settings: Settings) -> Ahead:
        """The parts, their processes on their way. Raises DataFolderInUse, and Unavailable where it can't be written."""
        ahead = cls.of(settings)
        ahead.lock = lock_data_folder(settings)
        ahead.backend.launch()
        ahead.loader.start()
        return ahead


def backend_of(settings: Settings, plugins: Sources) -> Any:
    """The backend of the settings: our own, or one that a plugin brings. Raises BadRequest for one that nobody has."""
    if settings.backend == "local":
        return LocalBackend(settings.data_dir)
    from zquant_flow.executors.installed import installed  # 0.1 s that others pay later, beside the processes

    known = {"local"}
    for _, backends in installed(plugins).each("register_backends"):
        if settings.backend in backends:
            return backends[settings.backend](settings)
        known |= backends.keys()
    raise BadRequest(
        say(
            "there is no backend {name!r}: known are {known}",
            name=settings.backend,
            known=joined(", ", sorted(known)),
        )
    )


def copied(sources: Sources, snapshots: Snapshots) -> Sources:
    """The same with the plugins folder as it is now, in a copy; the folder itself where none can be written."""
    if sources.folder is None:
        return sources
    with contextlib.suppress(OSError):
        return replace(sources, folder=snapshots.take(sources.folder))
    return sources


class Locks:
    """What one control plane holds as long as it lives; they go with the process, or with `close`."""

    def __init__(self) -> None:
        self._files: list[IO[str]] = []

    def add(self, file: IO[str]) -> None:
        self._files.append(file)

    def close(self) -> None:
        """The last that was taken first: who waits for the data folder then finds all free."""
        while self._files:
            self._files.pop().close()

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock_data_folder(settings: Settings) -> Locks:
    """The lock that one control plane holds on its data folder, and on an SQLite file elsewhere.

    Raises DataFolderInUse, and Unavailable where the folder can't be written.
    """
    locks = Locks()
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        locks.add(_lock(settings.data_dir / "serve.lock"))
    except _Held as held:
        raise DataFolderInUse(
            say(
                "{folder} is in use by {holder}; stop that one, or choose another folder with --data",
                folder=str(settings.data_dir),
                holder=held.holder,
            )
        ) from None
    except OSError as exc:
        raise _not_writable(settings, exc) from exc
    try:
        _lock_database(settings, locks)
    except DataFolderInUse:
        locks.close()
        raise
    return locks


def _lock_database(settings: Settings, locks: Locks) -> None:
    """An SQLite file has one control plane, whose data folder may be another. A place that can't be written tells of itself."""
    scheme, _, name = settings.database.partition(":///")
    file = Path(name.partition("?")[0])
    if not scheme.startswith("sqlite") or not name or file.parent.resolve() == settings.data_dir.resolve():
        return
    try:
        if (file.parent / "serve.lock").exists():  # it may be in the data folder of another
            locks.add(_lock(file.parent / "serve.lock"))
        locks.add(_lock(file.with_name(f"{file.name}.lock")))
    except _Held as held:
        raise DataFolderInUse(
            say(
                "the database file {file} is in use by {holder}; stop that one, or name another with --database",
                file=str(file),
                holder=held.holder,
            )
        ) from None
    except OSError:
        return


class _Held(Exception):
    """Somebody else has the lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def _lock(path: Path) -> IO[str]:
    """The file, locked, with this process's number in it. Raises _Held, OSError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
    except BlockingIOError:
        holder = file.read().strip() or say("another process")
        file.close()
        raise _Held(holder) from None
    return file


def _not_writable(settings: Settings, exc: OSError) -> Unavailable:
    return Unavailable(
        say(
            "the data folder {folder} can't be written: {reason}; make it writable, or choose another with --data",
            folder=str(settings.data_dir),
            reason=exc.strerror,
        )
    )
