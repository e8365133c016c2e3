"""Has this instant fired already? What the scheduler asks of the rows, and no more often than it must."""

from __future__ import annotations

from zquant_flow.engine.memory import Task
from zquant_flow.store import queries
from zquant_flow.store.database import Database


class Ledger:
    """The fired instants. One question of the database for each task and term, then memory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fired(self, task: Task, logical_time: int) -> int | None:
        """The execution that this instant has; None if it has none."""
        if task.seen_until is None:
            task.seen_until = queries.newest_fired(self._database, task.id)
        if logical_time > task.seen_until:
            return None
        return queries.fired(self._database, task.id, logical_time)

    def note(self, task: Task, logical_time: int) -> None:
        """This instant fires in this turn."""
        task.seen_until = max(task.seen_until or 0, logical_time)
