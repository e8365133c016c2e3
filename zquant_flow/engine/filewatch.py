"""When do files come to be that tasks wait for?

Only the engine that leads watches: by the kernel's events where there are any, with a slow look as a net below them, and by
looks alone where there are none. What has come to rest is handed to the engine, which remembers it with the execution.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from zquant_flow.clock import Clock
from zquant_flow.core.globs import Glob, glob_in
from zquant_flow.core.model import OnFile
from zquant_flow.definitions.registry import Registry
from zquant_flow.engine.attention import Attention, Event, Kind
from zquant_flow.engine.found_files import MOST, FileFacts, find, look
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.settling import Settling
from zquant_flow.errors import ZquantFlowError
from zquant_flow.store import seen_files
from zquant_flow.store.database import Database

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks where the kernel says nothing, and at a folder that is not there."""
NET = 60.0
"""Seconds between two looks where it does."""
AGAIN = 0.5
"""Seconds after which the engine is asked again to take what it had no room for."""
AT_A_TIME = 500
"""Files that are handed over at once."""


@dataclass(slots=True)
class _Watched:
    """What one task waits for."""

    task_id: int
    name: str
    folder: str
    on_file: OnFile
    glob: Glob
    settling: Settling
    next_look: float = 0.0
    told_limit: bool = False
    told_missing: bool = False


