"""Which tasks are due, and what becomes of each due instant?

A heap of next fire times over the pure rules of `core.schedule`. Each due instant becomes an execution or a ledger entry
with its reason, in the transaction that moves the task's cursor. `tick(now)` is a function: the bell rings it.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import Overlap
from zquant_flow.core.schedule import SkipReason, Times, Timetable, delay_of
from zquant_flow.core.status import TriggerType
from zquant_flow.engine import rows
from zquant_flow.engine.ledger import Ledger
from zquant_flow.engine.lifecycle import Lifecycle
from zquant_flow.engine.memory import Memory, Task
from zquant_flow.errors import AlreadyRunning, Conflict
from zquant_flow.wording import say

QUEUE_LIMIT = 100
STEP_BACK = 1.0
"""Seconds by which the wall clock must fall behind the monotonic one to count as a step."""


class Scheduler:
    """The fire times of all tasks. Owned by the engine's thread."""

    def __init__(self, memory: Memory, lifecycle: Lifecycle, times: Times, ledger: Ledger) -> None:
        self._memory = memory
        self._lifecycle = lifecycle
        self.times = times
        self.ledger = ledger
        self._heap: list[tuple[int, int]] = []
        self._hands: tuple[int, float] | None = None

    @property
    def next_wake(self) -> int | None:
        """When the earliest task may be due, in microseconds; None if nothing is ahead."""
        return self._heap[0][0] if self._heap else None

    def forget(self) -> None:
        """Nothing is armed any more."""
        self._heap.clear()

    def take_times(self, times: Times) -> None:
        """Read schedules by these from now on: what a calendar knows more, or otherwise, changes what is ahead."""
        before, self.times = self.times.calendars, times
        changed = {name for name, sessions in times.calendars.items() if before.get(name) is not sessions}
        for task in self._memory.tasks.values() if changed else ():
            schedule = task.definition.schedule
            if schedule is not None and any(rule.calendar in changed for rule in schedule.rules):
                self.arm(task)
                self._memory.batch.cursors.append(rows.cursor(task))

    def arm(self, task: Task) -> None:
        """Look for the task's next fire after its cursor. Call it after every change of schedule or state."""
        task.next_fire = None
        if task.definition.schedule is not None and not task.idle:
            self._put(task, self._table(task).next(from_micros(task.cursor)))

    def tick(self) -> None:
        """Fire all that is due now."""
        self._watch_hands()
        while found := self._pop_due():
            self.ledger.learn(found)
            for task in found:
                self._fire(task)

    def _pop_due(self) -> list[Task]:
        memory, found = self._memory, []
        while self._heap and self._heap[0][0] <= memory.now:
            moment, task_id = heapq.heappop(self._heap)
            task = memory.tasks.get(task_id)
            if task is not None and task.next_fire == moment and not task.idle:
                task.next_fire = None
                found.append(task)
        return found

    def start_from(self, last_heartbeat: int | None) -> None:
        """Begin a term: if the clock stands before the last heartbeat, it was set back while nobody looked."""
        memory = self._memory
        if last_heartbeat is not None and memory.now < last_heartbeat - int(STEP_BACK * 1e6):
            self._set_back(last_heartbeat)

    def take_place(self, task: Task) -> bool:
        """Make room for one more execution by the task's `overlap`; True if the new one has to wait.

        Raises AlreadyRunning for `skip`, Conflict for a full queue.
        """
        overlap, limit = task.definition.overlap, task.limit
        if len(task.active) < limit:
            return False
        if overlap is Overlap.SKIP:
            other = next(iter(task.active))
            raise AlreadyRunning(
                say(
                    "task {name!r} is running (execution {id}); wait, terminate it, or set `overlap`",
                    name=task.name,
                    id=other,
                ),
                execution_id=other,
            )
        if overlap is Overlap.REPLACE:
            oldest = list(task.active.values())
            for execution in oldest[: len(oldest) - limit + 1]:
                self._lifecycle.terminate(execution, "replaced")
            return len(task.active) >= limit
        if len(task.queue) >= QUEUE_LIMIT:
            raise Conflict(
                say("task {name!r} has {count} executions waiting already", name=task.name, count=QUEUE_LIMIT)
            )
        return True

    def _table(self, task: Task) -> Timetable:
        schedule = task.definition.schedule
        assert schedule is not None
        return self.times.table(schedule, from_micros(task.anchor))

    def _fire(self, task: Task) -> None:
        memory = self._memory
        found = self._table(task).due(from_micros(task.cursor), from_micros(memory.now))
        for skip in found.skipped:
            memory.batch.fires.append(
                rows.skipped(
                    memory, task, to_micros(skip.from_time), to_micros(skip.to_time), skip.reason.value
                )
            )
        task.cursor = to_micros(found.cursor)
        self._put(task, found.next)
        for instant in found.fires:
            self._fire_at(task, to_micros(instant))
        memory.batch.cursors.append(rows.cursor(task))

    def _fire_at(self, task: Task, logical_time: int) -> None:
        """One due instant: an execution, or an entry that says why not."""
        memory = self._memory
        if self.ledger.fired(task, logical_time) is not None:
            return
        try:
            wait = self.take_place(task)
        except Conflict:
            memory.batch.fires.append(
                rows.skipped(memory, task, logical_time, logical_time, SkipReason.OVERLAP.value)
            )
            return
        schedule = task.definition.schedule
        until = logical_time
        if schedule is not None and schedule.jitter:
            until += delay_of(task.id, logical_time, schedule.jitter) // timedelta.resolution
        if until > memory.now and not wait:
            execution = self._lifecycle.create_later(
                task, until, logical_time=logical_time, actor="scheduler"
            )
        else:
            execution = self._lifecycle.create(
                task, TriggerType.SCHEDULE, actor="scheduler", logical_time=logical_time, wait=wait
            )
        self.ledger.note(task, logical_time)
        memory.batch.fires.append(rows.fired(memory, task, logical_time, execution.id))

    def _put(self, task: Task, found: datetime | None) -> None:
        task.next_fire = to_micros(found)
        if task.next_fire is not None:
            heapq.heappush(self._heap, (task.next_fire, task.id))

    def _watch_hands(self) -> None:
        """Compare the wall clock with the monotonic one: a step back voids what was written for later (SEMANTICS §6.7)."""
        wall, monotonic = self._memory.now, self._memory.clock.monotonic()
        if self._hands is not None:
            expected = self._hands[0] + int((monotonic - self._hands[1]) * 1e6)
            if wall < expected - int(STEP_BACK * 1e6):
                self._set_back(expected)
        self._hands = (wall, monotonic)

    def _set_back(self, until: int) -> None:
        """The clock stood at `until` and stands at `now`: cursors return, fired instants stay fired."""
        memory = self._memory
        memory.batch.void_after = memory.now
        seconds = (until - memory.now) / 1e6
        memory.batch.audit.append(
            rows.noted(memory, "clock_set_back", "scheduler", detail=f"by {seconds:.3f} seconds")
        )
        for task in memory.tasks.values():
            if task.cursor > memory.now:
                task.cursor = memory.now
                self.arm(task)
                memory.batch.cursors.append(rows.cursor(task))
            elif task.next_fire is not None:
                self.arm(task)
