"""How does a command reach the server of a data folder?"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx

from zquant_flow.cli.runs import choose
from zquant_flow.config import Settings
from zquant_flow.errors import BadRequest

PREFIX = "/api/v1/scheduler"


class Remote:
    """A live server, as `run` needs it."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        token = settings.token()
        self._client = httpx.Client(
            base_url=url + PREFIX, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    @classmethod
    def find(cls, settings: Settings) -> Remote | None:
        """The server of this data folder, if one answers."""
        try:
            url = json.loads((settings.data_dir / "server.json").read_text())["url"]
            httpx.get(f"{url}/healthz", timeout=2, trust_env=False).raise_for_status()
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return None
        return cls(settings, url)

    def name_of(self, path: Path | None, target: str) -> str:
        """The task that is meant; of a file, the one that the server has loaded from it."""
        tasks = self._get("/tasks", limit=1000)["tasks"]
        if path is None:
            if all(task["name"] != target for task in tasks):
                raise BadRequest(f"the server has no task named {target!r}")
            return target
        relative = path.absolute().relative_to(self._settings.tasks_dir).as_posix()
        for error in self._get("/load-errors")["load_errors"]:
            if error["path"] == relative:
                raise BadRequest(f"{path}:{error['line']}:{error['column']}: {error['message']}")
        found = [task for task in tasks if task["source"] == relative]
        workflows = [task["name"] for task in found if task["task_type"] == "workflow"]
        return choose(path, [task["name"] for task in found], workflows)

    def trigger(self, name: str, params: dict[str, Any]) -> int:
        [task] = [task for task in self._get("/tasks", q=name, limit=1000)["tasks"] if task["name"] == name]
        answer = self._client.post(f"/tasks/{task['id']}/trigger", json={"params": params})
        return int(self._checked(answer)["execution_id"])

    def execution(self, execution_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self._get(f"/executions/{execution_id}", include="children")
        return found

    def log(self, execution_id: int, attempt: int) -> str:
        return self._client.get(f"/executions/{execution_id}/log", params={"attempt": attempt}).text

    def terminate(self, execution_id: int) -> None:
        self._checked(self._client.post(f"/executions/{execution_id}/terminate"))

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, **query: Any) -> Any:
        return self._checked(self._client.get(path, params=query))

    def _checked(self, answer: httpx.Response) -> Any:
        body = answer.json()
        if answer.is_error:
            raise BadRequest(str(body.get("detail", answer.text)))
        return body