class FileWatch:
    """Hands files to the engine that tasks wait for.

    Threads: one of its own, `files`, started by `start` and ended by `stop`, which may come twice; the kernel's events come
    on watchdog's, which only queue them. It is woken by events, by `wake`, and by the clock.
    """

    def __init__(
        self,
        operations: Operations,
        database: Database,
        tasks_dir: Path,
        clock: Clock,
        *,
        now: Callable[[], int] | None = None,
        polling: bool | None = None,
    ) -> None:
        """`clock`: of this machine and its files; `now`: the engine's. `polling`: looks alone; None finds out."""
        self._operations, self._database = operations, database
        self._tasks_dir, self._clock = tasks_dir, clock
        self._now = now or clock.micros
        self._registry: Registry | None = None
        self._watched: dict[int, _Watched] = {}
        self._attention = Attention(self.wake, polling=polling)
        self._woken = threading.Condition()
        self._is_woken = False
        self._stopping = False
        self._again: float | None = None
        self._failed_until = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Find what has come meanwhile, and watch from there."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="files", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch nothing more."""
        thread, self._thread = self._thread, None
        self._stopping = True
        self.wake()
        if thread is not None:
            thread.join()

    def follows(self, task_id: int) -> bool:
        """Whether it has looked at what this task waits for."""
        watched = self._watched.get(task_id)
        return watched is not None and watched.next_look > 0.0

    def wake(self) -> None:
        """Look again; from any thread."""
        with self._woken:
            self._is_woken = True
            self._woken.notify()

    def committed(self) -> None:
        """The engine has committed something: tasks may wait for other files now. Called in its thread."""
        if self._operations.registry is not self._registry:
            self.wake()

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    self.tick()
                except (ZquantFlowError, DBAPIError) as exc:
                    log.warning("files can't be taken now: %s", exc, extra={"action": "files_delayed"})
                    self._failed_until = self._clock.monotonic() + POLL
                except Exception:
                    log.exception("the watch for files stumbled", extra={"action": "files_failed"})
                    self._failed_until = self._clock.monotonic() + POLL
                self._sleep()
        finally:
            self._attention.close()
            self._watched.clear()
            self._registry = None

    def tick(self) -> None:
        """Take in what has happened, and hand over what has come to rest."""
        if self._operations.registry is not self._registry:
            self._follow(self._operations.registry)
        for root, event in self._attention.events():
            self._take_in(root, event)
        for watched in self._watched.values():
            if self._clock.monotonic() >= watched.next_look:
                self._look(watched)
        self._again = None
        for watched in self._watched.values():
            self._hand_over(watched)

    def _sleep(self) -> None:
        with self._woken:
            if not self._is_woken and not self._stopping:
                until = self._next_tick()
                wait = None if until is None else max(0.0, until - self._clock.monotonic()) + 0.001
                self._woken.wait(wait)
            self._is_woken = False

    def _next_tick(self) -> float | None:
        """When there is something to do by itself."""
        times: list[float] = []
        for watched in self._watched.values():
            rest = watched.settling.next_look()
            times.append(watched.next_look)
            if rest is not None:
                times.append(max(rest, self._again or 0.0))
        until = min(times, default=None)
        if self._failed_until > self._clock.monotonic():
            return self._failed_until
        return until

    # ── who waits for what ──────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, registry: Registry) -> None:
        wanted = {
            entry.id: entry for entry in registry.by_id.values() if entry.definition.on_file is not None
        }
        gone = self._watched.keys() - wanted.keys()
        for task_id in gone:
            del self._watched[task_id]
        for task_id, entry in wanted.items():
            on_file, known = entry.definition.on_file, self._watched.get(task_id)
            assert on_file is not None
            if known is None or (known.on_file, known.folder) != (on_file, entry.folder):
                self._watched[task_id] = self._watch(task_id, entry.name, entry.folder, on_file)
        self._attach()
        if self._registry is None or gone:
            self._operations.forget_other_files(list(wanted))
        self._registry = registry

    def _watch(self, task_id: int, name: str, folder: str, on_file: OnFile) -> _Watched:
        settle = None if on_file.settle is None else on_file.settle.total_seconds()
        return _Watched(
            task_id=task_id,
            name=name,
            folder=folder,
            on_file=on_file,
            glob=glob_in(on_file.glob, os.path.realpath(self._tasks_dir / folder)),
            settling=Settling(settle, seen_files.all_of(self._database, task_id)),
        )

    def _attach(self) -> None:
        """The kernel watches each root that somebody waits at, as deep as is needed."""
        depths: dict[str, int | None] = {}
        for watched in self._watched.values():
            root, depth = watched.glob.root, watched.glob.depth
            both = (depth, depths.get(root, 0))
            depths[root] = None if None in both else max(both)  # type: ignore[type-var]
        new, left = self._attention.follow(depths)
        self._doubt(left)
        for watched in self._watched.values():
            if watched.glob.root in new:
                watched.next_look = 0.0

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def _take_in(self, root: str, event: Event) -> None:
        if event.kind in (Kind.OVERFLOW, Kind.ROOT, Kind.FOLDER_CREATED, Kind.FOLDER_MOVED_IN):
            self._take_in_folder(root, event)
            return
        path = os.path.join(root, event.path)
        meant = [
            one for one in self._watched.values() if one.glob.root == root and one.glob.means(event.path)
        ]
        facts = look(path) if meant else None
        for watched in meant:
            self._tell(watched.settling, event.kind, path, facts)

    def _take_in_folder(self, root: str, event: Event) -> None:
        if event.kind is Kind.ROOT:
            self._attention.leave(root)
        if event.kind in (Kind.ROOT, Kind.OVERFLOW):
            self._doubt({root})
        for watched in self._watched.values():
            if watched.glob.root == root and (event.path == "" or watched.glob.may_hold(event.path)):
                watched.next_look = 0.0

    def _doubt(self, roots: Collection[str]) -> None:
        """The kernel has not told all of these folders, perhaps not when writers there were done."""
        for watched in self._watched.values():
            if watched.glob.root in roots:
                watched.settling.doubt()

    def _tell(self, settling: Settling, kind: Kind, path: str, facts: FileFacts | None) -> None:
        now = self._clock.monotonic()
        if facts is None or kind is Kind.GONE:
            settling.gone(path)
        elif kind in (Kind.CLOSED, Kind.MOVED_IN) or (kind is Kind.CREATED and _appeared_whole(path)):
            settling.closed(facts, now)
        elif kind is Kind.CREATED:
            settling.made(facts, now)
        elif kind is Kind.MODIFIED:
            settling.written(facts, now)
        else:
            settling.touched(facts, now)

    def _look(self, watched: _Watched) -> None:
        """A look at all that is there: at the start, where the kernel says nothing, and as a net below what it says."""
        now, root = self._clock.monotonic(), watched.glob.root
        if not self._attention.follows(root) and os.path.isdir(root):
            self._attach()
        try:
            found = find(watched.glob)
        except OSError as exc:
            self._report_missing(watched, exc)
            watched.next_look = now + POLL
            return
        watched.told_missing = False
        watched.settling.found(found.files, now, self._clock.micros() * 1000, complete=found.complete)
        if not found.complete and not watched.told_limit:
            log.warning(
                "task %r waits for more than %d files at %s: the rest is passed over",
                watched.name,
                MOST,
                watched.on_file.glob,
                extra={"action": "files_limit"},
            )
        watched.told_limit = not found.complete
        watched.next_look = now + (NET if self._attention.hears(root) else POLL)
        if gone := watched.settling.forgotten(now):
            self._operations.forget_files(watched.task_id, gone)

    def _report_missing(self, watched: _Watched, exc: OSError) -> None:
        if not watched.told_missing:
            log.warning(
                "task %r waits for files in %s, which can't be read: %s",
                watched.name,
                watched.glob.root,
                exc.strerror,
                extra={"action": "files_folder_missing"},
            )
        watched.told_missing = True

    def _hand_over(self, watched: _Watched) -> None:
        """What has come to rest and still is as it was."""
        settling, now = watched.settling, self._clock.monotonic()
        rested = settling.rested(now)
        while rested:
            part, rested = rested[:AT_A_TIME], rested[AT_A_TIME:]
            same = [facts for facts in part if self._is_still(settling, facts, now)]
            taken = self._take(watched.task_id, same)
            settling.told(taken)
            if len(taken) < len(same):
                self._again = now + AGAIN
                return

    def _take(self, task_id: int, files: list[FileFacts]) -> list[FileFacts]:
        """What the engine has taken of them; it compares their times with its own clock."""
        if not files:
            return []
        ahead = (self._now() - self._clock.micros()) * 1000
        asked = [replace(facts, ctime_ns=facts.ctime_ns + ahead) for facts in files]
        return self._operations.take_files(task_id, asked)

    def _is_still(self, settling: Settling, facts: FileFacts, now: float) -> bool:
        found = look(facts.path)
        if found is None:
            settling.gone(facts.path)
        elif found.identity != facts.identity:
            settling.touched(found, now)
        return found is not None and found.identity == facts.identity


def _appeared_whole(path: str) -> bool:
    """A link, or a further name of a file, has no writer that closes it."""
    try:
        return os.path.islink(path) or os.stat(path).st_nlink > 1
    except OSError:
        return False
