"""Which of the attempts that could run start now?

Slots are places for running attempts; what waits is ordered by priority, then by arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from zquant_flow.engine.memory import Execution

Ready = tuple[Execution, int]
"""An execution to start (node -1), or a node of a workflow execution that has no execution yet."""


class Dispatcher:
    """The queue before the slots. Owned by the engine's thread."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running = 0
        self.open = True
        self._queues: dict[int, deque[Ready]] = {}
        self._priorities: list[int] = []

    def add(self, execution: Execution, node: int = -1, priority: int = 0) -> None:
        """Queue an execution, or a node of one."""
        queue = self._queues.get(priority)
        if queue is None:
            queue = self._queues[priority] = deque()
            self._priorities = sorted(self._queues, reverse=True)
        queue.append((execution, node))

    def release(self) -> None:
        """An attempt has ended: its slot is free."""
        self.running -= 1

    def take(self) -> Iterator[Ready]:
        """What may start now, in order; the taker calls `occupy` for each that really starts."""
        while self.open and self.running < self.slots:
            ready = self._next()
            if ready is None:
                return
            yield ready

    def occupy(self) -> None:
        """An attempt starts."""
        self.running += 1

    def forget(self) -> None:
        """Nothing waits and nothing runs."""
        self.running = 0
        self._queues.clear()
        self._priorities.clear()

    @property
    def waiting(self) -> int:
        """How many entries wait; some of them may have lost their reason meanwhile."""
        return sum(map(len, self._queues.values()))

    def _next(self) -> Ready | None:
        for priority in self._priorities:
            queue = self._queues[priority]
            if queue:
                return queue.popleft()
        return None
