"""How do changed files change what the engine knows?

The registry decides (`definitions.registry`), this writes the decision in one transaction and then, and only then, changes
the engine's memory: tasks come, change, are archived, come back under their old id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zquant_flow.calendars.provider import Calendars
from zquant_flow.core.model import TaskDef, canonical, content_hash, decode, encode
from zquant_flow.core.schedule import Times
from zquant_flow.definitions.calendars import Known, calendars_of
from zquant_flow.definitions.loader import LoadedFile, LoadError
from zquant_flow.definitions.registry import Change, Claim, Entry, Registry, plan_change
from zquant_flow.engine import rows
from zquant_flow.engine.lifecycle import Lifecycle
from zquant_flow.engine.memory import Memory, Task
from zquant_flow.engine.registered import entry_of, known_errors
from zquant_flow.engine.scheduler import Scheduler
from zquant_flow.engine.tasks import Span, changed_task, new_task, returned_task, task_of
from zquant_flow.failpoints import reached
from zquant_flow.store import definitions as store
from zquant_flow.store.database import Database
from zquant_flow.store.terms import last_number
from zquant_flow.wording import packed

ADHOC = "\x1f"
"""Stands between name and digest in the names of hidden tasks; no name of a user can have it."""
CALENDARS = "../calendars/"
"""Where load errors of local calendars stand: no path below the tasks folder begins so."""
_TAKEN_OVER = (
    *("version", "definition", "folder", "enabled", "anchor", "cursor", "idle_since", "next_fire"),
    "files_since",
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a name: its id, its newest content, and its row if the memory has it not: archived, as a rule."""

    id: int
    content_hash: str
    version: int
    archived: Any = None


