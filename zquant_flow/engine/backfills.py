"""How do the executions of a backfill follow each other? At most `parallel` of them are active, oldest first.

All of them are written at once, `pending` and waiting for `backfill`, so that a crash loses none; the group itself is
rebuilt from their rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zquant_flow.core.status import Status, TriggerType
from zquant_flow.engine.memory import Execution, Memory, Task

WAITING = "backfill"


class Steps(Protocol):
    """What a backfill needs of `lifecycle`."""

    def prepare(
        self,
        task: Task,
        trigger_type: TriggerType,
        *,
        params: Mapping[str, Any] | None = ...,
        logical_time: int | None = ...,
    ) -> Execution: ...
    def admit(self, execution: Execution, actor: str) -> None: ...
    def wait_for_slot(self, execution: Execution) -> None: ...
    def proceed(self, execution: Execution) -> None: ...


@dataclass(slots=True)
class _Group:
    parallel: int
    waiting: deque[Execution] = field(default_factory=deque)
    active: int = 0


class Backfills:
    """The backfills under way. Owned by the engine's thread."""

    def __init__(self, memory: Memory, steps: Steps) -> None:
        self._memory = memory
        self._steps = steps
        self._groups: dict[int, _Group] = {}

    def forget(self) -> None:
        """Nothing is under way."""
        self._groups.clear()

    def begin(
        self,
        task: Task,
        moments: Sequence[int],
        *,
        span: tuple[int, int],
        parallel: int,
        params: Mapping[str, Any],
        actor: str,
    ) -> list[Execution]:
        """An execution for each of these logical times (microseconds, at least one); the first one's id is the backfill's."""
        group, made, number = _Group(parallel), [], 0
        for moment in moments:
            execution = self._steps.prepare(task, TriggerType.BACKFILL, params=params, logical_time=moment)
            number = number or execution.id
            execution.backfill = number
            self._steps.admit(execution, actor)
            _wait(execution)
            group.waiting.append(execution)
            made.append(execution)
        self._groups[number] = group
        self._memory.batch.backfills.append(
            {
                "id": number,
                "task_id": task.id,
                "from_time": span[0],
                "to_time": span[1],
                "parallel": parallel,
                "created_by": actor,
                "created_time": self._memory.now,
            }
        )
        self.go_on(number)
        return made

    def restore(self, execution: Execution, parallel: int) -> None:
        """An execution that was found in the rows belongs to its group again; `go_on` once all of them are there."""
        assert execution.backfill is not None
        group = self._groups.setdefault(execution.backfill, _Group(parallel))
        if execution.status is Status.PENDING and execution.waiting_for == WAITING:
            group.waiting.append(execution)
        else:
            group.active += 1

    def ended(self, execution: Execution) -> None:
        """One has ended, or will never start."""
        number = execution.backfill
        group = self._groups.get(number or 0)
        if number is None or group is None:
            return
        if execution.waiting_for != WAITING:
            group.active -= 1
        self.go_on(number)

    def go_on(self, number: int) -> None:
        """Start what may start."""
        group = self._groups[number]
        while group.waiting and group.active < group.parallel:
            execution = group.waiting.popleft()
            if self._memory.executions.get(execution.id) is not execution:
                continue  # terminated while it waited
            group.active += 1
            self._steps.wait_for_slot(execution)
            self._steps.proceed(execution)
        if not group.waiting and not group.active:
            self._groups.pop(number, None)

    def cancel(self, number: int) -> tuple[list[Execution], list[Execution]]:
        """Start nothing more of it: those that have not begun, for the caller to end, and those that have."""
        group = self._groups.get(number)
        if group is None:
            return [], []
        group.waiting.clear()
        active = [one for one in self._memory.executions.values() if one.backfill == number]
        unbegun = [one for one in active if _has_not_begun(one)]
        return unbegun, [one for one in active if not _has_not_begun(one)]

    def numbers(self) -> list[int]:
        """The backfills that have something left."""
        return list(self._groups)


def _has_not_begun(execution: Execution) -> bool:
    """Whether no attempt of it was ever made; of one that another engine has, nobody knows here."""
    return execution.status is Status.PENDING and execution.start_time is None and execution.engine is None


def _wait(execution: Execution) -> None:
    execution.waiting_for = WAITING
    assert execution.row is not None
    execution.row["waiting_for"] = WAITING
