"""What can executions be told? Terminate, pause, resume: the part of the operations that needs no task by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from zquant_flow.core.model import TaskDef
from zquant_flow.core.params import checked
from zquant_flow.core.status import ACTIVE, Status, TriggerType
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Execution, Task
from zquant_flow.engine.resuming import taken_as
from zquant_flow.engine.service import Engine
from zquant_flow.errors import (
    BackfillNotFound,
    ExecutionNotFound,
    ServerNeeded,
    TaskNotFound,
    WrongState,
)
from zquant_flow.store import backfills, queries
from zquant_flow.wording import say


class Controls:
    """Operations on executions of one engine; what all operations share stands here too."""

    def __init__(self, engine: Engine, *, inside: bool = False) -> None:
        """`inside`: they are used in the engine's own thread."""
        self._engine = engine
        self._call: Callable[[Callable[[], Any]], Any] = _at_once if inside else self._decided
        self._memory = engine.memory
        self._lifecycle = engine.lifecycle
        self._scheduler = engine.scheduler

    def refuse_following(self) -> None:
        """Raises NotLeading where another engine decides."""
        self._engine.refuse_following()

    def _decided(self, operation: Callable[[], Any]) -> Any:
        """What an operation answers once it is decided and committed. Raises NotLeading where another engine decides."""
        self._engine.refuse_following()
        return self._engine.call(operation)

    def terminate(self, execution_id: int, *, actor: str) -> None:
        """End an execution and all below it. Raises ExecutionNotFound, WrongState if it has ended already."""

        def work() -> None:
            self._refuse_resting()
            execution = self._execution(execution_id, say("can't be terminated"))
            self._note("terminate", actor, execution_id=execution_id)
            self._lifecycle.terminate(execution)

        self._call(work)

    def terminate_all(self, task_id: int, *, actor: str) -> None:
        """End all executions of a task, archived or not. Raises ServerNeeded where some are active and no server runs."""
        self.refuse_to_end_at_rest(task_id)

        def work() -> None:
            task = self._memory.tasks.get(task_id) or self._memory.archived.get(task_id)
            for execution in [*task.active.values(), *task.backfilled.values()] if task else ():
                self._note("terminate", actor, execution_id=execution.id)
                self._lifecycle.terminate(execution)

        self._call(work)

    def cancel_backfill(self, backfill_id: int, *, actor: str, terminate: bool = False) -> list[int]:
        """Start nothing more of a backfill; the executions that will not run, whose logical times are free again.

        What runs ends by itself; with `terminate` at once. Once more is no error. Raises BackfillNotFound, and WrongState for
        one that has ended uncancelled.
        """

        def work() -> list[int]:
            self._refuse_resting()
            unbegun, running = self._lifecycle.backfills.cancel(backfill_id)
            if not unbegun and not running:
                self._refuse_ended_backfill(backfill_id)
                return []
            for execution in unbegun:
                self._memory.batch.released_fires.append(rows.released(execution))
                self._lifecycle.terminate(execution, "backfill_cancelled")
            for execution in running if terminate else ():
                self._lifecycle.terminate(execution)
            self._memory.batch.backfills_cancelled.append(rows.cancelled(self._memory, backfill_id, actor))
            self._note("cancel_backfill", actor, execution_id=backfill_id)
            return [execution.id for execution in unbegun]

        found: list[int] = self._call(work)
        return found

    def _refuse_ended_backfill(self, backfill_id: int) -> None:
        row = backfills.backfill(self._engine.database, backfill_id)
        if row is None:
            raise BackfillNotFound(say("no backfill has the id {id}", id=backfill_id))
        if row.cancelled_time is None:
            raise WrongState(say("backfill {id} has ended; nothing of it is left to cancel", id=backfill_id))

    def refuse_to_end_at_rest(self, task_id: int) -> None:
        """Raises ServerNeeded where the task has active executions and nobody drives them."""
        if self._engine.rests and queries.active_of(self._engine.database, [task_id]):
            self._refuse_resting()

    def pause_execution(self, execution_id: int, *, actor: str) -> None:
        """Let a running execution stand still: commands at once, Python at its next pause point, a workflow with its nodes."""

        def work() -> None:
            self._refuse_resting()
            execution = self._execution(execution_id, say("can't be paused"))
            status = self._status(execution)
            if status is not Status.RUNNING:
                raise WrongState(
                    say(
                        "execution {id} is {status}; only what runs can be paused",
                        id=execution_id,
                        status=status.value,
                    )
                )
            self._note("pause_execution", actor, execution_id=execution_id)
            self._lifecycle.pause(execution)

        self._call(work)

    def resume_execution(self, execution_id: int, *, actor: str, original: bool = False) -> int:
        """Let a paused execution go on; the id of the one that runs.

        One that ended and did not succeed gets a new execution, which takes over what had succeeded: of the task's current
        version, or of its `original` one. Raises ExecutionNotFound, WrongState, AlreadyRunning.
        """

        def work() -> int:
            self._refuse_resting()
            execution = self._memory.executions.get(execution_id)
            if execution is None:
                return self._resume_ended(execution_id, actor, original)
            status = self._status(execution)
            if status is not Status.PAUSED and not execution.pausing:
                raise WrongState(
                    say("execution {id} is {status}, not paused", id=execution_id, status=status.value)
                )
            self._note("resume_execution", actor, execution_id=execution_id)
            self._lifecycle.resume(execution)
            return execution_id

        return int(self._call(work))

    def _resume_ended(self, execution_id: int, actor: str, original: bool) -> int:
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
        status = taken_as(row)
        if status in (Status.SUCCESS, Status.SKIPPED) or status in ACTIVE:
            raise WrongState(
                say(
                    "execution {id} is {status}; what is paused or did not succeed can be resumed",
                    id=execution_id,
                    status=status.value,
                )
            )
        if row.parent_execution_id is not None:
            raise WrongState(
                say(
                    "execution {id} is a node; resume the workflow's execution {root}",
                    id=execution_id,
                    root=row.root_id,
                ),
                execution_id=row.root_id,
            )
        return self._begin_again(row, *self._version_of(row, original), actor)

    def _version_of(self, row: Any, original: bool) -> tuple[Task, int, TaskDef]:
        """The task of an execution that is to be run again, and its present definition, or the `original` one."""
        task = self._memory.tasks.get(row.task_id) or self._engine.registrar.unregistered(row.task_id)
        if task is None:
            raise TaskNotFound(say("task {id} is archived", id=row.task_id))
        if original and row.version != task.version:
            return task, row.version, self._engine.resuming.definition(task.id, row.version)
        return task, task.version, task.definition

    def _begin_again(
        self,
        row: Any,
        task: Task,
        version: int,
        definition: TaskDef,
        actor: str,
        *,
        rerun: Mapping[str, Any] | None = None,
    ) -> int:
        """A new execution that takes over what it need not do; with `rerun` it does again what that says."""
        given = json.loads(row.params) if row.params else {}
        checked(definition.param_specs, definition.params, given)  # before anything is decided
        wait = self._scheduler.take_place(task)
        execution = self._lifecycle.prepare(
            task,
            TriggerType.RESUME,
            params=given,
            logical_time=row.logical_time,
            event=json.loads(row.event) if row.event else None,
            original=(version, definition),
        )
        execution.resume_from = row.id
        if rerun is not None:
            event = json.loads(row.event) if row.event else {}
            execution.event = {**event, "rerun": {"of": row.id, **rerun}}
        self._lifecycle.begin(execution, actor, wait=wait)
        action, detail = ("rerun", rerun["node"]) if rerun else ("resume_execution", "")
        self._note(action, actor, task_id=task.id, execution_id=execution.id, detail=detail)
        return execution.id

    def _task(self, task_id: int) -> Task:
        task = self._memory.tasks.get(task_id)
        if task is None:
            raise TaskNotFound(say("no task has the id {id}", id=task_id))
        return task

    def _execution(self, execution_id: int, refusal: str) -> Execution:
        execution = self._memory.executions.get(execution_id)
        if execution is not None:
            return execution
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
        raise WrongState(
            say(
                "execution {id} has ended ({status}) and {refusal}",
                id=execution_id,
                status=row.status,
                refusal=refusal,
            )
        )

    def _status(self, execution: Execution) -> Status:
        """Its status; of one that another engine drives, as that one has last written it."""
        if execution.engine is None:
            return execution.status
        row = queries.execution_row(self._engine.database, execution.id)
        return execution.status if row is None else Status(row.status)

    def _refuse_resting(self) -> None:
        if self._engine.rests:
            raise ServerNeeded(
                say("no server runs on this data folder; start one with `zquant-flow serve`, or use `run`")
            )

    def _note(
        self,
        action: str,
        actor: str,
        *,
        task_id: int | None = None,
        execution_id: int | None = None,
        detail: str = "",
    ) -> None:
        self._memory.batch.audit.append(
            rows.noted(self._memory, action, actor, task_id=task_id, execution_id=execution_id, detail=detail)
        )


def _at_once(operation: Callable[[], Any]) -> Any:
    return operation()
