"""What does the kernel say about a tree of folders?

On watchdog's `InotifyFD`, without its observer: that one holds an unpaired move back for half a second, and everything
behind it, does not tell of lost events, and shows a rename into place as a mere creation.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

_MASK = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)


class Kind(Enum):
    """What happened; `OVERFLOW` and `ROOT` ask for a scan."""

    CLOSED = auto()
    MOVED_IN = auto()
    CREATED = auto()
    MODIFIED = auto()
    ATTRIBUTES = auto()
    GONE = auto()
    FOLDER_CREATED = auto()
    FOLDER_MOVED_IN = auto()
    FOLDER_GONE = auto()
    OVERFLOW = auto()
    ROOT = auto()


@dataclass(frozen=True, slots=True)
class Event:
    kind: Kind
    path: str


_FILE_KINDS = (
    (InotifyConstants.IN_CLOSE_WRITE, Kind.CLOSED),
    (InotifyConstants.IN_MOVED_TO, Kind.MOVED_IN),
    (InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM, Kind.GONE),
    (InotifyConstants.IN_CREATE, Kind.CREATED),
    (InotifyConstants.IN_MODIFY, Kind.MODIFIED),
    (InotifyConstants.IN_ATTRIB, Kind.ATTRIBUTES),
)
_FOLDER_KINDS = (
    (InotifyConstants.IN_MOVED_TO, Kind.FOLDER_MOVED_IN),
    (InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM, Kind.FOLDER_GONE),
    (InotifyConstants.IN_CREATE, Kind.FOLDER_CREATED),
)


class InotifyTree:
    """Watches a folder and all real, visible folders below it.

    Owns watchdog's reading thread, on which `on_event` is called (it must be quick); ended by `stop`. New folders are
    watched on that thread before their event is passed on, so that a scan after the event misses nothing.
    """

    def __init__(self, root: str, on_event: Callable[[Event], None], *, depth: int | None = None) -> None:
        """`depth`: so many folders below the root are watched; None: all."""
        self._root, self._on_event, self._depth = root, on_event, depth
        self._id = CallbackId(id(self))
        self._lock = threading.Lock()
        self._path_of: dict[WatchDescriptor, str] = {}
        self._watched: set[str] = set()
        self._fd: InotifyFD | None = None

    def start(self) -> None:
        """Raises OSError where the folder can't be watched, or not all of it (ENOSPC: the limit of watches)."""
        self._fd = InotifyFD()
        try:
            self._watch_below("")
        except OSError:
            # A reader that never started does not close by itself.
            self._fd.start()
            self.stop()
            raise
        self._fd.start()

    def stop(self) -> None:
        descriptor, self._fd = self._fd, None
        if descriptor is not None:
            descriptor.stop()
            descriptor.join()

    # Called by InotifyFD, on its thread

    def on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            folder = self._path_of.get(event.wd)
        if folder is None:
            return
        if not event.name:
            if not folder and event.mask & (InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF):
                self._on_event(Event(Kind.ROOT, ""))
            return
        name = os.fsdecode(event.name)
        path = f"{folder}/{name}" if folder else name
        is_folder = bool(event.mask & InotifyConstants.IN_ISDIR)
        kinds = _FOLDER_KINDS if is_folder else _FILE_KINDS
        kind = next((kind for mask, kind in kinds if event.mask & mask), None)
        if kind is None or (is_folder and name.startswith(".")):
            return
        if kind in (Kind.FOLDER_CREATED, Kind.FOLDER_MOVED_IN):
            with contextlib.suppress(OSError):  # gone again, or no watch left: the slow scan sees it
                self._watch_below(path)
        elif kind is Kind.FOLDER_GONE:
            self._forget_below(path)
        self._on_event(Event(kind, path))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            path = self._path_of.pop(wd, None)
            self._watched.discard(path or "")
        if path == "" and self._fd is not None:
            self._on_event(Event(Kind.ROOT, ""))

    def on_queue_overflow(self) -> None:
        with contextlib.suppress(OSError):  # folders whose creation was lost
            self._watch_below("")
        self._on_event(Event(Kind.OVERFLOW, ""))

    def _watch_below(self, path: str) -> None:
        left = [path]
        while left:
            path = left.pop()
            if self._is_too_deep(path):
                continue
            full = os.path.join(self._root, path) if path else self._root
            try:
                self._watch(path, full)
                with os.scandir(full) as entries:
                    left += [
                        f"{path}/{entry.name}" if path else entry.name
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                    ]
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                if not path:
                    raise

    def _watch(self, path: str, full: str) -> None:
        if self._fd is None or len(full) > 4000 or self._is_too_deep(path):
            return
        with self._lock:
            if path in self._watched:
                return
        descriptor = self._fd.add_callback(os.fsencode(full), _MASK, self, self._id)
        with self._lock:
            self._path_of[descriptor] = path
            self._watched.add(path)

    def _is_too_deep(self, path: str) -> bool:
        return self._depth is not None and path != "" and path.count("/") >= self._depth

    def _forget_below(self, path: str) -> None:
        """A folder that was moved away is still watched, under a name that is no longer true."""
        with self._lock:
            gone = [
                wd for wd, known in self._path_of.items() if known == path or known.startswith(path + "/")
            ]
            for wd in gone:
                self._watched.discard(self._path_of.pop(wd))
        if self._fd is not None and gone:
            with contextlib.suppress(OSError):
                self._fd.remove_callbacks([(wd, self._id) for wd in gone])