class Registrar:
    """The registry of a running engine. `registry` is swapped whole, and may be read from any thread.

    `flush` writes what the turn has decided so far: a crash must not find a new definition without the fires before it.
    """

    def __init__(
        self,
        database: Database,
        memory: Memory,
        scheduler: Scheduler,
        lifecycle: Lifecycle,
        flush: Callable[[], None],
        calendars: Calendars,
    ) -> None:
        self.calendars = calendars
        self._database = database
        self._memory = memory
        self._scheduler = scheduler
        self._lifecycle = lifecycle
        self._flush = flush
        self._waiting: dict[str, LoadedFile] = {}
        self._last_id = 0
        self._reserved: dict[str, int] = {}
        self.registry = Registry()
        self.on_change: Callable[[Task], None] = lambda task: None
        """Called when a task is new or has another definition."""

    def load(self, pools: Collection[str] = ()) -> None:
        """Take the tasks that the database knows: what a restart needs not read again. `pools`: the names of those there are."""
        self._last_id = max(self._last_id, last_number(self._database, "task"))
        by_name: dict[str, Entry] = {}
        names_of: dict[str, list[str]] = {}
        for row in store.current(self._database):
            entry = entry_of(row)
            by_name[entry.name] = entry
            names_of.setdefault(entry.source, []).append(entry.name)
            task = task_of(entry, row)
            self._memory.tasks[task.id] = self._memory.by_name[task.name] = task
        self.calendars.remember(set().union(*(calendars_of(entry.definition) for entry in by_name.values())))
        self._scheduler.times = self._times()
        for task in self._memory.tasks.values():
            self._scheduler.arm(task)
        self.registry = Registry(
            by_name=by_name,
            by_id={entry.id: entry for entry in by_name.values()},
            names_of={path: tuple(names) for path, names in names_of.items()},
            errors=known_errors(self._database),
            pools=frozenset(pools),
        )
        if self.registry.names_missing_pools():
            self.register((), ())

    def take_pools(self, pools: Collection[str]) -> None:
        """There are these pools from now on: files that waited for one are loaded."""
        self.registry = replace(self.registry, pools=frozenset(pools))
        self.register((), ())

    def register(
        self, files: Sequence[LoadedFile], removed: Iterable[str] = (), *, actor: str = "file"
    ) -> Change:
        """Take files that were read anew and paths that are gone. Whatever is wrong with them is in the registry's errors."""
        self._flush()
        if self._scheduler.times.calendars is not self.calendars.known:
            self._scheduler.take_times(self._times())
            self._flush()
        known = Known(times=self._scheduler.times, faults=self.calendars.faults)
        change = plan_change(self.registry, files, removed, self._waiting, known=known)
        change.errors |= self._calendar_errors()
        registration = store.Registration(last_task_id=self._last_id)
        made = self._prepare(change, registration, actor)
        gone = self._prepare_archive(change, registration, actor)
        _prepare_files(change, registration)
        reached("register.decided")
        store.save(self._database, registration, now=self._memory.now, term=self._memory.term)
        reached("register.saved")
        self._waiting = change.waiting
        self._last_id = registration.last_task_id
        self.registry = self.registry.with_change(change, [entry for entry, _ in made])
        self._memory.told = True
        self._install(made, gone)
        return change

    def _times(self) -> Times:
        return replace(self._scheduler.times, calendars=self.calendars.known)

    def _calendar_errors(self) -> dict[str, tuple[LoadError, ...]]:
        """What is wrong with local calendar files: load errors as those of task files, whose last good version stays too."""
        found = {
            f"{CALENDARS}{fault.path}": (
                LoadError(
                    line=fault.line,
                    column=fault.column,
                    field=fault.field,
                    code=fault.code,
                    message=fault.message,
                ),
            )
            for fault in self.calendars.faults.values()
            if fault.path is not None
        }
        mended = (path for path in self.registry.errors if path.startswith(CALENDARS) and path not in found)
        return {**dict.fromkeys(mended, ()), **found}

    def reserve(self, name: str) -> int:
        """The id that the name has, or will have when it is first registered."""
        known = store.tasks_named(self._database, [name]).get(name)
        if known is not None:
            return int(known.id)
        if name not in self._reserved:
            self._last_id += 1
            self._reserved[name] = self._last_id
        return self._reserved[name]

    def adhoc(self, definition: TaskDef, actor: str) -> Task:
        """The hidden task that stands for a definition which is run without being registered; one for each content."""
        body = encode(definition)
        digest = content_hash(body)
        name = f"{definition.name}{ADHOC}{digest[:32]}"
        row = store.tasks_named(self._database, [name]).get(name)
        entry = Entry(
            id=row.id if row is not None else self._memory.adhoc.get(name, 0),
            name=name,
            version=1,
            content_hash=digest,
            definition=definition,
            source="",
        )
        if entry.id:
            known = self._memory.archived.get(entry.id)
            task = known or task_of(entry, row)
        else:
            self._last_id += 1
            entry = replace(entry, id=self._last_id)
            task = new_task(entry, self._memory.now)
            self._write_adhoc(entry, task, actor)
        task.archived = True
        self._memory.archived[task.id] = task
        return task

    def unregistered(self, task_id: int) -> Task | None:
        """The hidden task of a definition that was run without being registered; None for any other."""
        known = self._memory.archived.get(task_id)
        row = store.task_row(self._database, task_id)
        if row is None or not row.adhoc:
            return None
        if known is None:
            known = self._memory.archived[task_id] = task_of(entry_of(row), row)
            known.archived = True
        return known

    def _write_adhoc(self, entry: Entry, task: Task, actor: str) -> None:
        memory = self._memory
        memory.adhoc[entry.name] = entry.id
        memory.batch.adhoc_tasks.append(
            {
                **_task_row(entry, task, actor, memory.now),
                "source": None,
                "archived_at": memory.now,
                "adhoc": True,
                "paused": False,
                "next_fire": None,
                "created_by": actor,
                "created_time": memory.now,
            }
        )
        memory.batch.definitions.append(_definition_row(entry, encode(entry.definition), memory.now))

    def set_name_free(self, name: str) -> None:
        """An archived task gives its name to a new one, and keeps id and history under another."""
        row = store.tasks_named(self._database, [name]).get(name)
        if row is None or row.archived_at is None:
            return
        other = f"{name} ({row.id})"
        while store.tasks_named(self._database, [other]):
            other += "'"
        store.rename(self._database, row.id, other, term=self._memory.term)

    def rename(self, task_id: int, name: str) -> None:
        """The same task under another name."""
        store.rename(self._database, task_id, name, term=self._memory.term)
        entry = self.registry.by_id[task_id]
        task = self._memory.tasks[task_id]
        del self._memory.by_name[task.name]
        task.name = name
        self._memory.by_name[name] = task
        self.registry = self.registry.renamed(entry, name)
        self._memory.told = True

    def _prepare(
        self, change: Change, registration: store.Registration, actor: str
    ) -> list[tuple[Entry, Task]]:
        """The rows of all claims, and the tasks as they will be in memory."""
        known = self._known(change.claims)
        registration.last_task_id = max(registration.last_task_id, *(fact.id for fact in known.values()), 0)
        bodies = {name: encode(claim.loaded.task) for name, claim in change.claims.items()}
        hashes = {name: content_hash(body) for name, body in bodies.items()}
        differing = [fact.id for name, fact in known.items() if fact.content_hash != hashes[name]]
        versions = store.versions_of(self._database, differing) if differing else {}
        made: list[tuple[Entry, Task]] = []
        for name, claim in change.claims.items():
            before, digest = known.get(name), hashes[name]
            task_id = before.id if before else self._new_id(name, registration)
            version = before.version if before else 1
            if task_id in versions:
                of_content = versions[task_id]
                version = of_content.get(digest) or max(of_content.values(), default=0) + 1
            entry = _entry(claim, task_id, version, digest)
            if before is None or (task_id in versions and digest not in versions[task_id]):
                registration.definitions.append(_definition_row(entry, bodies[name], self._memory.now))
            task, spans = self._task(entry, before)
            self._scheduler.arm(task)
            made.append((entry, task))
            self._write_task(registration, entry, task, spans, actor, is_new=before is None)
            _take_bundle(claim, registration, change)
        return made

    def _known(self, names: Iterable[str]) -> dict[str, _Known]:
        by_name = self.registry.by_name
        found = {
            name: _Known(entry.id, entry.content_hash, entry.version)
            for name in names
            if (entry := by_name.get(name)) is not None
        }
        unknown = [name for name in names if name not in found]
        archived = store.tasks_named(self._database, unknown) if unknown else {}
        return found | {
            name: _Known(row.id, row.content_hash, row.version, row) for name, row in archived.items()
        }

    def _new_id(self, name: str, registration: store.Registration) -> int:
        reserved = self._reserved.pop(name, None)
        if reserved is not None:
            return reserved
        registration.last_task_id += 1
        return registration.last_task_id

    def _task(self, entry: Entry, before: _Known | None) -> tuple[Task, list[Span]]:
        now = self._memory.now
        if before is None:
            return new_task(entry, now), []
        if before.archived is None:
            return changed_task(entry, self._memory.tasks[entry.id], now)
        body = decode(json.loads(store.body_of(self._database, before.id, before.version) or "{}"))
        if before.archived.archived_at is None:  # a commit registered it, whose answer was lost
            return changed_task(entry, task_of(replace(entry, definition=body), before.archived), now)
        return returned_task(entry, before.archived, body, now)

    def _write_task(
        self,
        registration: store.Registration,
        entry: Entry,
        task: Task,
        spans: Sequence[Span],
        actor: str,
        *,
        is_new: bool,
    ) -> None:
        row = _task_row(entry, task, actor, self._memory.now)
        if is_new:
            row |= {"paused": False, "created_by": actor, "created_time": self._memory.now}
            registration.new_tasks.append(row)
        else:
            registration.changed_tasks.append(row)
        registration.fires += (
            rows.skipped(self._memory, task, start, end, reason.value) for start, end, reason in spans
        )

    def _prepare_archive(self, change: Change, registration: store.Registration, actor: str) -> list[Task]:
        gone = [
            self._memory.by_name[name]
            for name in dict.fromkeys(change.archived)
            if name in self.registry.by_name and name not in change.claims
        ]
        registration.changed_tasks += (
            {
                "id": task.id,
                "archived_at": self._memory.now,
                "next_fire": None,
                "updated_by": actor,
                "updated_time": self._memory.now,
            }
            for task in gone
        )
        return gone

    def _install(self, made: Sequence[tuple[Entry, Task]], gone: Sequence[Task]) -> None:
        """The transaction holds: change the memory. Executions keep their task, so the known object lives on."""
        memory = self._memory
        for task in gone:
            del memory.by_name[task.name], memory.tasks[task.id]
            task.next_fire, task.archived = None, True
            if task.active or task.backfilled:
                memory.archived[task.id] = task
            self._lifecycle.release(task)
        for entry, new in made:
            task = memory.tasks.get(entry.id) or memory.archived.pop(entry.id, None) or new
            for name in _TAKEN_OVER:
                setattr(task, name, getattr(new, name))
            task.archived = False
            memory.tasks[entry.id] = memory.by_name[entry.name] = task
            self.on_change(task)
            self._lifecycle.let_next(task)


