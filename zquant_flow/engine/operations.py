"""What can be asked of a scheduler? The one set of operations behind REST, command line, page and plugins.

Each may be called from any thread, is decided in the engine's, and returns when its decision is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from zquant_flow.core.instants import to_micros
from zquant_flow.core.status import Status, TriggerType
from zquant_flow.definitions.faults import FieldError
from zquant_flow.definitions.json_values import is_plain, to_plain
from zquant_flow.definitions.loader import LoadedFile
from zquant_flow.definitions.registry import Change, Registry
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Execution, Task
from zquant_flow.engine.service import Engine
from zquant_flow.engine.tasks import idle_span
from zquant_flow.errors import AlreadyFired, ExecutionNotFound, ParamsError, TaskNotFound, WrongState
from zquant_flow.store import queries

REGISTER_CHUNK = 250
"""Files in one transaction: a large first load must not keep due tasks waiting."""


class Operations:
    """The operations of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._memory = engine.memory
        self._lifecycle = engine.lifecycle
        self._scheduler = engine.scheduler

    @property
    def registry(self) -> Registry:
        """The current definitions and load errors; a value that never changes under its reader."""
        return self._engine.registrar.registry

    def register(
        self, files: Sequence[LoadedFile], removed: Iterable[str] = (), *, actor: str = "file"
    ) -> list[Change]:
        """Take files that were read anew, and paths that are gone."""
        removed = list(removed)
        changes: list[Change] = []
        for start in range(0, max(len(files), 1), REGISTER_CHUNK):
            part, gone = files[start : start + REGISTER_CHUNK], removed if start == 0 else []
            if part or gone:
                changes.append(
                    self._engine.call(
                        lambda part=part, gone=gone: self._engine.registrar.register(part, gone, actor=actor)  # type: ignore[misc]
                    )
                )
        return changes

    def reserve_id(self, name: str) -> int:
        """The id that a new task of this name will get; the file made for it carries it in its name."""
        return self._engine.call(lambda: self._engine.registrar.reserve(name))

    def rename(self, task_id: int, name: str) -> None:
        """Give a task another name; id, history and ledger stay."""
        self._engine.call(lambda: self._engine.registrar.rename(task_id, name))

    def trigger(
        self,
        task_id: int,
        *,
        actor: str,
        trigger_type: TriggerType = TriggerType.MANUAL,
        params: Mapping[str, Any] | None = None,
        logical_time: datetime | None = None,
        rerun: bool = False,
    ) -> int:
        """Start an execution now; its id. A paused or disabled task stays so (the origin's fault 13).

        Raises TaskNotFound, AlreadyRunning (`overlap: skip`), AlreadyFired (that logical time has its execution).
        """
        moment = to_micros(logical_time)
        given = _plain(params or {})

        def work() -> int:
            task = self._task(task_id)
            claim = moment is not None and self._may_fire(task, moment, rerun)
            wait = self._scheduler.take_place(task)
            execution = self._lifecycle.create(
                task, trigger_type, actor=actor, params=given, logical_time=moment, wait=wait
            )
            if claim and moment is not None:
                self._scheduler.ledger.note(task, moment)
                self._memory.batch.fires.append(rows.fired(self._memory, task, moment, execution.id))
            self._note("trigger", actor, task_id=task_id, execution_id=execution.id)
            return execution.id

        return self._engine.call(work)

    def enable(self, task_id: int, *, actor: str) -> None:
        """Look for fires again, from now on; the time between is one span of the ledger. `paused` stays."""
        self._switch(task_id, actor, "enable", enabled=True)

    def disable(self, task_id: int, *, actor: str) -> None:
        """Skip fires; what is pending goes on."""
        self._switch(task_id, actor, "disable", enabled=False)

    def pause(self, task_id: int, *, actor: str) -> None:
        """Skip fires, and hold pending executions and retries."""
        self._switch(task_id, actor, "pause", paused=True)

    def resume(self, task_id: int, *, actor: str) -> None:
        """Undo a pause: what was held goes on."""
        self._switch(task_id, actor, "resume", paused=False)

    def terminate(self, execution_id: int, *, actor: str) -> None:
        """End an execution and all below it. Raises ExecutionNotFound, WrongState if it has ended already."""

        def work() -> None:
            execution = self._execution(execution_id, "terminated")
            self._note("terminate", actor, execution_id=execution_id)
            self._lifecycle.terminate(execution)

        self._engine.call(work)

    def pause_execution(self, execution_id: int, *, actor: str) -> None:
        """Let a running execution stand still: commands at once, Python at its next pause point."""

        def work() -> None:
            execution = self._execution(execution_id, "paused")
            if execution.status is not Status.RUNNING or execution.run is not None:
                raise WrongState(
                    f"execution {execution_id} is {execution.status}; only a running leaf can be paused"
                )
            self._note("pause_execution", actor, execution_id=execution_id)
            self._lifecycle.pause(execution)

        self._engine.call(work)

    def resume_execution(self, execution_id: int, *, actor: str) -> None:
        """Let a paused execution go on."""

        def work() -> None:
            execution = self._execution(execution_id, "resumed")
            if execution.status is not Status.PAUSED and not execution.pausing:
                raise WrongState(f"execution {execution_id} is {execution.status}, not paused")
            self._note("resume_execution", actor, execution_id=execution_id)
            self._lifecycle.resume(execution)

        self._engine.call(work)

    def _switch(
        self,
        task_id: int,
        actor: str,
        action: str,
        *,
        enabled: bool | None = None,
        paused: bool | None = None,
    ) -> None:
        def work() -> None:
            task = self._task(task_id)
            was_paused = task.paused
            if task.idle:
                self._close_span(task)
            task.enabled = task.enabled if enabled is None else enabled
            task.paused = task.paused if paused is None else paused
            task.idle_since = self._memory.now if task.idle else None
            self._scheduler.arm(task)
            self._memory.batch.switches.append(rows.switched(self._memory, task, actor))
            self._note(action, actor, task_id=task_id)
            if was_paused and not task.paused:
                self._lifecycle.release(task)

        self._engine.call(work)

    def _close_span(self, task: Task) -> None:
        """The instants while the task was idle are skipped, as one span; nothing of it is caught up."""
        memory = self._memory
        for start, end, reason in idle_span(task, memory.now):
            memory.batch.fires.append(rows.skipped(memory, task, start, end, reason.value))
        task.cursor = memory.now

    def _may_fire(self, task: Task, moment: int, rerun: bool) -> bool:
        """Whether this execution takes the logical time's place in the ledger."""
        other = self._scheduler.ledger.fired(task, moment)
        for row in self._memory.batch.fires:  # and of this very turn
            if (row["task_id"], row["logical_time"], row["outcome"]) == (task.id, moment, "fired"):
                other = row["execution_id"]
        if other is None:
            return True
        if rerun:
            return False
        raise AlreadyFired(
            f"that logical time has fired as execution {other}; send `rerun: true` to run it once more",
            execution_id=other,
        )

    def _task(self, task_id: int) -> Task:
        task = self._memory.tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"no task has the id {task_id}")
        return task

    def _execution(self, execution_id: int, verb: str) -> Execution:
        execution = self._memory.executions.get(execution_id)
        if execution is not None:
            return execution
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            raise ExecutionNotFound(f"no execution has the id {execution_id}")
        raise WrongState(f"execution {execution_id} has ended ({row.status}) and can't be {verb}")

    def _note(
        self, action: str, actor: str, *, task_id: int | None = None, execution_id: int | None = None
    ) -> None:
        self._memory.batch.audit.append(
            rows.noted(self._memory, action, actor, task_id=task_id, execution_id=execution_id)
        )


def _plain(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Params as every database and every JSON reader takes them. Raises ParamsError that names the field."""
    if is_plain(params):
        return params
    errors: list[FieldError] = []
    plain: Mapping[str, Any] = to_plain(params, errors, ("params",))
    if errors:
        raise ParamsError(f"{errors[0].field}: {errors[0].message}", field=errors[0].field)
    return plain
