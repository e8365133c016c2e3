"""What does the backend need to know of an attempt? (docs/architecture.md: the wire)"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import Action, Isolation
from zquant_flow.engine.memory import Execution
from zquant_flow.engine.templates import is_template, render
from zquant_flow.errors import DefinitionError
from zquant_flow.logs import log_path
from zquant_flow.runner.words import needs_shell, split_command

Order = dict[str, Any]


class Orders:
    """Makes orders. `entries`: where a worker finds each executor's class; `bundle_folder`: where sources are unpacked."""

    def __init__(
        self,
        *,
        tasks_dir: Path,
        data_dir: Path,
        entries: Mapping[str, str],
        bundle_folder: Callable[[str], str],
    ) -> None:
        self._tasks_dir = tasks_dir
        self._data_dir = data_dir
        self._entries = entries
        self._bundle_folder = bundle_folder

    def order(self, execution: Execution) -> Order:
        """The order for the execution's next attempt.

        Raises ParamsError where a template leads nowhere, DefinitionError where nobody can carry the action out.
        """
        action = execution.action
        assert action is not None
        order: Order = {
            "id": execution.id,
            "attempt": execution.retry_count + 1,
            "executor": action.executor,
            "config": action.config,
            "params": execution.params,
            "env": action.env,
            "cwd": str(self._tasks_dir / execution.task.folder / (action.working_dir or "")),
            "timeout": action.timeout.total_seconds() if action.timeout is not None else None,
            "isolation": action.isolation.value,
            "log": str(log_path(self._data_dir, execution.id, execution.retry_count + 1)),
            "task": execution.task.name,
        }
        if execution.logical_time is not None:
            order["logical_time"] = from_micros(execution.logical_time).isoformat()
        if execution.parent is not None and execution.parent.run is not None:
            order["node"] = execution.parent.run.plan.names[execution.node]
        if action.executor == "command":
            order["config"] = self._command(action, execution, order)
        else:
            self._add_code(action, execution, order)
        return order

    def _command(self, action: Action, execution: Execution, order: Order) -> Mapping[str, Any]:
        command, shell = action.config.get("command"), action.config.get("shell")
        if isinstance(command, str):
            if shell is not False and (shell or needs_shell(command)):
                return action.config
            if not is_template(command):
                return action.config
            command = split_command(command, shell)
        assert isinstance(command, list)
        scope = _scope(execution, order)
        return {"command": [render(word, scope) if is_template(word) else word for word in command]}

    def _add_code(self, action: Action, execution: Execution, order: Order) -> None:
        if execution.definition.bundle is not None:
            order["bundle"] = self._bundle_folder(execution.definition.bundle)
        if action.executor == "python":
            return
        entry = self._entries.get(action.executor)
        if entry is None:
            raise DefinitionError(f"executor {action.executor!r} is not installed here")
        order["entry"] = entry
        order["isolation"] = Isolation(action.isolation).value


def _scope(execution: Execution, order: Order) -> dict[str, Any]:
    logical: datetime | None = from_micros(execution.logical_time)
    nodes = execution.parent.run.results if execution.parent and execution.parent.run else {}
    return {
        "params": execution.params,
        "nodes": nodes,
        "logical_time": logical,
        "execution": {"id": execution.id, "attempt": order["attempt"], "task": execution.task.name},
    }
