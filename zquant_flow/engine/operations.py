"""What can be asked of a scheduler? The one set of operations behind REST, command line, page and plugins.

Each may be called from any thread, is decided in the engine's, and returns when its decision is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.exc import OperationalError

from zquant_flow.calendars.provider import Calendars
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.params import checked
from zquant_flow.core.status import TriggerType
from zquant_flow.definitions.faults import FieldError
from zquant_flow.definitions.json_values import is_plain, to_plain
from zquant_flow.definitions.loader import LoadedFile
from zquant_flow.definitions.registry import Change, Registry
from zquant_flow.engine import rows
from zquant_flow.engine.arrivals import Arrivals
from zquant_flow.engine.decisions import Decisions
from zquant_flow.engine.keys import Key
from zquant_flow.engine.memory import Task
from zquant_flow.engine.pools import Standing
from zquant_flow.engine.situations import NodeSituation, Situation
from zquant_flow.engine.tasks import idle_span, state_tag
from zquant_flow.errors import (
    AlreadyFired,
    Outdated,
    ParamsError,
    Unavailable,
    ZquantFlowError,
)
from zquant_flow.store import queries
from zquant_flow.wording import say

T = TypeVar("T")

REGISTER_CHUNK = 250
"""Files in one transaction: a large first load must not keep due tasks waiting."""


class Operations(Arrivals, Decisions):
    """The operations of one engine."""

    @property
    def registry(self) -> Registry:
        """The current definitions and load errors; a value that never changes under its reader."""
        return self._engine.registrar.registry if self._engine.leads else self._engine.registered.now()

    @property
    def calendars(self) -> Calendars:
        """The trading calendars of this process."""
        return self._engine.calendars

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

    def take_calendars(self) -> None:
        """Look again at all that follows calendars, which have changed."""
        self._call(lambda: self._engine.registrar.register([]))

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
            checked(task.definition.param_specs, task.definition.params, given)  # before anything is decided
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
            checked(definition.param_specs, definition.params, given)
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

    def enable(self, task_id: int, *, actor: str, expected: str | None = None) -> None:
        """Look for fires again, from now on; the time between is one span of the ledger. `paused` stays.

        Raises Outdated where the task has another `state_tag` than `expected`.
        """
        self._switch(task_id, actor, "enable", enabled=True, expected=expected)

    def disable(self, task_id: int, *, actor: str, expected: str | None = None) -> None:
        """Skip fires; what is pending goes on. Raises Outdated as `enable` does."""
        self._switch(task_id, actor, "disable", enabled=False, expected=expected)

    def pause(self, task_id: int, *, actor: str) -> None:
        """Skip fires, and hold pending executions and retries."""
        self._switch(task_id, actor, "pause", paused=True)

    def resume(self, task_id: int, *, actor: str) -> None:
        """Undo a pause: what was held goes on."""
        self._switch(task_id, actor, "resume", paused=False)

    def pools(self) -> list[dict[str, Any]]:
        """All pools, with who holds their places."""
        found: list[dict[str, Any]] = self._call(self._engine.pools.listed)
        return found

    def standing(self, pool: str, executions: Iterable[int]) -> Standing:
        """How a pool stands for these executions."""
        found: Standing = self._call(lambda: self._engine.pools.standing(pool, executions))
        return found

    def situation(self, execution_id: int) -> Situation | None:
        """What the memory knows of an execution; None of one that has ended, or that nobody drives."""
        found: Situation | None = self._call(lambda: self._engine.situations.of(execution_id))
        return found

    def node_situation(self, execution_id: int, name: str) -> NodeSituation | None:
        """What it knows of a node that has no execution yet."""
        found: NodeSituation | None = self._call(lambda: self._engine.situations.of_node(execution_id, name))
        return found

    def put_pool(self, name: str, slots: int, description: str | None, *, actor: str) -> dict[str, Any]:
        """Make a pool, or change it; how it is now. Raises PoolInSettings."""

        def work() -> dict[str, Any]:
            pools = self._engine.pools
            pools.put(name, slots, description, actor)
            self._note("put_pool", actor, detail=f"{name}: {slots}")
            self._engine.registrar.take_pools(pools.slots)
            return pools.described(name)

        found: dict[str, Any] = self._call(work)
        return found

    def delete_pool(self, name: str, *, actor: str) -> None:
        """Delete a pool. Raises PoolNotFound, PoolInUse, PoolInSettings."""

        def work() -> None:
            pools = self._engine.pools
            pools.delete(name, (entry.definition for entry in self.registry.by_name.values()))
            self._note("delete_pool", actor, detail=name)
            self._engine.registrar.take_pools(pools.slots)

        self._call(work)

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
                except OperationalError:
                    answers.append(Unavailable(say("the database is away; try again")))
            return answers

        found: list[T | ZquantFlowError] = self._call(work)
        return found

    def replayed(self, key: Key | None) -> dict[str, Any] | None:
        """What a request with this key was answered before."""
        if key is None:
            return None
        found: dict[str, Any] | None = self._call(lambda: self._engine.keys.answer(key))
        return found

    def withdraw(self, key: Key | None) -> None:
        """A request with this key has come to nothing; it may be made again."""
        if key is not None:
            self._call(lambda: self._engine.keys.withdraw(key))

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
        expected: str | None = None,
    ) -> None:
        def work() -> None:
            task = self._task(task_id)
            self._refuse_outdated(task, expected)
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
                self._engine.events.resumed(task)
            if was_paused is not task.paused:
                self._engine.letters.switch(task)

        self._call(work)

    def _refuse_outdated(self, task: Task, expected: str | None) -> None:
        """In the turn that changes it, so that of two requests that have seen the same state only one succeeds."""
        if expected is None:
            return
        now = state_tag(queries.task_row(self._engine.database, task.id))
        if now != expected or any(row["b_id"] == task.id for row in self._memory.batch.switches):
            raise Outdated(
                say("task {name!r} has changed since you read it; read it again", name=task.name),
                etag=f'"{now}"',
            )

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

    def _fired(self, task: Task, span: tuple[int, int]) -> dict[int, int]:
        """The logical times in the span that have their execution, those of this very turn too."""
        found = queries.fired_between(self._engine.database, task.id, *span)
        for row in self._memory.batch.fires:
            if (row["task_id"], row["outcome"]) == (task.id, "fired"):
                found[row["logical_time"]] = row["execution_id"]
        return found


def _plain(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Params as every database and every JSON reader takes them. Raises ParamsError that names the field."""
    if is_plain(params):
        return params
    errors: list[FieldError] = []
    plain: Mapping[str, Any] = to_plain(params, errors, ("params",))
    if errors:
        raise ParamsError(errors[0].described, field=errors[0].field)
    return plain
