"""How do changed files change what the engine knows?

The registry decides (`definitions.registry`), this writes the decision in one transaction and then, and only then, changes
the engine's memory: tasks come, change their schedule, are archived, come back under their old id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from zquant_flow.core.model import Schedule, TaskDef, canonical, content_hash, decode, encode
from zquant_flow.core.schedule import SkipReason
from zquant_flow.definitions.loader import LoadedFile, LoadError
from zquant_flow.definitions.registry import Change, Claim, Entry, Registry, plan_change
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Memory, Task
from zquant_flow.engine.scheduler import Scheduler
from zquant_flow.store import definitions as store
from zquant_flow.store.database import Database
from zquant_flow.store.terms import last_number


class Registrar:
    """The registry of a running engine. `registry` is swapped whole, and may be read from any thread."""

    def __init__(self, database: Database, memory: Memory, scheduler: Scheduler) -> None:
        self._database = database
        self._memory = memory
        self._scheduler = scheduler
        self._waiting: dict[str, LoadedFile] = {}
        self._last_task_id = 0
        self._reserved: dict[str, int] = {}
        self.registry = Registry()

    def load(self) -> None:
        """Take the tasks that the database knows: what a restart needs not read again."""
        self._last_task_id = last_number(self._database, "task")
        by_name: dict[str, Entry] = {}
        names_of: dict[str, list[str]] = {}
        for row in store.current(self._database):
            entry = _entry(row)
            by_name[entry.name] = entry
            if entry.source:
                names_of.setdefault(entry.source, []).append(entry.name)
            task = _task(entry, row)
            self._memory.tasks[task.id] = self._memory.by_name[task.name] = task
            self._scheduler.arm(task)
        self.registry = Registry(
            by_name=by_name,
            by_id={entry.id: entry for entry in by_name.values()},
            names_of={path: tuple(names) for path, names in names_of.items()},
            errors=self._known_errors(),
        )

    def register(
        self, files: Sequence[LoadedFile], removed: Iterable[str] = (), *, actor: str = "file"
    ) -> Change:
        """Take files that were read anew and paths that are gone. Whatever is wrong with them is in the registry's errors."""
        change = plan_change(self.registry, files, removed, self._waiting)
        registration = store.Registration()
        entries, fresh = self._prepare(change, registration, actor)
        self._prepare_archive(change, registration, actor)
        self._prepare_files(change, registration)
        store.save(self._database, registration, now=self._memory.now)
        self._waiting = change.waiting
        self._last_task_id = max(self._last_task_id, registration.last_task_id)
        for name in change.claims:
            self._reserved.pop(name, None)
        self.registry = self.registry.with_change(change, entries)
        self._install(change, entries, fresh)
        return change

    def reserve(self, name: str) -> int:
        """The id that the name has, or will have when it is first registered."""
        known = store.tasks_named(self._database, [name]).get(name)
        if known is not None:
            return int(known.id)
        if name not in self._reserved:
            self._last_task_id += 1
            self._reserved[name] = self._last_task_id
        return self._reserved[name]

    def rename(self, task_id: int, name: str) -> None:
        """The same task under another name."""
        store.rename(self._database, task_id, name)
        entry = self.registry.by_id[task_id]
        task = self._memory.tasks[task_id]
        del self._memory.by_name[task.name]
        task.name = name
        self._memory.by_name[name] = task
        self.registry = self.registry.renamed(entry, name)

    def _prepare(
        self, change: Change, registration: store.Registration, actor: str
    ) -> tuple[list[Entry], dict[int, Task]]:
        """The rows of all claims, and the tasks as they will be in memory."""
        unknown = [name for name in change.claims if name not in self.registry.by_name]
        known_rows = store.tasks_named(self._database, unknown) if unknown else {}
        encoded = {name: encode(claim.loaded.task) for name, claim in change.claims.items()}
        hashes = {name: content_hash(body) for name, body in encoded.items()}
        changed_ids = [
            task_id
            for name in change.claims
            if (task_id := self._id_of(name, known_rows)) is not None
            and self._hash_of(name, known_rows) != hashes[name]
        ]
        versions = store.versions_of(self._database, changed_ids) if changed_ids else {}
        entries: list[Entry] = []
        fresh: dict[int, Task] = {}
        next_id = self._last_task_id
        for name, claim in change.claims.items():
            task_id = self._id_of(name, known_rows)
            is_new = task_id is None
            if task_id is None:
                task_id = self._reserved.get(name)
                if task_id is None:
                    next_id += 1
                    task_id = next_id
                registration.last_task_id = max(next_id, task_id)
            version = self._version(name, known_rows, versions.get(task_id), hashes[name])
            entry = Entry(
                id=task_id,
                name=name,
                version=version,
                content_hash=hashes[name],
                definition=claim.loaded.task,
                source=claim.path,
                document=claim.loaded.document,
                line=claim.loaded.line,
            )
            entries.append(entry)
            if hashes[name] not in versions.get(task_id, ()) and (
                is_new or self._hash_of(name, known_rows) != hashes[name]
            ):
                registration.definitions.append(_definition_row(entry, encoded[name], self._memory.now))
            task = self._updated_task(entry, known_rows.get(name), registration)
            fresh[task_id] = task
            if is_new:
                registration.new_tasks.append(_new_row(entry, task, actor, self._memory.now))
            else:
                registration.changed_tasks.append(_changed_row(entry, task, actor, self._memory.now))
            _take_bundle(claim, registration, change)
        return entries, fresh

    def _id_of(self, name: str, rows_by_name: Mapping[str, Any]) -> int | None:
        entry = self.registry.by_name.get(name)
        if entry is not None:
            return entry.id
        row = rows_by_name.get(name)
        return row.id if row is not None else None

    def _hash_of(self, name: str, rows_by_name: Mapping[str, Any]) -> str | None:
        entry = self.registry.by_name.get(name)
        if entry is not None:
            return entry.content_hash
        row = rows_by_name.get(name)
        return row.content_hash if row is not None else None

    def _version(
        self, name: str, rows_by_name: Mapping[str, Any], versions: Mapping[str, int] | None, digest: str
    ) -> int:
        """The version of this content: the one it had before, else one more than the highest."""
        if versions is not None:
            return versions.get(digest) or max(versions.values(), default=0) + 1
        entry = self.registry.by_name.get(name)
        if entry is not None:
            return entry.version
        row = rows_by_name.get(name)
        return row.version if row is not None else 1

    def _updated_task(self, entry: Entry, archived: Any, registration: store.Registration) -> Task:
        """The task as it will be: what an operator switched stays, unless the file's own `enabled` changed."""
        now = self._memory.now
        definition = entry.definition
        before = self._memory.tasks.get(entry.id)
        if before is None and archived is None:
            task = Task(
                id=entry.id,
                name=entry.name,
                version=entry.version,
                definition=definition,
                folder=entry.folder,
                enabled=definition.enabled,
                paused=False,
                anchor=now - now % 1_000_000,
                cursor=now,
                idle_since=None if definition.enabled else now,
            )
        elif before is None:
            task = self._returned_task(entry, archived, registration)
        else:
            task = Task(
                id=entry.id,
                name=entry.name,
                version=entry.version,
                definition=definition,
                folder=entry.folder,
                enabled=before.enabled,
                paused=before.paused,
                anchor=before.anchor,
                cursor=before.cursor,
                idle_since=before.idle_since,
            )
            _follow_file(task, before.definition, now)
        self._scheduler.arm(task)
        return task

    def _returned_task(self, entry: Entry, row: Any, registration: store.Registration) -> Task:
        """A name that was archived is back, with its id, history and switches; the time between is one span."""
        now = self._memory.now
        body = store.body_of(self._database, row.id, row.version)
        before = decode(json.loads(body)) if body else entry.definition
        task = Task(
            id=entry.id,
            name=entry.name,
            version=entry.version,
            definition=entry.definition,
            folder=entry.folder,
            enabled=row.enabled,
            paused=row.paused,
            anchor=row.anchor,
            cursor=now,
            idle_since=row.idle_since,
            latest_id=row.latest_execution_id,
            latest_status=row.latest_status,
            latest_time=row.latest_time,
        )
        if row.archived_at is not None and before.schedule is not None and row.archived_at < now:
            registration.fires.append(
                rows.skipped(self._memory, task, row.archived_at, now, SkipReason.ARCHIVED.value)
            )
        _follow_file(task, before, now)
        return task

    def _prepare_archive(self, change: Change, registration: store.Registration, actor: str) -> None:
        for name in change.archived:
            entry = self.registry.by_name.get(name)
            if entry is None or name in change.claims:
                continue
            registration.changed_tasks.append(
                {
                    "id": entry.id,
                    "archived_at": self._memory.now,
                    "next_fire": None,
                    "updated_by": actor,
                    "updated_time": self._memory.now,
                }
            )

    def _prepare_files(self, change: Change, registration: store.Registration) -> None:
        registration.sources = [
            {
                "path": file.path,
                "size": file.size,
                "mtime_ns": file.mtime_ns,
                "digest": file.digest,
                "dependencies": json.dumps(dict(file.dependencies), ensure_ascii=False),
            }
            for file in change.read
        ]
        registration.forgotten = change.forgotten
        registration.errors = {
            path: [asdict(error) for error in found] for path, found in change.errors.items()
        }

    def _install(self, change: Change, entries: Sequence[Entry], fresh: Mapping[int, Task]) -> None:
        """The transaction holds: change the memory of the engine."""
        memory = self._memory
        for name in change.archived:
            task = memory.by_name.get(name)
            if task is not None and name not in change.claims:
                del memory.by_name[name]
                del memory.tasks[task.id]
                task.next_fire = None
        for entry in entries:
            new = fresh[entry.id]
            task = memory.tasks.get(entry.id)
            if task is None:
                memory.tasks[entry.id] = memory.by_name[entry.name] = new
                continue
            task.version, task.definition, task.folder = new.version, new.definition, new.folder
            task.enabled, task.anchor, task.cursor = new.enabled, new.anchor, new.cursor
            task.idle_since, task.next_fire = new.idle_since, new.next_fire

    def _known_errors(self) -> dict[str, tuple[LoadError, ...]]:
        found: dict[str, list[LoadError]] = {}
        for row in store.known_errors(self._database):
            found.setdefault(row.path, []).append(
                LoadError(
                    line=row.line, column=row.column, field=row.field, code=row.code, message=row.message
                )
            )
        return {path: tuple(errors) for path, errors in found.items()}


