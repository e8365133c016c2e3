"""Which tasks run because something else has ended, or has produced what they consume?

A signal is kept in the transaction that ends the execution which gives it, and so is the execution that it leads to: each
end counts exactly once, whatever dies in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from zquant_flow.core.model import TaskDef
from zquant_flow.core.status import Status, TriggerType
from zquant_flow.core.waits import On, Signal, arrived
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Execution, Memory, Task
from zquant_flow.store import signals as store
from zquant_flow.store.database import Database

QUEUE_LIMIT = 100
"""So many executions of a task may wait for its active ones; what comes then is dropped, and said in the audit."""
ACTOR = "event"


class Steps(Protocol):
    """What events need of `lifecycle`."""

    def create(
        self,
        task: Task,
        trigger_type: TriggerType,
        *,
        actor: str,
        logical_time: int | None = ...,
        event: Mapping[str, Any] | None = ...,
        wait: bool = ...,
    ) -> Execution: ...


class Events:
    """The signals that are waited for. Owned by the engine's thread."""

    def __init__(self, database: Database, memory: Memory, steps: Steps) -> None:
        self._database = database
        self._memory = memory
        self._steps = steps
        self._kept: dict[int, dict[str, Signal]] = {}
        self._listeners: dict[str, set[int]] = {}
        """Tasks by the sources that they wait for."""
        self._touched: set[int] = set()

    def forget(self) -> None:
        """Nothing is known."""
        self._kept.clear()
        self._listeners.clear()
        self._touched.clear()

    def load(self) -> None:
        """What had arrived before this start."""
        for row in store.signals(self._database):
            signal = Signal(row.source, row.arrived, row.execution_id, row.logical_time)
            self._kept.setdefault(row.task_id, {})[row.source] = signal
        for task in self._memory.tasks.values():
            self.listen(task)

    def listen(self, task: Task) -> None:
        """The task is new, or has another definition."""
        for listeners in self._listeners.values():
            listeners.discard(task.id)
        for source in waited_for(task.definition):
            self._listeners.setdefault(source, set()).add(task.id)

    def ended(self, execution: Execution, status: Status) -> None:
        """An execution that stands in its task's history has ended. Backfills are the past, and lead to nothing."""
        if execution.backfill is not None or execution.under is not None:
            return
        for source in _given(execution, status):
            signal = Signal(source, self._memory.now, execution.id, execution.logical_time)
            for task_id in sorted(self._listeners.get(source, ())):
                task = self._memory.tasks.get(task_id)
                if task is not None and task.enabled and _takes(task.definition, source, status):
                    self._take(task, signal)

    def resumed(self, task: Task) -> None:
        """What came while the task was paused counts now."""
        newest = max(self._kept.get(task.id, {}).values(), key=lambda signal: signal.arrived, default=None)
        if newest is not None:
            self._take(task, newest)

    def flush(self) -> None:
        """Put what this turn has changed into its batch."""
        for task_id in sorted(self._touched):
            self._memory.batch.signals_gone.append({"b_task_id": task_id})
            self._memory.batch.signals += (
                {
                    "task_id": task_id,
                    "source": signal.source,
                    "arrived": signal.arrived,
                    "execution_id": signal.execution_id,
                    "logical_time": signal.logical_time,
                }
                for signal in self._kept.get(task_id, {}).values()
            )
        self._touched.clear()

    def _take(self, task: Task, signal: Signal) -> None:
        self._touched.add(task.id)
        sources, within = waited_for(task.definition), within_of(task.definition)
        kept, complete = arrived(sources, within, self._kept.get(task.id, {}), signal)
        if complete is None or task.paused:
            self._kept[task.id] = dict(kept) if complete is None else {one.source: one for one in complete}
            return
        self._kept.pop(task.id, None)
        self._begin(task, complete)

    def _begin(self, task: Task, complete: Sequence[Signal]) -> None:
        newest = max(complete, key=lambda signal: signal.arrived)
        if len(task.queue) >= QUEUE_LIMIT:
            self._memory.batch.audit.append(
                rows.noted(self._memory, "event_dropped", ACTOR, task_id=task.id, detail=newest.source)
            )
            return
        wait = len(task.active) >= task.limit
        self._steps.create(
            task,
            TriggerType.EVENT,
            actor=ACTOR,
            logical_time=newest.logical_time,
            event=_told(complete),
            wait=wait,
        )


def _told(complete: Sequence[Signal]) -> Mapping[str, Any]:
    """The event of an execution: which executions led to it, by the names of tasks, and of data."""
    sources = [(signal.source.partition(":"), signal.execution_id) for signal in complete]
    return {
        "kind": "after",
        "executions": {name: number for (kind, _, name), number in sources if kind == "task"},
        "data": {name: number for (kind, _, name), number in sources if kind == "data"},
    }


def waited_for(definition: TaskDef) -> tuple[str, ...]:
    """The sources that a definition names, all of which it needs."""
    after = definition.after.tasks if definition.after is not None else ()
    return (*(f"task:{name}" for name in after), *(f"data:{name}" for name in definition.consumes))


def within_of(definition: TaskDef) -> int | None:
    """Microseconds; data has no window."""
    if definition.after is None or definition.consumes or definition.after.within is None:
        return None
    return int(definition.after.within.total_seconds() * 1e6)


def _given(execution: Execution, status: Status) -> Iterator[str]:
    yield f"task:{execution.task.name}"
    if status in (Status.SUCCESS, Status.COMPLETED):
        yield from (f"data:{name}" for name in execution.definition.produces)


def _takes(definition: TaskDef, source: str, status: Status) -> bool:
    on = definition.after.on if definition.after is not None and source.startswith("task:") else On.SUCCESS
    return on.takes(status)
