"""How do files in the tasks folder reach the engine, and definitions made over REST the folder?

Owns the loader process and the watcher. A first scan compares the folder with what the database knows, so that unchanged
files are not read again; from then on the watcher says what changed.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from zquant_flow.core.model import TaskDef
from zquant_flow.definitions.calendars import calendars_of
from zquant_flow.definitions.loader import LoadedFile, Loader, LoadError
from zquant_flow.definitions.scan import FileStat, scan
from zquant_flow.definitions.watcher import Changes, Watcher
from zquant_flow.engine.mirror import Mirror
from zquant_flow.engine.operations import Operations
from zquant_flow.errors import TasksFolderUnavailable, Unavailable
from zquant_flow.executors.installed import built_in
from zquant_flow.plugin.sources import Sources
from zquant_flow.store.database import Database
from zquant_flow.store.definitions import known_sources, tasks_named
from zquant_flow.store.queries import task_row
from zquant_flow.wording import say

log = logging.getLogger(__name__)

BATCH = 250
RETRY_SECONDS = 1.0


class TasksFolder:
    """The watched folder.

    Threads: one of ours, `folder`, reads files and hands them to the engine; the watcher's put changes into its queue.
    `load_now` runs in the caller's thread. Start and stop may come twice, in any order.
    """

    def __init__(
        self,
        loader: Loader,
        tasks_dir: Path,
        operations: Operations,
        database: Database,
        mirror: Mirror,
        *,
        watch: bool = True,
        judged: bool = False,
    ) -> None:
        """Without `watch` the folder is read once. `judged`: plugins may change or refuse what files say, so all are read."""
        self._judged = judged
        self.path = tasks_dir
        self._mirror = mirror
        self._operations = operations
        self._database = database
        self._watch = watch
        self._loader = loader
        self._reading = threading.RLock()
        self._changes: queue.SimpleQueue[Changes | None] = queue.SimpleQueue()
        self._watcher: Watcher | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._digests: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._users: dict[str, set[str]] = {}
        """Task files by the module that they import."""

    def start(self) -> None:
        """Read what changed since the last time; then watch from exactly there."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._loader.start()
        self._ensure_calendars()
        self._mirror.bring_in_line()
        known = self._first_scan()
        self._thread = threading.Thread(target=self._run, name="folder", daemon=True)
        self._thread.start()
        if self._watch:
            self._watcher = Watcher(self.path, self._changes.put, known=known)
            self._watcher.start()

    def stop(self) -> None:
        self._stopping.set()
        self._loader.stop()
        if self._thread is None:
            return
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        self._changes.put(None)
        self._thread.join()
        self._thread = None

    @property
    def unavailable(self) -> str | None:
        """Why the folder can't be trusted now; None if it can."""
        doubt = self._watcher.unavailable if self._watcher is not None else None
        return None if doubt is None else str(doubt)

    def load_all(self) -> None:
        """Read what changed since the last time, once, without watching."""
        self._ensure_calendars()
        self._first_scan()

    def undisturbed(self) -> AbstractContextManager[object]:
        """While it is held, files are read by the holder's own `load_now` only: what it writes is not seen by halves.

        Raises NotLeading where another scheduler's folder is the one that counts.
        """
        self._operations.refuse_following()
        return self._reading

    def id_of(self, name: str) -> int | None:
        """The id of the task that has, or had until it was archived, this name."""
        row = tasks_named(self._database, [name]).get(name)
        return None if row is None else int(row.id)

    def row_of(self, task_id: int) -> Any | None:
        """What the database says of a task."""
        return task_row(self._database, task_id)

    def load_now(self, paths: Iterable[str], *, actor: str = "file", made: bool = False) -> list[LoadedFile]:
        """Read these files and register them before returning; what the watcher says of them later is old news.

        Those that were `made` by request have to be in the folders of all machines.
        """
        paths = list(paths)
        read = self._read(paths, (), actor=actor)
        self._mirror.keep(paths, made=made)
        return read

    def removed_now(self, paths: Iterable[str], *, actor: str = "file", made: bool = False) -> None:
        """Archive what stood in these files, which are gone."""
        paths = list(paths)
        self._read([], paths, actor=actor)
        self._mirror.keep(paths, made=made)

    def prune(self, *, actor: str) -> list[str]:
        """Believe what is missing: archive what stood in files that are gone, and return their paths.

        Raises TasksFolderUnavailable where the folder itself can't be read, NotLeading where it is not the one that counts.
        """
        self._operations.refuse_following()
        try:
            found = scan(self.path).files
        except OSError as exc:
            raise TasksFolderUnavailable(
                say(
                    "the tasks folder {folder} can't be read: {error}",
                    folder=str(self.path),
                    error=exc.strerror,
                )
            ) from exc
        gone = sorted(row.path for row in known_sources(self._database) if row.path not in found)
        self.removed_now(gone, actor=actor)
        if self._watcher is not None:
            self._watcher.prune()
        return gone

    def use_plugins(self, plugins: Sources, *, judge: bool) -> None:
        """Read with these plugins from now on, and anew what they may have changed: files with errors, users of executors.

        All files where they `judge`, or those before did.
        """
        self._loader.use(plugins)
        judged, self._judged = self._judged, judge
        if self._thread is None:
            return
        registry = self._operations.registry
        users = {
            entry.source
            for entry in registry.by_id.values()
            if judged or judge or _uses_plugins(entry.definition)
        }
        touched = frozenset((users | registry.errors.keys()) - self._skipped.keys())
        with self._reading:
            for path in touched:
                self._forget(path)
        self._changes.put(Changes(changed=touched, removed=frozenset(), by_event=True))

    def _first_scan(self) -> dict[str, FileStat | None]:
        """Read what is new or changed; returns the files as the watcher is to believe them, lost ones among them."""
        rows = {row.path: row for row in known_sources(self._database)}
        if not rows:
            self.path.mkdir(parents=True, exist_ok=True)
        try:
            seen = scan(self.path)
            found, skipped = seen.files, seen.skipped
        except OSError as exc:
            log.warning(
                "the tasks folder %s can't be read: %s; its tasks stay as they are",
                self.path,
                exc.strerror,
                extra={"action": "folder_unavailable"},
            )
            found, skipped = {}, {}
        for path, row in rows.items():
            self._remember(path, row.digest, json.loads(row.dependencies))
        broken = set(self._operations.registry.errors)
        changed = {
            path
            for path, stat in found.items()
            if path in broken or self._judged or _differs(rows.get(path), stat)
        }
        users = {user for path in changed for user in self._users.get(path, ())}
        self._read(sorted(changed | (users & found.keys())), (), force=True)
        self._mirror.keep(changed, made=False)
        self._note_skipped(skipped)
        lost = {path: FileStat(row.size, row.mtime_ns, 0) for path, row in rows.items() if path not in found}
        return {**found, **lost}

    def _ensure_calendars(self) -> None:
        """Before anything is read: what local files say, and what tasks of before follow."""
        entries = self._operations.registry.by_name.values()
        calendars = self._operations.calendars
        calendars.ensure_files()
        calendars.ensure(set().union(*(calendars_of(entry.definition) for entry in entries)))
        if calendars.known or calendars.faults:
            self._operations.take_calendars()

    def _note_skipped(self, skipped: Mapping[str, str]) -> None:
        """Files that can't be read as task files are load errors too, until they are gone or can be."""
        noted = self._skipped
        self._skipped = dict(skipped)
        files = [
            LoadedFile(
                path=path,
                kind="skipped",
                errors=(LoadError(line=1, column=1, field="", code="skipped", message=why),),
            )
            for path, why in skipped.items()
            if noted.get(path) != why
        ]
        gone = [path for path in noted if path not in skipped and path not in self._digests]
        if files or gone:
            self._operations.register(files, gone)

    def _run(self) -> None:
        while (changes := self._changes.get()) is not None:
            while not self._taken(changes) and not self._stopping.wait(RETRY_SECONDS):
                pass

    def _taken(self, changes: Changes) -> bool:
        """Whether these changes are registered; what failed is tried again, for the watcher tells them once."""
        try:
            self._read(sorted(changes.changed), sorted(changes.removed))
            self._mirror.keep({*changes.changed, *changes.removed}, made=False)
            if self._watcher is not None:
                self._note_skipped(self._watcher.skipped)
        except Exception:
            log.exception("changes of the tasks folder were not taken", extra={"action": "folder_failed"})
            return False
        return True

    def _read(
        self, changed: list[str], removed: Iterable[str], *, actor: str = "file", force: bool = False
    ) -> list[LoadedFile]:
        """Read files, and those that import them, and register what is new; returns all that was read."""
        with self._reading:
            removed = list(removed)
            touched = {*changed, *removed}
            users = {user for path in touched for user in self._users.get(path, ())}
            wanted = sorted({*changed, *users} - set(removed))
            read: list[LoadedFile] = []
            batch: list[LoadedFile] = []
            for path in removed:
                self._forget(path)
            for file in self._loader.load(wanted):
                read.append(file)
                if force or file.path in users or self._digests.get(file.path) != file.digest:
                    batch.append(file)
                if len(batch) >= BATCH:
                    self._register(batch, removed, actor)
                    batch, removed = [], []
            if batch or removed:
                self._register(batch, removed, actor)
            return read

    def _register(self, files: list[LoadedFile], removed: list[str], actor: str) -> None:
        named = set[str]().union(*(calendars_of(item.task) for file in files for item in file.definitions))
        if named:
            self._operations.calendars.ensure(named)
        try:
            self._operations.register(files, removed, actor=actor)
        except (Unavailable, OperationalError):
            raise  # the database, not a file: all of it is tried again
        except Exception:
            log.exception(
                "files were not registered together; one by one", extra={"action": "register_failed"}
            )
            self._register_each(files, removed, actor)
        for file in files:
            self._remember(file.path, file.digest, file.dependencies)

    def _register_each(self, files: list[LoadedFile], removed: list[str], actor: str) -> None:
        """A file that can't be registered hurts nobody but itself: it is a load error, and its last version stays."""
        self._operations.register([], removed, actor=actor)
        for file in files:
            try:
                self._operations.register([file], actor=actor)
            except (Unavailable, OperationalError):
                raise
            except Exception as exc:
                why = say("it can't be registered: {error}", error=f"{type(exc).__name__}: {exc}")
                error = LoadError(line=1, column=1, field="", code="register_failed", message=why)
                self._operations.register([replace(file, definitions=(), errors=(error,))], actor=actor)

    def _remember(self, path: str, digest: str, dependencies: Mapping[str, str]) -> None:
        self._forget(path)
        self._digests[path] = digest
        for module in dependencies:
            if module != path:
                self._users.setdefault(module, set()).add(path)

    def _forget(self, path: str) -> None:
        self._digests.pop(path, None)
        for users in self._users.values():
            users.discard(path)


def _uses_plugins(definition: TaskDef) -> bool:
    nodes = definition.workflow.nodes if definition.workflow is not None else ()
    actions = (definition.action, *(node.action for node in nodes))
    return any(action is not None and action.executor not in built_in().executors for action in actions)


def _differs(row: Any, stat: FileStat) -> bool:
    return row is None or (row.size, row.mtime_ns) != (stat.size, stat.mtime_ns)
