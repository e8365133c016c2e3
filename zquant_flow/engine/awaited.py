"""What must an attempt be told that waits? A worker sees neither the database nor the definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import zone_of
from zquant_flow.engine.memory import Execution
from zquant_flow.store import awaited
from zquant_flow.store.database import Database

EXECUTOR = "wait"
"""The executor that is told it."""
MISSING = "awaited_task_missing"
"""The warning of a task that waits for one which is not there."""


class Awaited:
    """Finds out what an attempt of `wait` is told. Owned by the engine's thread."""

    def __init__(self, database: Database, zone: ZoneInfo) -> None:
        self._database = database
        self._zone = zone

    def facts(self, execution: Execution, config: Mapping[str, Any]) -> dict[str, Any]:
        """The keys for its order: the `zone` of its task, and of the task that it waits for what was `seen`."""
        facts: dict[str, Any] = {"zone": self._zone_of(execution).key}
        if isinstance(config.get("task"), str):
            facts["seen"] = self._seen(execution, config["task"], newest=config.get("since") is not None)
        return facts

    def _zone_of(self, execution: Execution) -> ZoneInfo:
        """That of its own schedule, else of the workflow's around it, else that of the service."""
        schedule = execution.definition.schedule or execution.root.definition.schedule
        return self._zone if schedule is None else zone_of(schedule, self._zone)

    def _seen(self, execution: Execution, name: str, *, newest: bool) -> dict[str, Any]:
        task_id = awaited.task_named(self._database, name)
        if task_id is None:
            return {"known": False}
        if newest:
            row = awaited.newest_success(self._database, task_id)
        elif execution.logical_time is not None:
            row = awaited.standing_for(self._database, task_id, execution.logical_time)
        else:
            row = None
        if row is None:
            return {"known": True}
        return {
            "known": True,
            "execution_id": row.id,
            "status": row.status,
            "logical_time": _text(row.logical_time),
            "ended": _text(row.end_time),
        }


def tasks_awaited(definition: TaskDef) -> set[str]:
    """The names of the tasks that an action of this definition waits for; those that only a template tells are not among them."""
    nodes = definition.workflow.nodes if definition.workflow is not None else ()
    actions = [definition.action, *(node.action for node in nodes)]
    names = {
        action.config.get("task") for action in actions if action is not None and action.executor == EXECUTOR
    }
    return {name for name in names if isinstance(name, str) and "{{" not in name}


def _text(moment: int | None) -> str | None:
    return None if moment is None else from_micros(moment).isoformat()
