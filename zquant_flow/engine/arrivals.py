"""What comes from outside and starts tasks? Requests to webhooks, and files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from zquant_flow.core.expressions import compute
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import Webhook
from zquant_flow.core.params import checked
from zquant_flow.core.references import resolve
from zquant_flow.core.status import TriggerType
from zquant_flow.definitions.arrivals import FILE
from zquant_flow.engine import rows
from zquant_flow.engine.controls import Controls
from zquant_flow.engine.events import ACTOR, QUEUE_LIMIT
from zquant_flow.engine.found_files import FileFacts
from zquant_flow.engine.keys import Key
from zquant_flow.engine.memory import Task
from zquant_flow.errors import Conflict, ExpressionError, HookNotFound, ParamsError, WrongState
from zquant_flow.store import queries, seen_files
from zquant_flow.wording import say

GRANULARITY_NS = 20_000_000
"""Instants of file systems are behind the clock by up to a tick of the kernel."""


class Arrivals(Controls):
    """Operations for what comes from outside."""

    def call_hook(self, task_id: int, event: Mapping[str, Any], *, actor: str, key: Key | None = None) -> int:
        """Start an execution for a request to the task's webhook; its id. While the task is busy, or paused, it waits.

        Raises HookNotFound, WrongState (disabled), Conflict (as many wait as may), ParamsError.
        """

        def work() -> int:
            self._refuse_resting()
            if (answer := self._engine.keys.answer(key)) is not None:
                return int(answer["execution_id"])
            task = self._task(task_id)
            params = _params_of(_hook_of(task), event)
            checked(task.definition.param_specs, task.definition.params, params)  # before anything is decided
            _refuse_idle(task)
            execution = self._lifecycle.create(
                task,
                TriggerType.EVENT,
                actor=actor,
                params=params,
                event=event,
                wait=len(task.active) >= task.limit,
            )
            self._note("hook", actor, task_id=task_id, execution_id=execution.id)
            self._engine.keys.note(key, {"execution_id": execution.id})
            return execution.id

        return int(self._call(work))

    def rotate_hook(self, task_id: int, *, actor: str) -> int:
        """Give the task's webhook another secret; the generation that it is made from. Raises HookNotFound."""

        def work() -> int:
            task = self._task(task_id)
            _hook_of(task)
            row = queries.task_row(self._engine.database, task_id)
            assert row is not None
            generation = int(row.hook_generation) + 1
            self._memory.batch.hooks.append(rows.rotated(self._memory, task, generation, actor))
            self._note("rotate_hook", actor, task_id=task_id)
            return generation

        return int(self._call(work))

    def take_files(self, task_id: int, files: Sequence[FileFacts]) -> list[FileFacts]:
        """Start an execution for each of these files that is new to the task; those that are done with, oldest first.

        The others have to come again: as many wait already as may. What was there before the task waited for files, or
        came while it was disabled, starts nothing.
        """

        def work() -> list[FileFacts]:
            self._refuse_resting()
            task = self._memory.tasks.get(task_id)
            if task is None or task.definition.on_file is None:
                return []
            known = seen_files.among(self._engine.database, task_id, [file.path for file in files])
            done: list[FileFacts] = []
            for file in files:
                if known.get(file.path) != file.identity:
                    is_new = task.enabled and _is_since(file, task.files_since or 0)
                    if is_new and len(task.queue) + len(task.held) >= QUEUE_LIMIT:
                        break
                    self._see(task, file, self._begin_for(task, file) if is_new else None)
                done.append(file)
            return done

        found: list[FileFacts] = self._call(work)
        return found

    def forget_files(self, task_id: int, paths: Iterable[str]) -> None:
        """These have been gone for long: one of that name is a new one."""
        gone = [{"b_task_id": task_id, "b_path": path} for path in paths]
        self._call(lambda: self._memory.batch.files_gone.extend(gone))

    def forget_other_files(self, task_ids: Collection[int]) -> None:
        """Keep in mind the files of these tasks alone: no other waits for any."""
        self._call(lambda: seen_files.forget_others(self._engine.database, task_ids, term=self._memory.term))

    def _begin_for(self, task: Task, file: FileFacts) -> int | None:
        """The execution for a file; None where the task does not take what a file gives."""
        definition = task.definition
        takes = not definition.param_specs or FILE in {**definition.param_specs, **definition.params}
        params = {FILE: file.path} if takes else {}
        event = {
            "kind": "file",
            "file": file.path,
            "size": file.size,
            "modified": from_micros(file.mtime_ns // 1000).isoformat(),
        }
        try:
            checked(definition.param_specs, definition.params, params)  # before anything is decided
        except ParamsError as exc:
            self._note("file_refused", ACTOR, task_id=task.id, detail=f"{file.path}: {exc.detail}")
            return None
        execution = self._lifecycle.create(
            task,
            TriggerType.EVENT,
            actor=ACTOR,
            params=params,
            event=event,
            wait=len(task.active) >= task.limit,
        )
        return execution.id

    def _see(self, task: Task, file: FileFacts, execution_id: int | None) -> None:
        batch = self._memory.batch
        batch.files_gone.append({"b_task_id": task.id, "b_path": file.path})
        batch.files_seen.append(rows.seen(self._memory, task, file, execution_id))


def _is_since(file: FileFacts, since: int) -> bool:
    """Whether the file has come to be, or into place, since that instant (microseconds)."""
    return file.ctime_ns + GRANULARITY_NS >= since * 1000


def _hook_of(task: Task) -> Webhook:
    if task.definition.webhook is None:
        raise HookNotFound(say("task {name!r} has no webhook: give it one by `webhook`", name=task.name))
    return task.definition.webhook


def _params_of(hook: Webhook, event: Mapping[str, Any]) -> dict[str, Any]:
    """What the request gives the task. Raises ParamsError that names the param."""
    found: dict[str, Any] = {}
    for name, value in hook.params.items():
        try:
            found[name] = resolve(value, {"event": event}, compute)
        except (ExpressionError, ParamsError) as exc:
            raise ParamsError(
                say("{name}: {error}", name=name, error=exc.detail), field=f"params.{name}"
            ) from exc
    return found


def _refuse_idle(task: Task) -> None:
    """What is disabled takes nothing from outside; nor does one where as many wait as may."""
    if not task.enabled:
        raise WrongState(say("task {name!r} is disabled; its webhook takes nothing", name=task.name))
    if len(task.queue) + len(task.held) >= QUEUE_LIMIT:
        raise Conflict(
            say("task {name!r} has {count} executions waiting already", name=task.name, count=QUEUE_LIMIT)
        )
