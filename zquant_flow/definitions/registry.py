"""Which definitions are current, and what do newly read files change about that?

`Registry` is a value, swapped whole. `plan_change` is a pure decision: the file is the unit, whoever has a name keeps it,
and what can't be loaded yet (a name in use, a task that is not there) waits and is looked at again with every change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from zquant_flow.core.model import Node, TaskDef, encode_overrides
from zquant_flow.definitions.calendars import Known, objections
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.definitions.loader import LoadedDefinition, LoadedFile, LoadError
from zquant_flow.wording import joined, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A current definition and where it stands."""

    id: int
    name: str
    version: int
    content_hash: str
    definition: TaskDef
    source: str
    document: int = 0
    line: int = 0

    @property
    def folder(self) -> str:
        """The folder of its file below the tasks folder, posix; empty at the top."""
        return self.source.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Registry:
    """All current definitions and all load errors at one moment."""

    by_name: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    by_id: Mapping[int, Entry] = field(default_factory=lambda: MappingProxyType({}))
    names_of: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The names that each file defines, by path."""
    errors: Mapping[str, tuple[LoadError, ...]] = field(default_factory=lambda: MappingProxyType({}))
    pools: frozenset[str] | None = None
    """The pools that there are; None where nobody knows."""

    def names_missing_pools(self) -> bool:
        """Whether a current definition names a pool that is not there any more."""
        return any(self.missing_pools(entry.definition) for entry in self.by_name.values())

    def missing_pools(self, task: TaskDef) -> list[tuple[str, str]]:
        """(field, pool) of every pool that a definition names and that is not there."""
        if self.pools is None:
            return []
        return [(place, pool) for place, pool in _pools(task) if pool not in self.pools]

    def with_change(self, change: Change, entries: Iterable[Entry]) -> Registry:
        """The registry after the change; `entries` are its claims with ids and versions."""
        by_name, by_id = dict(self.by_name), dict(self.by_id)
        names_of, errors = dict(self.names_of), dict(self.errors)
        for name in change.archived:
            gone = by_name.pop(name, None)
            if gone is not None:
                by_id.pop(gone.id, None)
        for entry in entries:
            by_name[entry.name] = by_id[entry.id] = entry
        for path, names in change.names_of.items():
            if names:
                names_of[path] = names
            else:
                names_of.pop(path, None)
        for path, found in change.errors.items():
            if found:
                errors[path] = found
            else:
                errors.pop(path, None)
        return Registry(by_name, by_id, names_of, errors, self.pools)

    def users_of(self, name: str) -> list[Entry]:
        """The workflows that refer to the task of this name, and the tasks that run after it, by name."""
        return sorted(
            (entry for entry in self.by_name.values() if name in _wanted(entry.definition)),
            key=lambda entry: entry.name,
        )

    def renamed(self, entry: Entry, name: str) -> Registry:
        """The registry with that entry under another name."""
        new = replace(entry, name=name, definition=replace(entry.definition, name=name))
        by_name = {key: value for key, value in self.by_name.items() if key != entry.name} | {name: new}
        names = tuple(name if other == entry.name else other for other in self.names_of.get(entry.source, ()))
        return Registry(
            by_name,
            {**self.by_id, entry.id: new},
            {**self.names_of, entry.source: names},
            self.errors,
            self.pools,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A definition that a file makes current."""

    path: str
    loaded: LoadedDefinition


@dataclass(slots=True)
class Change:
    """What a set of files changes: claims, names that are gone, errors by path (empty: they are mended)."""

    claims: dict[str, Claim] = field(default_factory=dict)
    archived: list[str] = field(default_factory=list)
    names_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    errors: dict[str, tuple[LoadError, ...]] = field(default_factory=dict)
    read: list[LoadedFile] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    waiting: dict[str, LoadedFile] = field(default_factory=dict)


def plan_change(
    registry: Registry,
    files: Sequence[LoadedFile],
    removed: Iterable[str] = (),
    waiting: Mapping[str, LoadedFile] = MappingProxyType({}),
    *,
    known: Known | None = None,
) -> Change:
    """What these files, read anew, and these paths, gone, change. `waiting`: the files that an earlier change left waiting.

    `known`: of calendars; without it none is looked at.
    """
    return _Planner(registry, waiting, known).plan(files, removed)