def _follow_file(task: Task, before: TaskDef, now: int) -> None:
    """What a new definition changes about the state: `enabled` where the file changed it, the cursor where the schedule did."""
    after = task.definition
    if after.enabled != before.enabled:
        task.enabled = after.enabled
    if not task.idle:
        task.idle_since = None
    elif task.idle_since is None:
        task.idle_since = now
    if after.schedule != before.schedule:
        task.cursor = now
        if _intervals(after.schedule) != _intervals(before.schedule):
            task.anchor = now - now % 1_000_000


def _intervals(schedule: Schedule | None) -> list[object]:
    rules = schedule.rules if schedule else ()
    return [rule.interval for rule in rules if rule.interval is not None]


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        name=row.name,
        version=row.version,
        content_hash=row.content_hash,
        definition=decode(json.loads(row.body)),
        source=row.source or "",
        document=row.document,
        line=row.line,
    )


def _task(entry: Entry, row: Any) -> Task:
    return Task(
        id=entry.id,
        name=entry.name,
        version=entry.version,
        definition=entry.definition,
        folder=entry.folder,
        enabled=row.enabled,
        paused=row.paused,
        anchor=row.anchor,
        cursor=row.cursor,
        idle_since=row.idle_since,
        latest_id=row.latest_execution_id,
        latest_status=row.latest_status,
        latest_time=row.latest_time,
    )


