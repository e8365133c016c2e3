"""What can be asked of a scheduler? The one set of operations behind REST, command line, page and plugins.

Each may be called from any thread, is decided in the engine's, and returns when its decision is committed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.status import ACTIVE, Status, TriggerType
from zquant_flow.definitions.faults import FieldError
from zquant_flow.definitions.json_values import is_plain, to_plain
from zquant_flow.definitions.loader import LoadedFile
from zquant_flow.definitions.registry import Change, Registry
from zquant_flow.engine import rows
from zquant_flow.engine.keys import Key
from zquant_flow.engine.memory import Execution, Task
from zquant_flow.engine.service import Engine
from zquant_flow.engine.tasks import idle_span
from zquant_flow.errors import (
    AlreadyFired,
    ExecutionNotFound,
    ParamsError,
    ServerNeeded,
    TaskNotFound,
    WrongState,
    ZquantFlowError,
)
from zquant_flow.store import queries
from zquant_flow.wording import say

T = TypeVar("T")

REGISTER_CHUNK = 250
"""Files in one transaction: a large first load must not keep due tasks waiting."""


class Operations:
    """The operations of one engine."""

    def __init__(self, engine: Engine, *, inside: bool = False) -> None:
        """`inside`: they are used in the engine's own thread."""
        self._engine = engine
        self._call: Callable[[Callable[[], Any]], Any] = _at_once if inside else engine.call
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
                    self._call(
                        lambda part=part, gone=gone: self._engine.registrar.register(part, gone, actor=actor)  # type: ignore[misc]
                    )
                )
        return changes

    def reserve_id(self, name: str) -> int:
        """The id that a new task of this name will get; the file made for it carries it in its name."""
        return int(self._call(lambda: self._engine.registrar.reserve(name)))

    def set_name_free(self, name: str) -> None:
        """An archived task of this name gets another, so that a new one can have it."""
        self._call(lambda: self._engine.registrar.set_name_free(name))

    def rename(self, task_id: int, name: str) -> None:
        """Give a task another name; id, history and ledger stay."""
        self._call(lambda: self._engine.registrar.rename(task_id, name))

    def trigger(
        self,
        task_id: int,
        *,
        actor: str,
        trigger_type: TriggerType = TriggerType.MANUAL,
        params: Mapping[str, Any] | None = None,
        logical_time: datetime | None = None,
        rerun: bool = False,
        key: Key | None = None,
    ) -> int:
        """Start an execution now; its id. A paused or disabled task stays so (the origin's fault 13).

        Raises TaskNotFound, AlreadyRunning (`overlap: skip`), AlreadyFired (that logical time has its execution).
        """
        moment = to_micros(logical_time)
        given = _plain(params or {})

        def work() -> int:
            self._refuse_resting()
            if (answer := self._engine.keys.answer(key)) is not None:
                return int(answer["execution_id"])
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
            self._engine.keys.note(key, {"execution_id": execution.id})
            return execution.id

        return int(self._call(work))

    def run(
        self,
        definition: TaskDef,
        *,
        actor: str,
        params: Mapping[str, Any] | None = None,
        key: Key | None = None,
    ) -> int:
        """Run a definition that is not registered; the execution's id. The same content has one hidden, archived task."""
        given = _plain(params or {})

        def work() -> int:
            self._refuse_resting()
            if (answer := self._engine.keys.answer(key)) is not None:
                return int(answer["execution_id"])
            task = self._engine.registrar.adhoc(definition, actor)
            execution = self._lifecycle.create(task, TriggerType.API, actor=actor, params=given)
            self._note("run", actor, task_id=task.id, execution_id=execution.id)
            self._engine.keys.note(key, {"execution_id": execution.id})
            return execution.id

        return int(self._call(work))

    def backfill(
        self,
        task_id: int,
        moments: Sequence[int],
        *,
        span: tuple[int, int],
        parallel: int,
        actor: str,
        params: Mapping[str, Any] | None = None,
        key: Key | None = None,
    ) -> dict[str, Any]:
        """An execution for each of these logical times (microseconds) that has none: `{"backfill_id", "executions", "fired"}`.

        `executions` and `fired` map logical times, as text, to executions: those made here, and those of before.
        """
        given = _plain(params or {})

        def work() -> dict[str, Any]:
            self._refuse_resting()
            if (answer := self._engine.keys.answer(key)) is not None:
                return answer
            task = self._task(task_id)
            fired = self._fired(task, span)
            wanted = [moment for moment in moments if moment not in fired]
            made: dict[str, int] = {}
            if wanted:
                found = self._lifecycle.backfills.begin(
                    task, wanted, span=span, parallel=parallel, params=given, actor=actor
                )
                for moment, execution in zip(wanted, found, strict=True):
                    made[str(moment)] = execution.id
                    self._scheduler.ledger.note(task, moment)
                    self._memory.batch.fires.append(rows.fired(self._memory, task, moment, execution.id))
                self._note("backfill", actor, task_id=task_id, execution_id=found[0].id)
            answer = {
                "backfill_id": next(iter(made.values()), None),
                "executions": made,
                "fired": {str(moment): fired[moment] for moment in moments if moment in fired},
            }
            self._engine.keys.note(key, answer)
            return answer

        found: dict[str, Any] = self._call(work)
        return found

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
            self._refuse_resting()
            execution = self._execution(execution_id, say("can't be terminated"))
            self._note("terminate", actor, execution_id=execution_id)
            self._lifecycle.terminate(execution)

        self._call(work)

    def terminate_all(self, task_id: int, *, actor: str) -> None:
        """End all executions of a task, archived or not."""

        def work() -> None:
            task = self._memory.tasks.get(task_id) or self._memory.archived.get(task_id)
            for execution in [*task.active.values(), *task.backfilled.values()] if task else ():
                self._note("terminate", actor, execution_id=execution.id)
                self._lifecycle.terminate(execution)

        self._call(work)

    def pause_execution(self, execution_id: int, *, actor: str) -> None:
        """Let a running execution stand still: commands at once, Python at its next pause point, a workflow with its nodes."""

        def work() -> None:
            self._refuse_resting()
            execution = self._execution(execution_id, say("can't be paused"))
            if execution.status is not Status.RUNNING:
                raise WrongState(
                    say(
                        "execution {id} is {status}; only what runs can be paused",
                        id=execution_id,
                        status=execution.status.value,
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
            if execution.status is not Status.PAUSED and not execution.pausing:
                raise WrongState(
                    say(
                        "execution {id} is {status}, not paused",
                        id=execution_id,
                        status=execution.status.value,
                    )
                )
            self._note("resume_execution", actor, execution_id=execution_id)
            self._lifecycle.resume(execution)
            return execution_id

        return int(self._call(work))

    def at_once(self, steps: Iterable[Callable[[Operations], T]]) -> list[T | ZquantFlowError]:
        """Several operations in one turn, each on its own: what it answers, or its error."""
        inside = Operations(self._engine, inside=True)

        def work() -> list[T | ZquantFlowError]:
            answers: list[T | ZquantFlowError] = []
            for step in steps:
                try:
                    answers.append(step(inside))
                except ZquantFlowError as error:
                    answers.append(error)
            return answers

        found: list[T | ZquantFlowError] = self._call(work)
        return found

    def replayed(self, key: Key | None) -> dict[str, Any] | None:
        """What a request with this key was answered before."""
        if key is None:
            return None
        found: dict[str, Any] | None = self._call(lambda: self._engine.keys.answer(key))
        return found

    def promise(self, key: Key | None, answer: Mapping[str, Any]) -> None:
        """Note what a request with this key will come to, before it does."""
        if key is not None:
            self._call(lambda: self._engine.keys.note(key, dict(answer)))

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

        self._call(work)

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
            say(
                "that logical time has fired as execution {id}; send `rerun: true` to run it once more",
                id=other,
            ),
            execution_id=other,
        )

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

    def _resume_ended(self, execution_id: int, actor: str, original: bool) -> int:
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
        if row.status in (Status.SUCCESS, Status.SKIPPED) or Status(row.status) in ACTIVE:
            raise WrongState(
                say(
                    "execution {id} is {status}; what is paused or did not succeed can be resumed",
                    id=execution_id,
                    status=row.status,
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
        task = self._task(row.task_id)
        wait = self._scheduler.take_place(task)
        execution = self._lifecycle.prepare(
            task,
            TriggerType.RESUME,
            params=json.loads(row.params) if row.params else {},
            logical_time=row.logical_time,
        )
        execution.resume_from = execution_id
        if original and row.version != task.version:
            execution.version = row.version
            execution.definition = self._engine.resuming.definition(task.id, row.version)
            execution.action = execution.definition.action
        self._lifecycle.begin(execution, actor, wait=wait)
        self._note("resume_execution", actor, task_id=task.id, execution_id=execution.id)
        return execution.id

    def _fired(self, task: Task, span: tuple[int, int]) -> dict[int, int]:
        """The logical times in the span that have their execution, those of this very turn too."""
        found = queries.fired_between(self._engine.database, task.id, *span)
        for row in self._memory.batch.fires:
            if (row["task_id"], row["outcome"]) == (task.id, "fired"):
                found[row["logical_time"]] = row["execution_id"]
        return found

    def _refuse_resting(self) -> None:
        if self._engine.rests:
            raise ServerNeeded(
                say("no server runs on this data folder; start one with `zquant-flow serve`, or use `run`")
            )

    def _note(
        self, action: str, actor: str, *, task_id: int | None = None, execution_id: int | None = None
    ) -> None:
        self._memory.batch.audit.append(
            rows.noted(self._memory, action, actor, task_id=task_id, execution_id=execution_id)
        )


def _at_once(operation: Callable[[], Any]) -> Any:
    return operation()


def _plain(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Params as every database and every JSON reader takes them. Raises ParamsError that names the field."""
    if is_plain(params):
        return params
    errors: list[FieldError] = []
    plain: Mapping[str, Any] = to_plain(params, errors, ("params",))
    if errors:
        raise ParamsError(errors[0].described, field=errors[0].field)
    return plain