class _Planner:
    """One decision; `owner` and `definition` hold the state of names as it grows."""

    def __init__(
        self, registry: Registry, waiting: Mapping[str, LoadedFile], known: Known | None = None
    ) -> None:
        self.registry = registry
        self.known = known
        self.change = Change(waiting=dict(waiting))
        self.owner = {name: entry.source for name, entry in registry.by_name.items()}
        self.freed: set[str] = set()
        self._told = {
            name: entry.definition for name, entry in registry.by_name.items() if _is_told(entry.definition)
        }
        """The tasks that events start."""
        self._hooks = {
            name: entry.definition.webhook.name
            for name, entry in registry.by_name.items()
            if entry.definition.webhook is not None
        }
        """The webhooks of tasks."""

    def plan(self, files: Sequence[LoadedFile], removed: Iterable[str]) -> Change:
        for path in removed:
            self._remove(path)
        todo: dict[str, LoadedFile] = {}
        for file in sorted(files, key=lambda file: file.path):
            self.change.read.append(file)
            self.change.waiting.pop(file.path, None)
            todo[file.path] = file
        todo |= self._unblocked()
        while todo:
            for file in todo.values():
                self._try(file)
            todo = self._unblocked()
        self._report_orphans()
        self._report_poolless()
        return self.change

    def _remove(self, path: str) -> None:
        self.change.forgotten.append(path)
        self.change.waiting.pop(path, None)
        if path in self.registry.errors:
            self.change.errors[path] = ()
        for name in self.registry.names_of.get(path, ()):
            self._archive(name)
        self.change.names_of[path] = ()

    def _archive(self, name: str) -> None:
        self.owner.pop(name, None)
        self._told.pop(name, None)
        self._hooks.pop(name, None)
        self.freed.add(name)
        self.change.claims.pop(name, None)
        self.change.archived.append(name)

    def _try(self, file: LoadedFile) -> None:
        """Load the file if nothing stands against it; what stands against it becomes its errors."""
        errors = file.errors or self._against(file)
        if not errors:
            self.change.waiting.pop(file.path, None)
            self._claim(file)
            return
        self.change.errors[file.path] = tuple(errors)
        if not file.errors:
            self.change.waiting[file.path] = file

    def _claim(self, file: LoadedFile) -> None:
        change = self.change
        names = tuple(loaded.task.name for loaded in file.definitions)
        before = change.names_of.get(file.path, self.registry.names_of.get(file.path, ()))
        for name in before:
            if name not in names and self.owner.get(name) == file.path:
                self._archive(name)
        for loaded in file.definitions:
            name = loaded.task.name
            self.owner[name] = file.path
            change.claims[name] = Claim(file.path, loaded)
            self._told.pop(name, None)
            if _is_told(loaded.task):
                self._told[name] = loaded.task
            self._hooks.pop(name, None)
            if loaded.task.webhook is not None:
                self._hooks[name] = loaded.task.webhook.name
            if name in change.archived:
                change.archived.remove(name)
        change.names_of[file.path] = names
        change.errors[file.path] = ()

    def _unblocked(self) -> dict[str, LoadedFile]:
        """The waiting files that nothing stands against any more, lowest path first; each of them will be loaded."""
        return {path: file for path, file in sorted(self.change.waiting.items()) if not self._against(file)}

    def _against(self, file: LoadedFile) -> list[LoadError]:
        """What the rest of the registry says against this file."""
        own = {loaded.task.name: loaded for loaded in file.definitions}
        found: list[LoadError] = []
        seen: set[str] = set()
        for loaded in file.definitions:
            name = loaded.task.name
            if name in seen:
                found.append(
                    _error(
                        loaded, "name_in_use", say("two documents of this file are named {name!r}", name=name)
                    )
                )
            seen.add(name)
            owner = self.owner.get(name)
            if owner is not None and owner != file.path:
                message = say(
                    "the name {name!r} is in use by {owner}; choose another `name`", name=name, owner=owner
                )
                found.append(_error(loaded, "name_in_use", message))
            found += self._missing(loaded, own)
            found += self._poolless(loaded)
            found += self._hooked(loaded, file)
            if self.known is not None:
                found += (
                    _error(loaded, code, message, field=word)
                    for word, code, message in objections(loaded.task, self.known)
                )
            found += self._overriding(loaded, own)
        return found or [error for loaded in file.definitions for error in self._circles(loaded, own)]

    def _hooked(self, loaded: LoadedDefinition, file: LoadedFile) -> list[LoadError]:
        """An address leads to one task: whoever has it keeps it."""
        hook = loaded.task.webhook
        if hook is None:
            return []
        name = loaded.task.name
        others = [other for other, taken in self._hooks.items() if taken == hook.name and other != name]
        owner = next((other for other in others if self.owner.get(other) != file.path), None)
        if owner is None:  # two of this file: the first has it
            named = (other.task for other in file.definitions if other.task.webhook is not None)
            owner = next(task.name for task in named if task.webhook and task.webhook.name == hook.name)
        if owner == name:
            return []
        message = say(
            "the webhook {hook!r} belongs to task {owner!r}; choose another name", hook=hook.name, owner=owner
        )
        return [_error(loaded, "hook_in_use", message, field="webhook")]

    def _missing(self, loaded: LoadedDefinition, own: Mapping[str, LoadedDefinition]) -> list[LoadError]:
        return [
            _error(
                loaded,
                "task_missing",
                say(
                    "node {node!r} refers to task {name!r}, which is not registered{hint}",
                    node=node,
                    name=name,
                    hint=did_you_mean(name, self.owner),
                ),
                field=f"tasks.{position}.task",
            )
            for position, node, name in _references(loaded.task)
            if name not in own and name not in self.owner
        ] + [
            _error(
                loaded,
                "task_missing",
                say(
                    "`after` names task {name!r}, which is not registered{hint}",
                    name=name,
                    hint=did_you_mean(name, self.owner),
                ),
                field="after",
            )
            for name in _awaited(loaded.task)
            if name not in own and name not in self.owner
        ]

    def _overriding(self, loaded: LoadedDefinition, own: Mapping[str, LoadedDefinition]) -> list[LoadError]:
        """Nodes that change what a workflow they refer to has no say in: it has no attempt of its own."""
        nodes = loaded.task.workflow.nodes if loaded.task.workflow is not None else ()
        found: list[LoadError] = []
        for position, node in enumerate(nodes):
            if node.task is None or (node.overrides is None and not node.fail_on_partial):
                continue
            task = self._definition(node.task, own)
            if task is None:
                continue
            if task.workflow is not None and node.overrides is not None:
                word = next(iter(encode_overrides(node.overrides)), "env")
                message = say(
                    "node {node!r} refers to the workflow {name!r}, and {word!r} belongs to its nodes: set it there",
                    node=node.name,
                    name=task.name,
                    word=word,
                )
                found.append(_error(loaded, "conflict", message, field=f"tasks.{position}.{word}"))
            elif task.workflow is None and node.fail_on_partial:
                message = say(
                    "node {name!r} refers to no workflow: leave out fail_on_partial", name=node.name
                )
                found.append(_error(loaded, "conflict", message, field=f"tasks.{position}.fail_on_partial"))
        return found

    def _poolless(self, loaded: LoadedDefinition) -> list[LoadError]:
        return [
            _error(
                loaded,
                "unknown_pool",
                say(
                    "there is no pool {pool!r}{hint}: make it under [pools] in zquant-flow.toml, or by PUT /pools/{pool}",
                    pool=pool,
                    hint=did_you_mean(pool, self.registry.pools or ()),
                ),
                field=place,
            )
            for place, pool in self.registry.missing_pools(loaded.task)
        ]

    def _circles(self, loaded: LoadedDefinition, own: Mapping[str, LoadedDefinition]) -> list[LoadError]:
        """A workflow can't contain itself, and nothing can lead to itself, also not by way of other files."""
        start = loaded.task.name
        path = self._way_back(start, loaded.task, own, lambda task: [name for *_, name in _references(task)])
        if path is None:
            return self._event_circles(loaded, own)
        shown = " -> ".join([start, *path])
        return [
            _error(
                loaded,
                "workflow_cycle",
                say("the workflow contains itself: {cycle}", cycle=shown),
                field="tasks",
            )
        ]

    def _event_circles(
        self, loaded: LoadedDefinition, own: Mapping[str, LoadedDefinition]
    ) -> list[LoadError]:
        """An end that leads to another run of the same task would never come to rest."""
        told = {name: task for name, task in self._told.items() if name not in own}
        told |= {name: other.task for name, other in own.items() if _is_told(other.task)}
        if not told:
            return []
        listeners: dict[str, list[str]] = {}
        for name, task in told.items():
            for source in (*_awaited(task), *map(_data, task.consumes)):
                listeners.setdefault(source, []).append(name)

        def led_to(task: TaskDef) -> list[str]:
            sources = (task.name, *map(_data, task.produces))
            return [
                *(name for *_, name in _references(task)),
                *(name for source in sources for name in listeners.get(source, ())),
            ]

        path = self._way_back(loaded.task.name, loaded.task, own, led_to)
        if path is None:
            return []
        shown = " -> ".join([loaded.task.name, *path])
        message = say("these would run each other for ever: {cycle}", cycle=shown)
        return [_error(loaded, "event_cycle", message, field="after" if loaded.task.after else "consumes")]

    def _way_back(
        self,
        goal: str,
        task: TaskDef,
        own: Mapping[str, LoadedDefinition],
        steps: Callable[[TaskDef], Iterable[str]],
    ) -> list[str] | None:
        seen: set[str] = set()
        stack: list[tuple[TaskDef, list[str]]] = [(task, [])]
        while stack:
            current, path = stack.pop()
            for name in steps(current):
                if name == goal:
                    return [*path, name]
                if name in seen:
                    continue
                seen.add(name)
                following = self._definition(name, own)
                if following is not None:
                    stack.append((following, [*path, name]))
        return None

    def _definition(self, name: str, own: Mapping[str, LoadedDefinition]) -> TaskDef | None:
        if name in own:
            return own[name].task
        claim = self.change.claims.get(name)
        if claim is not None:
            return claim.loaded.task
        entry = self.registry.by_name.get(name)
        return entry.definition if entry else None

    def _report_orphans(self) -> None:
        """Workflows whose referenced task is gone keep their version and show the error; it goes when the task is back."""
        gone = {name for name in self.freed if name not in self.owner}
        back = set(self.change.claims)
        if not gone and not back:
            return
        for entry in self.registry.by_name.values():
            wanted = _wanted(entry.definition)
            if not wanted or entry.source in self.change.names_of:
                continue
            if wanted & gone:
                missing = joined(", ", (repr(name) for name in sorted(wanted & gone)))
                self.change.errors[entry.source] = (
                    LoadError(
                        line=entry.line,
                        column=1,
                        field="tasks" if entry.definition.workflow else "after",
                        code="task_missing",
                        message=say(
                            "{name!r} refers to {missing}, which is gone; its last version stays",
                            name=entry.name,
                            missing=missing,
                        ),
                    ),
                )
            elif wanted & back and wanted <= self.owner.keys() and self._only_missed(entry.source):
                self.change.errors[entry.source] = ()

    def _report_poolless(self) -> None:
        """Tasks whose pool is gone keep their version, wait, and show the error; it goes when the pool is back."""
        for entry in self.registry.by_name.values():
            if entry.source in self.change.names_of or self.change.errors.get(entry.source):
                continue
            missing = self.registry.missing_pools(entry.definition)
            if missing:
                place, pool = missing[0]
                message = say(
                    "task {name!r} uses the pool {pool!r}, which is gone; it waits until the pool is back",
                    name=entry.name,
                    pool=pool,
                )
                error = LoadError(
                    line=entry.line, column=1, field=place, code="unknown_pool", message=message
                )
                self.change.errors[entry.source] = (error,)
            elif self._only_missed(entry.source, "unknown_pool") and entry.source not in self.change.waiting:
                self.change.errors[entry.source] = ()

    def _only_missed(self, path: str, code: str = "task_missing") -> bool:
        errors = self.registry.errors.get(path, ())
        return bool(errors) and all(error.code == code for error in errors)


