"""What do the engines of one database tell each other, and what does each do about it?

The one that leads creates every execution that stands in a task's history, and may hand it over to another engine, which
then drives it alone: attempts, retries, the nodes of a workflow. A letter is a row, written by the batch that decides what it
says and deleted by the batch that obeys it, so that it is obeyed exactly once, whoever dies in between. What refers to other
tasks is never handed over: only who leads knows whether they run. Nor is what uses a pool: only who leads counts them; nor what
asks people: who leads gets their answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any

from zquant_flow.core.model import TaskDef, WorkflowType
from zquant_flow.core.sessions import follows_sessions
from zquant_flow.core.status import FINAL, Status
from zquant_flow.engine import rows
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.large_results import result_of_row
from zquant_flow.engine.lease import Lease
from zquant_flow.engine.lifecycle import Lifecycle
from zquant_flow.engine.memory import Execution, Memory, Task
from zquant_flow.engine.passing import takes_results
from zquant_flow.engine.remembering import Remembering
from zquant_flow.store import letters as store
from zquant_flow.store import queries
from zquant_flow.store.database import Database
from zquant_flow.store.notices import ANYBODY


class Kind(StrEnum):
    """To an engine that drives for the leading one; `ended` is the answer."""

    RUN = "run"
    TERMINATE = "terminate"
    SKIP = "skip"
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    RELEASE = "release"
    ENDED = "ended"


class Letters:
    """The post of one engine. Owned by the engine's thread."""

    def __init__(
        self,
        database: Database,
        memory: Memory,
        lifecycle: Lifecycle,
        dispatcher: Dispatcher,
        lease: Lease,
    ) -> None:
        self._database = database
        self._memory = memory
        self._lifecycle = lifecycle
        self._dispatcher = dispatcher
        self._lease = lease
        self._remembering = Remembering(database, memory)
        self._handed: Counter[int] = Counter()
        """How much each of the others drives, in places that it can fill."""
        self._taken: set[int] = set()
        """Letters that this turn obeys: their rows are still there."""
        self._obey: dict[str, Callable[[Any], None]] = {
            Kind.RUN: self._run,
            Kind.ENDED: self._ended,
            Kind.TERMINATE: lambda letter: self._of(letter, self._terminate),
            Kind.SKIP: lambda letter: self._of(letter, self._skip),
            Kind.PAUSE: lambda letter: self._of(letter, self._pause),
            Kind.RESUME: lambda letter: self._of(letter, self._resume),
            Kind.HOLD: self._hold,
            Kind.RELEASE: self._release,
        }

    def forget(self) -> None:
        """Nothing has been handed over and nothing read."""
        self._handed.clear()
        self._taken.clear()

    def settle(self) -> None:
        """What this turn has obeyed is deleted."""
        self._taken.clear()

    # ── what the leading engine says ────────────────────────────────────────────────────────────────────────────

    def hand_over(self, execution: Execution) -> bool:
        """Give an execution that may start to the engine with the most room; False where that is this one."""
        if (
            not self._lease.others
            or not self._lease.leads
            or not _stands_alone(execution, self._memory.takers)
        ):
            return False
        engine = self._roomiest(_places(execution.definition))
        if engine is None:
            return False
        self.note_elsewhere(execution, engine)
        if execution.row is not None and execution.id not in self._memory.changed:
            execution.row["owner"] = engine
        else:
            self._memory.updates(execution).handed.append(rows.handed(self._memory, execution, engine))
        self._send(engine, Kind.RUN, execution.id)
        return True

    def note_elsewhere(self, execution: Execution, engine: int) -> None:
        """That engine drives it."""
        execution.engine = engine
        self._handed[engine] += _places(execution.definition)

    def terminate(self, execution: Execution, why: str) -> None:
        self._tell(execution, Kind.TERMINATE, why)

    def skip(self, execution: Execution) -> None:
        """End it as skipped, if no attempt of it has started."""
        self._tell(execution, Kind.SKIP)

    def pause(self, execution: Execution) -> None:
        self._tell(execution, Kind.PAUSE)

    def resume(self, execution: Execution) -> None:
        self._tell(execution, Kind.RESUME)

    def switch(self, task: Task) -> None:
        """What waits of this task is held back from now on, or is not any more."""
        active = [*task.active.values(), *task.backfilled.values()]
        for engine in {execution.engine for execution in active if execution.engine is not None}:
            self._send(engine, Kind.HOLD if task.holds else Kind.RELEASE, task.id)

    def ended(self, execution: Execution) -> None:
        """Tell whoever leads how an execution that it has handed over has ended."""
        self._send(ANYBODY, Kind.ENDED, execution.id, execution.status.value)

    def _roomiest(self, places: int) -> int | None:
        """The engine that would be the least busy with so many places more; None for this one."""
        own = self._dispatcher
        best, least = None, (own.running + own.waiting + places) / own.slots
        for engine, slots in self._lease.others.items():
            busy = (self._handed[engine] + places) / slots
            if busy < least:
                best, least = engine, busy
        return best

    def _tell(self, execution: Execution, kind: Kind, word: str = "") -> None:
        assert execution.engine is not None
        self._send(execution.engine, kind, execution.id, word)

    def _send(self, engine: int, kind: Kind, subject: int, word: str = "") -> None:
        self._memory.batch.letters.append(
            {"to_engine": engine, "kind": kind.value, "subject": subject, "word": word}
        )

    # ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Obey what has come. Each letter's row goes with this turn's batch."""
        addresses = [self._memory.engine_id, ANYBODY] if self._lease.leads else [self._memory.engine_id]
        for letter in store.letters_to(self._database, addresses):
            if letter.id not in self._taken:
                self._taken.add(letter.id)
                self._memory.batch.obeyed.append({"b_id": letter.id})
                self._obey[letter.kind](letter)

    def _run(self, letter: Any) -> None:
        """Drive this execution. One that is known already is this engine's by inheritance."""
        row = queries.execution_row(self._database, letter.subject)
        mine = row is not None and row.owner == self._memory.engine_id
        if row is None or not mine or Status(row.status) in FINAL or row.id in self._memory.executions:
            return
        execution = self._remembering.handed(row)
        self._memory.executions[execution.id] = execution
        execution.task.remember(execution)
        self._lifecycle.proceed(execution)

    def _ended(self, letter: Any) -> None:
        execution = self._memory.executions.get(letter.subject)
        if execution is None or execution.engine is None:
            return
        self._handed[execution.engine] -= _places(execution.definition)
        result = None
        if execution.parent is not None:
            row = queries.execution_row(self._database, execution.id)
            result = None if row is None else result_of_row(row)
        self._lifecycle.ended_elsewhere(execution, Status(letter.word), result)

    def _of(self, letter: Any, what: Callable[[Execution, str], None]) -> None:
        """Do this to an execution, unless it has ended."""
        execution = self._memory.executions.get(letter.subject)
        if execution is not None and execution.engine is None:
            what(execution, letter.word)

    def _terminate(self, execution: Execution, why: str) -> None:
        self._lifecycle.terminate(execution, why)

    def _skip(self, execution: Execution, _: str) -> None:
        self._lifecycle.skip(execution)

    def _pause(self, execution: Execution, _: str) -> None:
        if execution.status is Status.RUNNING:
            self._lifecycle.pause(execution)
        elif execution.status is Status.PENDING:
            self._lifecycle.stand(execution, True)

    def _resume(self, execution: Execution, _: str) -> None:
        if execution.status is Status.PAUSED or execution.pausing:
            self._lifecycle.resume(execution)

    def _hold(self, letter: Any) -> None:
        task = self._memory.archived.get(letter.subject)
        if task is not None:
            task.paused = True

    def _release(self, letter: Any) -> None:
        task = self._memory.archived.get(letter.subject)
        if task is not None:
            task.paused = False
            self._lifecycle.release(task)


def _stands_alone(execution: Execution, commands: Collection[str]) -> bool:
    """Whether it can be driven without asking for other tasks, for results of nodes beside it, for a pool or a calendar."""
    if execution.inline or follows_sessions(execution.definition):
        return False
    workflow = execution.definition.workflow
    if workflow is not None:
        return not any(
            node.task or node.approval or (node.action and node.action.pool) for node in workflow.nodes
        )
    if execution.action is not execution.definition.action:
        return False  # its node has changed what the task says, and only this engine knows the node
    if execution.action is None or execution.action.pool is not None:
        return False
    if takes_results(execution, commands):
        return False
    return execution.parent is None or "nodes" not in str(execution.action.config)


def _places(definition: TaskDef) -> int:
    """How many places it may fill at a time."""
    workflow = definition.workflow
    if workflow is None or workflow.workflow_type is WorkflowType.SERIAL:
        return 1
    return max(1, min(len(workflow.nodes), workflow.max_parallel or len(workflow.nodes)))
