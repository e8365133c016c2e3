"""How does an attempt wait for something elsewhere without a place? It looks, says when to look again, and keeps a handle.

Between two looks the execution is `pending`, waits for `check`, and still in the same attempt: its timeout runs on, its log goes on. What it has
a handle of runs elsewhere whatever happens here, so a lost look is done again, and an end means to end that too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from zquant_flow.core.status import Status, advance
from zquant_flow.engine import rows
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.memory import Execution, Memory

CHECK = "check"
SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 366 * 86_400.0
MOST_LOSSES = 3
"""So many looks in a row may be lost before the attempt counts as lost."""
CLEANUP_SECONDS = 60.0
"""So long the end of what runs elsewhere may take."""


class Steps(Protocol):
    """What the lifecycle does for it."""

    def wait_until(self, execution: Execution, seconds: float) -> None: ...
    def mark_running(self, execution: Execution) -> None: ...
    def occupy(self, execution: Execution) -> None: ...
    def attempt_over(self, execution: Execution, outcome: dict[str, Any]) -> None: ...


class Deferring:
    """Attempts between two looks. Owned by the engine's thread."""

    def __init__(self, memory: Memory, dispatcher: Dispatcher, steps: Steps) -> None:
        self._memory, self._dispatcher, self._steps = memory, dispatcher, steps

    def keep(self, execution: Execution, handle: str) -> None:
        """Its attempt has begun something elsewhere; `handle` (JSON) finds it again."""
        if handle != execution.handle:
            execution.handle = handle
            self._write(execution)

    def defer(self, execution: Execution, seconds: float) -> None:
        """Look again in so many seconds; its place is free meanwhile."""
        execution.losses = 0
        if execution.terminating is not None:  # it came between the look and the wish
            self.end(execution, execution.terminating)
            return
        left = self._seconds_left(execution)
        if left <= 0:
            self.end(execution, "timeout")
            return
        self._wait(execution, min(max(SHORTEST_SECONDS, seconds), LONGEST_SECONDS, left))

    def look(self, execution: Execution) -> bool:
        """The wait is over: whether to look now. If not, its time is over, and it is being ended."""
        if self._seconds_left(execution) > 0:
            return True
        self.end(execution, "timeout")
        return False

    def look_again(self, execution: Execution) -> bool:
        """A look was lost: whether it is done again, which costs no retry. Not for ever: it may be what kills its carrier."""
        execution.losses += 1
        if execution.handle is None or execution.losses > MOST_LOSSES:
            return False
        if execution.terminating is not None:
            self.end(execution, execution.terminating)
        else:
            self._wait(execution, 0.0)
        return True

    def end(self, execution: Execution, why: str) -> None:
        """End it between two looks: at once, or after a last order that ends what runs elsewhere."""
        steps = self._steps
        if execution.status is Status.PENDING:
            steps.mark_running(execution)
        execution.ending = why
        if execution.handle is not None:
            execution.time_left = CLEANUP_SECONDS
            steps.occupy(execution)
            return
        steps.attempt_over(execution, self._outcome(execution))

    def forget(self, execution: Execution) -> None:
        """Another attempt begins: nothing is known of one elsewhere."""
        if execution.checks or execution.handle is not None:
            execution.handle, execution.checks, execution.losses = None, 0, 0
            self._write(execution)
        execution.ending, execution.time_left = None, None

    def whole(self, execution: Execution, outcome: dict[str, Any]) -> dict[str, Any]:
        """The outcome of the last look as that of the whole attempt."""
        if execution.ending is not None:
            outcome = {**outcome, "kind": _kind(execution.ending)}
        action = execution.action
        if outcome["kind"] == "timeout" and action is not None and action.timeout is not None:
            outcome = {**outcome, "error": f"timeout after {action.timeout / timedelta(seconds=1):g} s"}
        if execution.checks and execution.attempt_start is not None:
            seconds = max(0.0, (outcome["ended"] - execution.attempt_start) / 1e6)
            outcome = {**outcome, "started": execution.attempt_start, "seconds": seconds}
        return outcome

    def _wait(self, execution: Execution, seconds: float) -> None:
        memory = self._memory
        execution.status = advance(execution.status, Status.PENDING)
        execution.waiting_for = CHECK
        until = memory.now + int(seconds * 1e6)
        memory.updates(execution).waiting.append(rows.waiting(memory, execution, until))
        execution.checks += 1
        self._write(execution)
        self._steps.wait_until(execution, seconds)

    def _seconds_left(self, execution: Execution) -> float:
        action = execution.action
        if action is None or action.timeout is None:
            return float("inf")
        elapsed = self._memory.clock.monotonic() - execution.attempt_monotonic
        left = action.timeout / timedelta(seconds=1) - elapsed
        execution.time_left = max(1.0, left)
        return left

    def _outcome(self, execution: Execution) -> dict[str, Any]:
        now = self._memory.now
        return {
            "id": execution.id,
            "attempt": execution.retry_count + 1,
            "kind": _kind(execution.ending or ""),
            "started": execution.attempt_start or now,
            "ended": now,
        }

    def _write(self, execution: Execution) -> None:
        self._memory.updates(execution).handles.append(rows.handled(self._memory, execution))


def _kind(why: str) -> str:
    """As what an attempt ends that is ended for this reason."""
    return why if why == "timeout" else "terminated"
