"""What has changed in the tasks folder, and may it be believed?

Pure bookkeeping between what the kernel and scans report and what the loader is told; every method takes `now`, in
seconds that never go back. A file is read when its writer closes it or renames it into place; where nobody can tell, when
it has stood still (SEMANTICS §1.3). A loss that looks like an unmounted disk is doubted first (§1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from zquant_flow.definitions.scan import FileStat, is_task_path

Look = Callable[[str], FileStat | None]
"""The state of a file now; None where it is gone. One that is passed over for a reason has the stat `ODD`."""

ODD = FileStat(-1, -1, -1)


class Doubt(StrEnum):
    """Why a loss of files is not believed yet."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    REPLACED = "replaced"
    EMPTIED = "emptied"


@dataclass(frozen=True, slots=True)
class Changes:
    """Paths below the tasks folder to read again, and paths whose tasks are gone."""

    changed: frozenset[str]
    removed: frozenset[str]
    by_event: bool


@dataclass(slots=True)
class _Suspicion:
    doubt: Doubt
    sight: int
    since: float


@dataclass(slots=True)
class Folder:
    """What is known of the folder.

    `known` maps paths to the stat they were last read at: None where it is not known, inode 0 where that is not.
    """

    known: dict[str, FileStat | None] = field(default_factory=dict)
    settle: float = 2.0
    removal_grace: float = 0.1
    confirm_after: float = 60.0
    _ready: set[str] = field(default_factory=set)
    _settled: set[str] = field(default_factory=set)
    _leaving: dict[str, float] = field(default_factory=dict)
    _moving: dict[str, tuple[FileStat, float]] = field(default_factory=dict)
    _writing: set[str] = field(default_factory=set)
    _lost: set[str] = field(default_factory=set)
    _suspicion: _Suspicion | None = None

    @property
    def doubt(self) -> Doubt | None:
        return self._suspicion.doubt if self._suspicion else None

    # What the kernel tells

    def written(self, path: str) -> None:
        """Its writer has closed it, or it was renamed or linked into place."""
        self._writing.discard(path)
        self._moving.pop(path, None)
        self._leaving.pop(path, None)
        if is_task_path(path):
            self._ready.add(path)

    def being_written(self, path: str) -> None:
        """Somebody writes and has not closed it: no scan may take it for settled."""
        if is_task_path(path):
            self._writing.add(path)
            self._moving.pop(path, None)

    def touched(self, path: str, stat: FileStat | None, now: float) -> None:
        """Something happened that has no end of its own, such as a chmod: read it when it has stood still."""
        if stat is not None and is_task_path(path) and path not in self._writing:
            self._moving[path] = (stat, now)

    def gone(self, path: str, now: float) -> None:
        """Deleted or moved away. Believed after a moment: editors and git take a file away to put it back.

        Told even of a file that was never told: the listener may know it from elsewhere.
        """
        self._writing.discard(path)
        self._moving.pop(path, None)
        self._ready.discard(path)
        if is_task_path(path):
            self._leaving[path] = now + self.removal_grace

    def folder_gone(self, path: str, now: float) -> None:
        """A folder was deleted or moved away with all that is known below it."""
        prefix = path + "/"
        inside = {*self.known, *self._moving, *self._ready, *self._writing}
        for name in [name for name in inside if name.startswith(prefix)]:
            self.gone(name, now)

    # What a scan finds

    def scanned(
        self,
        files: Mapping[str, FileStat],
        skipped: Iterable[str],
        now: float,
        *,
        replaced: bool,
        old_enough: float,
    ) -> None:
        """Compares a scan with what is known; the rest of it is told by `take`.

        `replaced`: it is not the folder (device, inode) that was watched. `old_enough`: what was not modified since that
        wall time, in nanoseconds, is settled.
        """
        for path, stat in files.items():
            if _is_same(self.known.get(path), stat) or path in self._ready or path in self._writing:
                continue
            if stat.mtime_ns <= old_enough:
                self._settled.add(path)
            elif self._moving.get(path, (None,))[0] != stat:
                self._moving[path] = (stat, now)
        still = set(skipped)
        lost = {
            path
            for path in self.known
            if path not in files and path not in still and path not in self._leaving
        }
        if replaced and lost:
            self._suspect(Doubt.REPLACED, hash(frozenset(files.items())), now)
        elif len(lost) * 2 > len(self.known):
            self._suspect(Doubt.EMPTIED, hash(frozenset(files.items())), now)
        else:
            self._suspicion = None
        self._lost = lost

    def unseen(self, doubt: Doubt, now: float) -> None:
        """The folder is missing, or can't be read."""
        self._suspect(doubt, 0, now)
        self._lost = set(self.known)
        self._moving.clear()
        self._leaving.clear()

    def confirm(self) -> None:
        """The loss is meant: by a person (`zqf tasks prune`), or by time."""
        self._suspicion = None

    def take(self, now: float, look: Look) -> list[Changes]:
        """What may be told now; each path once."""
        out = []
        changed, removed = self._by_event(now, look)
        if changed or removed:
            out.append(Changes(frozenset(changed), frozenset(removed), by_event=True))
        changed, removed = self._by_scan(now, look)
        if changed or removed:
            out.append(Changes(frozenset(changed), frozenset(removed), by_event=False))
        return out

    def next_look(self) -> float | None:
        """When `take` may have something that is not an event."""
        times = [*self._leaving.values(), *(since + self.settle for _, since in self._moving.values())]
        return min(times, default=None)

    def _by_event(self, now: float, look: Look) -> tuple[set[str], set[str]]:
        ready, self._ready = self._ready, set()
        changed = {path for path in ready if self._note(path, look(path), now)}
        removed = set()
        if self._suspicion is None:
            for path in [path for path, until in self._leaving.items() if until <= now]:
                del self._leaving[path]
                if look(path) is None:
                    self.known.pop(path, None)
                    removed.add(path)
        return changed, removed

    def _by_scan(self, now: float, look: Look) -> tuple[set[str], set[str]]:
        settled, self._settled = self._settled, set()
        for path, (stat, since) in list(self._moving.items()):
            if now - since < self.settle:
                continue
            current = look(path)
            if current == stat:
                del self._moving[path]
                settled.add(path)
            elif current is None:
                del self._moving[path]
            else:
                self._moving[path] = (current, now)
        changed = {path for path in settled if self._note(path, look(path), now)}
        return changed, self._take_lost(now, look)

    def _take_lost(self, now: float, look: Look) -> set[str]:
        suspicion = self._suspicion
        if suspicion is not None:
            certain = suspicion.doubt is not Doubt.UNREADABLE
            if not (certain and now - suspicion.since >= self.confirm_after):
                return set()
            self._suspicion = None
        lost, self._lost = self._lost, set()
        gone = {path for path in lost if path in self.known and look(path) is None}
        for path in gone:
            del self.known[path]
        return gone

    def _suspect(self, doubt: Doubt, sight: int, now: float) -> None:
        before = self._suspicion
        if before is None or (before.doubt, before.sight) != (doubt, sight):
            self._suspicion = _Suspicion(doubt, sight, now)

    def _note(self, path: str, stat: FileStat | None, now: float) -> bool:
        """Remembers what is about to be read; False where it has gone meanwhile, or must not be read."""
        if stat is None:
            self.gone(path, now)
        if stat is None or stat == ODD:
            return False
        self.known[path] = stat
        return True


def _is_same(known: FileStat | None, stat: FileStat) -> bool:
    return known == stat or (known is not None and known.inode == 0 and known[:2] == stat[:2])
