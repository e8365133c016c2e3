"""How are tasks created, changed and deleted by request? As files, like everyone's.

The file is written first, read back by the loader like any other, and registered; the watcher then finds nothing new.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from zquant_flow.core.model import TaskType
from zquant_flow.definitions import writing
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.loader import LoadedDefinition, LoadedFile, LoadError
from zquant_flow.definitions.registry import Entry, plan_change
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.operations import Operations
from zquant_flow.errors import DefinedInFile, NameInUse, TaskNotFound, TaskReferenced
from zquant_flow.plugin.manager import load_executors


class Authored:
    """Definitions made over REST. Safe from any thread; one change at a time."""

    def __init__(self, operations: Operations, folder: TasksFolder) -> None:
        self._operations = operations
        self._folder = folder
        self._changing = threading.Lock()

    def create(self, raw: Mapping[str, Any], *, actor: str) -> tuple[Entry, tuple[str, ...]]:
        """Make a task; its entry and the codes of what it can't do yet. Raises DefinitionErrors, NameInUse."""
        # Imported late, here and below: 0.1 s that a start without REST edits never pays.
        from zquant_flow.definitions.schema import parse_definition

        parsed = parse_definition(
            raw, origin="rest", executors=load_executors(), task_name=self._name_of, default_name=None
        )
        name = parsed.task.name
        with self._changing:
            if name in self._operations.registry.by_name:
                raise NameInUse(f"a task named {name!r} exists; choose another name, or change that one")
            task_id = self._operations.reserve_id(name)
            words = self._words(raw, name)
            path = writing.file_name(task_id, name)
            text = writing.new_text(words)
            self._check(text, path)
            writing.write(self._folder.path / path, text, expected=None)
            return self._taken(path, name, actor), parsed.warnings

    def change(self, task_id: int, raw: Mapping[str, Any], *, actor: str) -> tuple[Entry, tuple[str, ...]]:
        """Change the given fields; `None` clears one. Raises DefinedInFile for a Python task."""
        with self._changing:
            entry = self._entry(task_id)
            self._refuse_python(entry)
            path = self._folder.path / entry.source
            before = path.read_bytes()
            words = self._changed_words(raw)
            text = writing.edited_text(before.decode(), entry.document, words)
            name = str(raw.get("name") or entry.name)
            if name != entry.name and name in self._operations.registry.by_name:
                raise NameInUse(f"a task named {name!r} exists; choose another name")
            self._check(text, entry.source)
            writing.write(path, text, expected=before)
            if name != entry.name:
                self._operations.rename(task_id, name)
            return self._taken(entry.source, name, actor), ()

    def delete(self, task_id: int, *, actor: str, force: bool = False) -> None:
        """Remove the document from its file, and archive. Raises TaskReferenced where workflows refer to it."""
        with self._changing:
            entry = self._entry(task_id)
            self._refuse_python(entry)
            self._refuse_referenced(entry, force)
            path = self._folder.path / entry.source
            before = path.read_bytes()
            text = writing.without_document(before.decode(), entry.document)
            if text is None:
                writing.remove(path, expected=before)
                self._folder.removed_now([entry.source], actor=actor)
            else:
                writing.write(path, text, expected=before)
                self._folder.load_now([entry.source], actor=actor)

    def _taken(self, path: str, name: str, actor: str) -> Entry:
        """Register what was written, and the entry it became."""
        self._folder.load_now([path], actor=actor)
        entry = self._operations.registry.by_name.get(name)
        if entry is not None and entry.source == path:
            return entry
        _raise(self._operations.registry.errors.get(path, ()))
        raise DefinitionErrors([FieldError((), f"{path} was written and not loaded")])

    def _words(self, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The words of a file for a REST body; node ids become node names."""
        from zquant_flow.definitions.clothes import undress
        from zquant_flow.definitions.schema import REST_MAX_RETRIES

        words = dict(undress(dict(raw), load_executors(), nulls_are_absent=True).words)
        words["name"] = name
        words.setdefault("max_retries", REST_MAX_RETRIES)
        nodes = words.get("tasks")
        if isinstance(nodes, list):
            words["tasks"] = self._nodes(nodes)
        if not any(words.get(key) for key in _RUNNABLE):
            words["config"] = {}
        if words.get("task_type") == _inferred_type(words) and "config" not in words:
            del words["task_type"]
        return {key: value for key, value in words.items() if value is not None}

    def _nodes(self, nodes: list[Any]) -> list[dict[str, Any]]:
        names = {node["task_id"]: self._node_name(node) for node in nodes if "task_id" in node}
        written = []
        for node in nodes:
            node = dict(node)
            if "task_id" in node:
                task = self._name_of(node.pop("task_id"))
                node = {
                    "name": names.get(node.get("task_id"), node.get("name") or task),
                    "task": task,
                    **node,
                }
            if node.get("dependencies"):
                node["dependencies"] = [
                    names[item] if isinstance(item, int) else item for item in node["dependencies"]
                ]
            else:
                node.pop("dependencies", None)
            written.append(node)
        return written

    def _node_name(self, node: Mapping[str, Any]) -> str:
        return str(node.get("name") or self._name_of(node["task_id"]))

    def _changed_words(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        from zquant_flow.definitions.clothes import undress

        cleared = {key for key, value in raw.items() if value is None}
        words = dict(undress(dict(raw), load_executors(), nulls_are_absent=True).words)
        if isinstance(words.get("tasks"), list):
            words["tasks"] = self._nodes(words["tasks"])
        words.pop("task_type", None)
        for key in cleared:
            words[{"cron_expression": "cron", "interval_seconds": "interval"}.get(key, key)] = None
        if "config" in raw and raw["config"] is not None:
            replaced = {"command", "python", "executor", "config", "tasks"}
            words = {**dict.fromkeys(replaced - words.keys()), **words}
        return words

    def _check(self, text: str, path: str) -> None:
        """Would this text be loaded from there? Raises DefinitionErrors before anything is written."""
        from zquant_flow.definitions.schema import parse_definition
        from zquant_flow.definitions.yaml_text import read_yaml

        executors, folder = load_executors(), path.rpartition("/")[0]
        loaded = tuple(
            LoadedDefinition(
                task=parse_definition(document.value, origin="file", executors=executors, folder=folder).task,
                line=1,
                document=document.index,
            )
            for document in read_yaml(text.encode())
        )
        file = LoadedFile(path=path, kind="tasks", definitions=loaded)
        _raise(plan_change(self._operations.registry, [file]).errors.get(path, ()))

    def _entry(self, task_id: int) -> Entry:
        entry = self._operations.registry.by_id.get(task_id)
        if entry is None:
            raise TaskNotFound(f"no task has the id {task_id}")
        return entry

    def _name_of(self, task_id: int) -> str | None:
        entry = self._operations.registry.by_id.get(task_id)
        return entry.name if entry else None

    def _refuse_python(self, entry: Entry) -> None:
        if entry.source.endswith(".py"):
            raise DefinedInFile(
                f"task {entry.name!r} is defined in {entry.source}; change it there", source=entry.source
            )

    def _refuse_referenced(self, entry: Entry, force: bool) -> None:
        users = [
            other.name
            for other in self._operations.registry.by_name.values()
            if other.definition.task_type is TaskType.WORKFLOW
            and other.definition.workflow is not None
            and any(node.task == entry.name for node in other.definition.workflow.nodes)
        ]
        if users and not force:
            shown = ", ".join(repr(name) for name in sorted(users))
            raise TaskReferenced(
                f"task {entry.name!r} is used by {shown}; change those, or send `force=true`", workflows=users
            )


def _raise(errors: Sequence[LoadError]) -> None:
    """The errors of a file as those of a request, if there are any."""
    if errors:
        raise DefinitionErrors(
            [
                FieldError(tuple(error.field.split(".")) if error.field else (), error.message, error.code)
                for error in errors
            ]
        )


_RUNNABLE = ("command", "python", "executor", "tasks")


def _inferred_type(words: Mapping[str, Any]) -> str:
    """What a file with these words would be without saying it (SEMANTICS §3)."""
    if words.get("tasks"):
        return TaskType.WORKFLOW.value
    scheduled = any(words.get(key) for key in ("cron", "interval", "run_at", "schedules"))
    return TaskType.COMMON.value if scheduled else TaskType.MANUAL.value