def _entry(claim: Claim, task_id: int, version: int, digest: str) -> Entry:
    return Entry(
        id=task_id,
        name=claim.loaded.task.name,
        version=version,
        content_hash=digest,
        definition=claim.loaded.task,
        source=claim.path,
        document=claim.loaded.document,
        line=claim.loaded.line,
    )


def _definition_row(entry: Entry, body: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {
        "task_id": entry.id,
        "version": entry.version,
        "content_hash": entry.content_hash,
        "body": canonical(body),
        "created_time": now,
    }


def _task_row(entry: Entry, task: Task, actor: str, now: int) -> dict[str, Any]:
    definition = entry.definition
    return {
        "id": entry.id,
        "name": entry.name,
        "task_type": definition.task_type.value,
        "description": definition.description,
        "tags": json.dumps(definition.tags, ensure_ascii=False),
        "version": entry.version,
        "content_hash": entry.content_hash,
        "source": entry.source,
        "document": entry.document,
        "line": entry.line,
        "enabled": task.enabled,
        "archived_at": None,
        "anchor": task.anchor,
        "cursor": task.cursor,
        "idle_since": task.idle_since,
        "next_fire": task.next_fire,
        "files_since": task.files_since,
        "updated_by": actor,
        "updated_time": now,
    }


def _prepare_files(change: Change, registration: store.Registration) -> None:
    registration.sources = [
        {
            "path": file.path,
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "digest": file.digest,
            "dependencies": json.dumps(dict(file.dependencies), ensure_ascii=False),
        }
        for file in change.read
        if file.kind != "skipped"
    ]
    registration.forgotten = change.forgotten
    registration.errors = {
        path: [{**asdict(error), "words": packed(error.message)} for error in found]
        for path, found in change.errors.items()
    }


def _take_bundle(claim: Claim, registration: store.Registration, change: Change) -> None:
    digest = claim.loaded.task.bundle
    if digest is None or digest in registration.bundles:
        return
    for file in (*change.read, *change.waiting.values()):
        if file.path == claim.path and file.bundle is not None:
            registration.bundles[digest] = file.bundle.files
