"""When does the tasks folder change?

The kernel's events where there are any (`inotify`), a slow scan as a net below them, and scans alone on network folders.
What they mean is kept in `folder`; this module has the thread.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from zquant_flow.clock import Clock, SystemClock
from zquant_flow.definitions.folder import ODD, Changes, Doubt, Folder
from zquant_flow.definitions.scan import FileStat, Scan, scan, stat_of

try:
    from zquant_flow.definitions.inotify import Event, InotifyTree, Kind
except ImportError:  # not Linux, or another watchdog: scans alone
    InotifyTree = None  # type: ignore[assignment,misc]

__all__ = ["Changes", "Doubt", "Watcher"]

_log = logging.getLogger(__name__)
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "ceph",
    "gluster",
    "lustre",
    "afs",
    "fuse",
    "vboxsf",
    "ncpfs",
    "beegfs",
    "virtiofs",
)
_DOUBT_SCANS_PER_CONFIRMATION = 10


class Watcher:
    """Tells `on_change` what to read again and what is gone, on a thread of its own; one call at a time.

    The thread is owned and ended here (`start`, `stop`), and woken by events, `rescan` and `prune`. The first call tells
    everything that differs from `known`. Survives a stop before its start, and a second one.
    """

    def __init__(
        self,
        tasks_dir: Path,
        on_change: Callable[[Changes], None],
        *,
        rescan_interval: float = 60.0,
        settle: float = 2.0,
        poll_interval: float = 1.0,
        confirm_after: float = 60.0,
        removal_grace: float = 0.1,
        known: Mapping[str, FileStat | None] | None = None,
        on_state: Callable[[Doubt | None], None] | None = None,
        polling: bool | None = None,
        clock: Clock | None = None,
        tells: bool = True,
    ) -> None:
        """`known`: the files that are loaded, with the stat they had (inode 0: any; None: read them again).

        `on_state`: told when `unavailable` changes. `polling`: scans alone; None finds out by the file system.
        `tells`: whether the log says that tasks are not believed to be gone; of a folder of other things it would be wrong.
        """
        self._dir, self._on_change = tasks_dir, on_change
        self._rescan_interval, self._poll_interval = rescan_interval, poll_interval
        self._on_state, self._tells = on_state, tells
        self._polling = polling
        self._clock = clock or SystemClock()
        self._folder = Folder(
            known=dict(known or {}), settle=settle, removal_grace=removal_grace, confirm_after=confirm_after
        )
        self._events: deque[Event] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._scan_wanted = True
        self._prune_wanted = False
        self._thread: threading.Thread | None = None
        self._tree: InotifyTree | None = None
        self._trusted: tuple[int, int] | None = None
        self._next_scan = 0.0
        self._settled_before = (self._clock.micros() / 1e6 - settle) * 1e9
        self._told: Doubt | None = None
        self.skipped: dict[str, str] = {}
        """Why files of the last scan are passed over, by path."""

    @property
    def unavailable(self) -> Doubt | None:
        """Why the folder's losses are not believed at present; None when all is well."""
        return self._folder.doubt

    @property
    def polling(self) -> bool:
        """Whether scans alone tell of changes: found out at the start."""
        return self._tree is None

    def start(self) -> None:
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="zquant-flow-watcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def rescan(self) -> None:
        """Looks at the whole folder now."""
        with self._wake:
            self._scan_wanted = True
            self._wake.notify()

    def prune(self) -> None:
        """Believes what is missing (`zqf tasks prune`)."""
        with self._wake:
            self._prune_wanted = self._scan_wanted = True
            self._wake.notify()

    def _run(self) -> None:
        try:
            self._attach()
            while not self._stopping:
                try:
                    self.tick()
                except Exception:
                    _log.exception(
                        "the watcher stumbled, and scans again", extra={"action": "watcher_failed"}
                    )
                    self._next_scan = self._clock.monotonic() + self._poll_interval
                self._sleep()
        finally:
            self._detach()

    def tick(self) -> None:
        """Takes in what has happened, and tells what may be told; the thread calls it whenever there is a reason."""
        with self._wake:
            events, self._events = self._events, deque()
            wanted, self._scan_wanted = self._scan_wanted, False
            prune, self._prune_wanted = self._prune_wanted, False
        for event in events:
            self._take_in(event)
        if wanted or self._scan_wanted or self._clock.monotonic() >= self._next_scan:
            self._scan_wanted = False
            self._scan()
        if prune:
            self._folder.confirm()
        self._tell()

    def _sleep(self) -> None:
        with self._wake:
            if self._events or self._scan_wanted or self._stopping:
                return
            look = self._folder.next_look()
            until = self._next_scan if look is None else min(look, self._next_scan)
            self._wake.wait(max(0.0, until - self._clock.monotonic()) + 0.001)

    def _tell(self) -> None:
        for changes in self._folder.take(self._clock.monotonic(), self._look):
            try:
                self._on_change(changes)
            except Exception:
                _log.exception("the watcher's listener failed", extra={"action": "watcher_listener_failed"})
        doubt = self._folder.doubt
        if doubt is None and self._told is Doubt.REPLACED:
            self._trusted = self._identity()
        if doubt is not self._told:
            self._told = doubt
            if self._tells:
                self._warn(doubt)
            if self._on_state is not None:
                self._on_state(doubt)

    def _warn(self, doubt: Doubt | None) -> None:
        if doubt is None:
            _log.info(
                "the tasks folder %s is well again", self._dir, extra={"action": "tasks_folder_available"}
            )
        else:
            _log.warning(
                "the tasks folder %s is %s: nothing is archived until this has stood for a while, or `zqf tasks prune`",
                self._dir,
                doubt.value,
                extra={"action": "tasks_folder_unavailable", "doubt": doubt.value},
            )

    # Events

    def _put(self, event: Event) -> None:
        with self._wake:
            self._events.append(event)
            self._wake.notify()

    def _take_in(self, event: Event) -> None:
        folder, path, now = self._folder, event.path, self._clock.monotonic()
        match event.kind:
            case Kind.CLOSED:
                folder.written(path)
            case Kind.MOVED_IN | Kind.CREATED if self._is_link(path):
                folder.written(path)  # a link appears whole
                self._scan_behind(path)
            case Kind.MOVED_IN:
                folder.written(path)
            case Kind.CREATED if self._links_of(path) > 1:
                folder.written(path)
            case Kind.CREATED | Kind.MODIFIED:
                folder.being_written(path)
            case Kind.ATTRIBUTES:
                folder.touched(path, self._look(path), now)
            case Kind.GONE:
                folder.gone(path, now)
            case Kind.FOLDER_GONE:
                folder.folder_gone(path, now)
            case Kind.FOLDER_MOVED_IN:
                self._take_in_folder(path, moved=True)
            case Kind.FOLDER_CREATED:
                self._take_in_folder(path, moved=False)
            case Kind.OVERFLOW | Kind.ROOT:
                self._scan_wanted = True

    def _take_in_folder(self, path: str, *, moved: bool) -> None:
        """What a new folder holds: whole where the folder was moved in, perhaps still being written where it was made."""
        now = self._clock.monotonic()
        try:
            found = scan(self._dir / path).files
        except OSError:
            return
        for name, state in found.items():
            inner = f"{path}/{name}"
            if moved:
                self._folder.written(inner)
            elif self._folder.known.get(inner) != state:
                self._folder.touched(inner, state, now)

    def _is_link(self, path: str) -> bool:
        try:
            return stat.S_ISLNK(os.lstat(self._dir / path).st_mode)
        except OSError:
            return False

    def _links_of(self, path: str) -> int:
        try:
            return os.lstat(self._dir / path).st_nlink
        except OSError:
            return 0

    def _scan_behind(self, path: str) -> None:
        """A link to a folder, such as ConfigMap's `..data`, moves all that other links lead to, in one step."""
        if os.path.isdir(self._dir / path):
            self._scan_wanted, self._settled_before = True, math.inf

    # Scans

    def _scan(self) -> None:
        now = self._clock.monotonic()
        identity = self._identity()
        found = self._scanned()
        if isinstance(found, Doubt):
            self._folder.unseen(found, now)
        else:
            replaced = self._trusted is not None and identity != self._trusted
            settled, self._settled_before = self._settled_before, -math.inf
            self.skipped = found.skipped
            self._folder.scanned(found.files, found.skipped, now, replaced=replaced, old_enough=settled)
            if self._folder.doubt is None:
                self._trusted = identity
            self._follow(identity)
        self._next_scan = now + self._interval()

    def _scanned(self) -> Scan | Doubt:
        try:
            return scan(self._dir)
        except (FileNotFoundError, NotADirectoryError):
            return Doubt.MISSING
        except OSError:
            return Doubt.UNREADABLE

    def _interval(self) -> float:
        usual = self._rescan_interval if self._tree is not None else self._poll_interval
        if self._folder.doubt is None:
            return usual
        return min(usual, max(0.1, self._folder.confirm_after / _DOUBT_SCANS_PER_CONFIRMATION))

    def _identity(self) -> tuple[int, int] | None:
        try:
            state = os.stat(self._dir)
        except OSError:
            return None
        return (state.st_dev, state.st_ino)

    def _look(self, path: str) -> FileStat | None:
        try:
            found = stat_of(self._dir, path)
        except OSError as exc:
            gone = exc.errno in (errno.ENOENT, errno.ENOTDIR)
            return None if gone else ODD
        if isinstance(found, str):
            self.skipped[path] = found
            return ODD
        return found

    # The kernel's attention

    def _attach(self) -> None:
        self._watched = self._identity()
        if InotifyTree is None or self._watched is None:
            return
        if self._polling or (self._polling is None and is_network(self._dir)):
            return
        tree = InotifyTree(os.path.realpath(self._dir), self._put)
        try:
            tree.start()
        except OSError as exc:
            _log.warning(
                "the kernel can't watch %s (%s): it is scanned every %g s",
                self._dir,
                exc.strerror,
                self._poll_interval,
                extra={"action": "watcher_polls"},
            )
            return
        self._tree = tree

    def _detach(self) -> None:
        tree, self._tree = self._tree, None
        if tree is not None:
            tree.stop()

    def _follow(self, identity: tuple[int, int] | None) -> None:
        """Watches the folder that is there now, when it is not the one that was."""
        if identity is not None and identity != self._watched:
            self._detach()
            self._attach()
            self._scan_wanted = self._tree is not None


def is_network(folder: Path) -> bool:
    """Does this folder lie on a file system whose changes the kernel does not see?"""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    here = os.path.realpath(folder)
    best, kind = "", ""
    for line in mounts:
        _, point, name, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if (here == point or here.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, name
    return kind.startswith(_NETWORK)
