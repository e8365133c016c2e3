"""How are tasks created, changed and deleted by request? As files, like everyone's.

The file is written first, read back by the loader like any other, and registered; the watcher then finds nothing new.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zquant_flow.definitions import writing
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.loader import LoadedFile, LoadError
from zquant_flow.definitions.registry import Entry, plan_change
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.keys import Key
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.plugged import Plugged
from zquant_flow.engine.tasks import state_tag
from zquant_flow.errors import (
    Conflict,
    DefinedInFile,
    NameInUse,
    Outdated,
    TaskNotFound,
    TaskReferenced,
    TasksFolderUnavailable,
    ZquantFlowError,
)
from zquant_flow.wording import joined, say

if TYPE_CHECKING:
    from zquant_flow.definitions.drafts import Draft


class Authored:
    """Definitions made over REST. Safe from any thread; one change at a time, and the watcher's wait meanwhile.

    A change is taken whole or not at all: what was written and could not be loaded is taken back.
    """

    def __init__(self, operations: Operations, folder: TasksFolder, plugged: Plugged) -> None:
        self._operations = operations
        self._folder = folder
        self._plugged = plugged

    def create(
        self, raw: Mapping[str, Any], *, actor: str, key: Key | None = None, new_id: bool = False
    ) -> tuple[int, tuple[str, ...]]:
        """Make a task; its id and the codes of what it can't do yet. Raises DefinitionErrors, NameInUse.

        With `new_id` an archived task of that name keeps its id and history for itself.
        """
        # Imported late, here and below: 0.1 s that a start without REST edits never pays.
        from zquant_flow.definitions import drafts

        draft = drafts.draft_new(raw, self._plugged.configs, self._name_of)
        with self._folder.undisturbed():
            made = self._made_before(key)
            if made is not None:
                return made, draft.warnings
            if draft.name in self._operations.registry.by_name:
                raise NameInUse(
                    say(
                        "a task named {name!r} exists; choose another name, or change that one",
                        name=draft.name,
                    )
                )
            self._refuse_unloadable(draft, writing.file_name(0, draft.name))
            if new_id:
                self._operations.set_name_free(draft.name)
            return self._created(draft, actor, key), draft.warnings

    def _made_before(self, key: Key | None) -> int | None:
        """The task that a request with this key has made. A promise that a crash has broken is taken back."""
        promised = self._operations.replayed(key)
        if promised is None:
            return None
        if self._folder.row_of(promised["task_id"]) is not None:
            return int(promised["task_id"])
        self._operations.withdraw(key)
        return None

    def _created(self, draft: Draft, actor: str, key: Key | None) -> int:
        """Write the file and register it. The key is promised the id first: a crash leaves a task that it leads to, or none."""
        task_id = self._operations.reserve_id(draft.name)
        source = writing.file_name(task_id, draft.name)
        self._operations.promise(key, {"task_id": task_id})
        try:
            writing.write(self._folder.path / source, draft.data, expected=None)
            try:
                return self._taken(source, draft.name, actor).id
            except BaseException:
                self._take_back(source, draft.data, None, actor)
                raise
        except BaseException:
            with contextlib.suppress(ZquantFlowError):
                self._operations.withdraw(key)
            raise

    def change(
        self, task_id: int, raw: Mapping[str, Any], *, actor: str, expected: str | None = None
    ) -> tuple[Entry, tuple[str, ...]]:
        """Change the given fields; `None` clears one. Raises DefinedInFile for a Python task.

        `expected` is the `state_tag` that the caller has seen; raises Outdated where the task has another by now.

        A new name is given in the engine before the file says it, so that no reading of the file takes it for another task.
        """
        from zquant_flow.definitions import drafts

        with self._folder.undisturbed():
            self.refuse_outdated(task_id, expected)
            entry = self._of_yaml(task_id)
            before = self._content(entry)
            if before is None:
                raise Conflict(
                    say("{source} is gone, and task {name!r} with it", source=entry.source, name=entry.name)
                )
            draft = drafts.draft_change(raw, before, entry, self._plugged.configs, self._name_of)
            self._refuse_unloadable(draft, entry.source)
            self._rename(entry, draft.name)
            try:
                writing.write(self._folder.path / entry.source, draft.data, expected=before)
                return self._taken(entry.source, draft.name, actor), draft.warnings
            except BaseException:
                self._take_back(entry.source, draft.data, before, actor, entry)
                raise

    def delete(self, task_id: int, *, actor: str, force: bool = False, expected: str | None = None) -> None:
        """Remove the document from its file, and archive. Raises TaskReferenced where workflows refer to it."""
        from zquant_flow.definitions import drafts

        with self._folder.undisturbed():
            self.refuse_outdated(task_id, expected)
            entry = self._of_yaml(task_id)
            if not force:
                self._refuse_referenced(entry, say("change those, or send `force=true`"))
            path, before = self._folder.path / entry.source, self._content(entry)
            draft = drafts.draft_without(before, entry, self._plugged.configs) if before is not None else None
            if before is not None and draft is not None:
                self._refuse_unloadable(draft, entry.source)
                writing.write(path, draft.data, expected=before)
            elif before is not None:
                writing.remove(path, expected=before)
            try:
                if draft is not None:
                    self._folder.load_now([entry.source], actor=actor, made=True)
                else:
                    self._folder.removed_now([entry.source], actor=actor, made=True)
            except BaseException:
                if before is not None:
                    self._put_back(path, draft.data if draft is not None else None, before)
                raise

    def refuse_outdated(self, task_id: int, expected: str | None) -> None:
        """Raises Outdated where the task has another `state_tag` by now."""
        row = self._folder.row_of(task_id) if expected is not None else None
        if row is not None and state_tag(row) != expected:
            raise Outdated(
                say("task {name!r} has changed since you read it; read it again", name=row.name),
                etag=f'"{state_tag(row)}"',
            )

    def _taken(self, source: str, name: str, actor: str) -> Entry:
        """Register what was written, and the entry it became."""
        self._folder.load_now([source], actor=actor, made=True)
        _raise(self._operations.registry.errors.get(source, ()))
        entry = self._operations.registry.by_name.get(name)
        if entry is None or entry.source != source:
            raise DefinitionErrors(
                [FieldError((), say("{source} was written and not loaded", source=source))]
            )
        return entry

    def _take_back(
        self, source: str, written: bytes, before: bytes | None, actor: str, renamed: Entry | None = None
    ) -> None:
        """Put the file back as it was, as far as that can be done; the error that led here is what the caller hears."""
        path = self._folder.path / source
        with contextlib.suppress(ZquantFlowError):
            if before is None:
                writing.remove(path, expected=written)
            elif writing.content(path) != before:
                writing.write(path, before, expected=written)
        with contextlib.suppress(ZquantFlowError):
            if renamed is not None and self._entry(renamed.id).name != renamed.name:
                self._operations.rename(renamed.id, renamed.name)
            if before is None:
                self._folder.removed_now([source], actor=actor, made=True)
            else:
                self._folder.load_now([source], actor=actor, made=True)

    def _put_back(self, path: Path, written: bytes | None, before: bytes) -> None:
        """What could not be deleted stands there as before, as far as that can be done."""
        with contextlib.suppress(ZquantFlowError):
            writing.write(path, before, expected=written)

    def _rename(self, entry: Entry, name: str) -> None:
        if name == entry.name:
            return
        self._refuse_referenced(entry, say("they know it by its name: change those first"))
        if self._folder.id_of(name) is not None:
            raise NameInUse(
                say(
                    "a task named {name!r} exists, or did until it was archived; choose another name",
                    name=name,
                )
            )
        self._operations.rename(entry.id, name)

    def _content(self, entry: Entry) -> bytes | None:
        """What the entry's file holds; None where it alone is gone, and not the folder."""
        found = writing.content(self._folder.path / entry.source)
        if found is None and (self._folder.unavailable is not None or not self._folder.path.is_dir()):
            raise TasksFolderUnavailable(
                say("the tasks folder {folder} is away; try again later", folder=str(self._folder.path))
            )
        return found

    def _refuse_unloadable(self, draft: Draft, source: str) -> None:
        """Does the rest of the registry stand against this? Raises DefinitionErrors before anything is written."""
        file = LoadedFile(path=source, kind="tasks", definitions=draft.definitions)
        _raise(plan_change(self._operations.registry, [file]).errors.get(source, ()))

    def _entry(self, task_id: int) -> Entry:
        entry = self._operations.registry.by_id.get(task_id)
        if entry is None:
            raise TaskNotFound(say("no task has the id {id}", id=task_id))
        return entry

    def _of_yaml(self, task_id: int) -> Entry:
        entry = self._entry(task_id)
        if entry.source.endswith(".py"):
            raise DefinedInFile(
                say(
                    "task {name!r} is defined in {source}; change it there",
                    name=entry.name,
                    source=entry.source,
                ),
                source=entry.source,
            )
        return entry

    def _name_of(self, task_id: int) -> str | None:
        entry = self._operations.registry.by_id.get(task_id)
        return entry.name if entry else None

    def _refuse_referenced(self, entry: Entry, way_out: str) -> None:
        users = [other.name for other in self._operations.registry.users_of(entry.name)]
        if users:
            shown = joined(", ", (repr(name) for name in users))
            raise TaskReferenced(
                say(
                    "task {name!r} is used by {users}; {way_out}",
                    name=entry.name,
                    users=shown,
                    way_out=way_out,
                ),
                workflows=users,
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
