"""How does `run` hand a run over to the server of a data folder?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zquant_flow.cli.following import states
from zquant_flow.cli.language import language
from zquant_flow.cli.runs import choose, fault_at
from zquant_flow.client import Client, NoServer
from zquant_flow.config import Settings
from zquant_flow.errors import BadRequest


class Remote:
    """A live server, as `run` needs it."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client

    @classmethod
    def find(cls, settings: Settings) -> Remote | None:
        """The server of this data folder, if one answers."""
        try:
            at_home = settings.model_copy(update={"server_url": ""})
            return cls(settings, Client.find(at_home, language=language()))
        except NoServer:
            return None

    def name_of(self, path: Path | None, target: str) -> str:
        """The task that is meant; of a file, the one that the server has loaded from it."""
        if path is None:
            return self._client.get_task(target).name
        relative = path.absolute().relative_to(self._settings.tasks_dir).as_posix()
        for error in self._client.list_load_errors().load_errors:
            if error.path == relative:
                raise BadRequest(fault_at(str(path), error.line, error.column, error.message))
        found = [task for task in self._client.iter_tasks(source=relative) if task.source == relative]
        workflows = [task.name for task in found if task.task_type == "workflow"]
        return choose(path, [task.name for task in found], workflows)

    def trigger(self, name: str, params: dict[str, Any]) -> int:
        return self._client.trigger_task(name, params).execution_id

    def states(self, execution_id: int) -> Iterator[dict[str, Any]]:
        return states(self._client, execution_id)

    def log(self, execution_id: int, attempt: int) -> str:
        return self._client.read_log(execution_id, attempt=attempt).decode(errors="replace")

    def terminate(self, execution_id: int) -> None:
        self._client.terminate_execution(execution_id)

    def close(self) -> None:
        self._client.close()