def _definition_row(entry: Entry, encoded: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {
        "task_id": entry.id,
        "version": entry.version,
        "content_hash": entry.content_hash,
        "body": canonical(encoded),
        "created_time": now,
    }


def _facts(entry: Entry, task: Task, actor: str, now: int) -> dict[str, Any]:
    definition = entry.definition
    return {
        "id": entry.id,
        "name": entry.name,
        "task_type": definition.task_type.value,
        "description": definition.description,
        "tags": json.dumps(definition.tags, ensure_ascii=False),
        "version": entry.version,
        "content_hash": entry.content_hash,
        "source": entry.source or None,
        "document": entry.document,
        "line": entry.line,
        "enabled": task.enabled,
        "file_enabled": definition.enabled,
        "archived_at": None,
        "anchor": task.anchor,
        "cursor": task.cursor,
        "idle_since": task.idle_since,
        "next_fire": task.next_fire,
        "updated_by": actor,
        "updated_time": now,
    }


def _new_row(entry: Entry, task: Task, actor: str, now: int) -> dict[str, Any]:
    return {**_facts(entry, task, actor, now), "paused": False, "created_by": actor, "created_time": now}


def _changed_row(entry: Entry, task: Task, actor: str, now: int) -> dict[str, Any]:
    return _facts(entry, task, actor, now)


def _take_bundle(claim: Claim, registration: store.Registration, change: Change) -> None:
    digest = claim.loaded.task.bundle
    if digest is None or digest in registration.bundles:
        return
    for file in (*change.read, *change.waiting.values()):
        if file.path == claim.path and file.bundle is not None:
            registration.bundles[digest] = file.bundle.files