def _references(task: TaskDef) -> list[tuple[int, str, str]]:
    """(position, node, task name) of every node that refers to a registered task."""
    if task.workflow is None:
        return []
    nodes = enumerate(task.workflow.nodes)
    return [(position, node.name, node.task) for position, node in nodes if node.task is not None]


def _is_told(task: TaskDef) -> bool:
    """Whether events start it."""
    return task.after is not None or bool(task.consumes)


def _data(name: str) -> str:
    """The name of data, which no task can have."""
    return f"\0{name}"


def _awaited(task: TaskDef) -> tuple[str, ...]:
    """The tasks that it runs after."""
    return task.after.tasks if task.after is not None else ()


def _wanted(task: TaskDef) -> set[str]:
    """Every task that it names."""
    return {*(name for *_, name in _references(task)), *_awaited(task)}


def node_pool(node: Node) -> str | None:
    """The pool that a node names, for its own work or for the task that it refers to."""
    if node.action is not None:
        return node.action.pool
    return node.overrides.pool if node.overrides is not None else None


def _pools(task: TaskDef) -> list[tuple[str, str]]:
    """(field, pool) of every action that names one."""
    found = [("pool", task.action.pool)] if task.action is not None and task.action.pool else []
    for position, node in enumerate(task.workflow.nodes if task.workflow is not None else ()):
        pool = node_pool(node)
        if pool:
            found.append((f"tasks.{position}.pool", pool))
    return found


def _error(loaded: LoadedDefinition, code: str, message: str, *, field: str = "name") -> LoadError:
    return LoadError(line=loaded.line, column=1, field=field, code=code, message=message)
