"""Has this instant fired already? What the scheduler asks of the rows, and no more often than it must."""

from __future__ import annotations

from collections.abc import Iterable

from zquant_flow.engine.memory import Task
from zquant_flow.store import queries
from zquant_flow.store.database import Database


class Ledger:
    """The fired instants. One question of the database for all tasks that are due for the first time in a term, then memory."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def learn(self, tasks: Iterable[Task]) -> None:
        """Ask once for the newest fired instants of these tasks."""
        unknown = {task.id: task for task in tasks if task.seen_until is None}
        if unknown:
            for task_id, moment in queries.newest_fired(self._database, list(unknown)).items():
                unknown[task_id].seen_until = moment

    def fired(self, task: Task, logical_time: int) -> int | None:
        """The execution that this instant has; None if it has none."""
        self.learn((task,))
        if task.seen_until is not None and logical_time > task.seen_until:
            return None
        return queries.fired(self._database, task.id, logical_time)

    def note(self, task: Task, logical_time: int) -> None:
        """This instant fires in this turn."""
        self.learn((task,))
        task.seen_until = max(task.seen_until or 0, logical_time)
