"""When is progress written, and what does it say of the end?

At most four times a second for an execution, whatever its work tells: what comes in between costs memory, no commit. The
last word is always written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zquant_flow.core.estimates import seconds_left
from zquant_flow.core.status import Status
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Execution, Memory

INTERVAL = 0.25
"""Seconds between two writes."""


class Reports:
    """Progress on its way into the rows. Owned by the engine's thread.

    `wake(seconds, what)` calls `what` in the engine's thread after so many seconds. `of_workflow` says how far a workflow
    is: its share, how long it usually takes, and the facts to write.
    """

    def __init__(
        self,
        memory: Memory,
        wake: Callable[[float, Callable[[], None]], None],
        of_workflow: Callable[[Execution], tuple[float, float | None, dict[str, Any]]],
    ) -> None:
        self._memory = memory
        self._wake = wake
        self._of_workflow = of_workflow
        self._due: dict[int, Execution] = {}
        self._is_armed = False

    def forget(self) -> None:
        """Nothing is to be written, and no call is under way."""
        self._due.clear()
        self._is_armed = False

    def take(self, execution: Execution, facts: dict[str, Any]) -> None:
        """What its attempt tells: the newest counts. The workflows around it are further, too."""
        execution.news = facts = {"percent": _percent_of(facts), **facts}
        if facts["percent"] is not None:
            execution.percent = rows.percent(facts["percent"])
        self.note(execution)
        above = execution.parent
        while above is not None:
            self.note(above)
            above = above.parent

    def note(self, execution: Execution) -> None:
        """Its progress has changed: write it now, or as soon as it may be written again."""
        if self._memory.clock.monotonic() - execution.reported >= INTERVAL:
            self.write(execution)
            return
        self._due[execution.id] = execution
        self._arm(INTERVAL)

    def write(self, execution: Execution) -> None:
        """Write it in this turn."""
        self._due.pop(execution.id, None)
        facts = self._facts(execution)
        if facts is None:
            return
        execution.reported = self._memory.clock.monotonic()
        self._memory.batch.progress.append(rows.progressed(self._memory, execution, facts))

    def write_last(self, execution: Execution) -> None:
        """Its attempt has ended: what has come and was not written yet."""
        if execution.id in self._due:
            self.write(execution)
        execution.news = None

    def _arm(self, seconds: float) -> None:
        if not self._is_armed:
            self._is_armed = True
            self._wake(seconds, self._write_due)

    def _write_due(self) -> None:
        self._is_armed = False
        now = self._memory.clock.monotonic()
        for execution in list(self._due.values()):
            if self._memory.executions.get(execution.id) is not execution:
                del self._due[execution.id]
            elif now - execution.reported >= INTERVAL:
                self.write(execution)
        if self._due:
            self._arm(INTERVAL)

    def _facts(self, execution: Execution) -> dict[str, Any] | None:
        if execution.run is not None:
            share, usual, facts = self._of_workflow(execution)
            return facts | self._estimated(execution, execution.started_monotonic, share, usual)
        facts = dict(execution.news or {})
        if not facts:
            return None
        if "estimated_end" not in facts and execution.percent:
            facts |= self._estimated(execution, execution.attempt_monotonic, execution.percent / 100, None)
        return facts

    def _estimated(
        self, execution: Execution, since: float, share: float, usual: float | None
    ) -> dict[str, Any]:
        """When it will have ended; nobody can tell while it stands still."""
        if execution.status is not Status.RUNNING or execution.id not in self._memory.executions:
            return {"estimated_end": None}
        elapsed = self._memory.clock.monotonic() - since - execution.stood_still
        left = seconds_left(max(0.0, elapsed), share, usual)
        if left is None or share >= 1:
            return {"estimated_end": None}
        return {"estimated_end": self._memory.now + int(left * 1e6)}


def _percent_of(facts: Mapping[str, Any]) -> float | None:
    """From what was counted, where no per cent are told."""
    processed, total = rows.count(facts.get("processed_items")), rows.count(facts.get("total_items"))
    return min(100.0, 100.0 * processed / total) if processed is not None and total else None
