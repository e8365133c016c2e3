"""Where do fuzzed requests go? To a whole scheduler in this process, with something of everything in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from zquant_flow.api.app import PREFIX, create_app
from zquant_flow.api.control import Control
from zquant_flow.config import load_settings
from zquant_flow.engine.assembly import Scheduler, assemble

TOKEN = "a-token-of-the-fuzz-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
FINAL = ("success", "failed", "completed", "terminated", "skipped")


class World:
    """A scheduler, its application, and the ids of what was put into it."""

    def __init__(self, scheduler: Scheduler, app: FastAPI, client: TestClient) -> None:
        self.scheduler, self.app, self.client = scheduler, app, client
        self.pairs: list[tuple[int, int]] = []
        """Tasks, each with one of its executions."""
        self._made = 0

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of an answer that has to be a success."""
        answer = self.client.request(method, PREFIX + path, json=body, headers=AUTHORIZED, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def populate(self) -> None:
        """One more task of each kind, with executions that succeeded, failed, and run."""
        self._made += 1
        made = [
            self.ask("POST", "/tasks", {**body, "name": f"{body['name']}-{self._made}"}) for body in KINDS
        ]
        started = [self.ask("POST", f"/tasks/{task['id']}/trigger")["execution_id"] for task in made]
        self.settle(started[:-1])
        self.pairs = [(task["id"], execution) for task, execution in zip(made, started, strict=True)]

    def settle(self, execution_ids: list[int]) -> None:
        """Wait until these have ended."""
        until(lambda: all(self.ask("GET", f"/executions/{i}")["status"] in FINAL for i in execution_ids))


KINDS: tuple[dict[str, Any], ...] = (
    {"name": "manual", "task_type": "manual_task", "config": {"command": "echo hello"}},
    {"name": "cron", "cron_expression": "0 18 * * 1-5", "config": {"command": "true"}, "tags": ["market"]},
    {"name": "fails", "task_type": "manual_task", "max_retries": 0, "config": {"command": "false"}},
    {
        "name": "flow",
        "workflow_type": "parallel",
        "tasks": [
            {"name": "one", "command": "true"},
            {"name": "two", "command": "true", "dependencies": ["one"]},
        ],
    },
    {"name": "long", "task_type": "manual_task", "config": {"command": "sleep 60"}},
)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.01)
    return found


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A populated world over a folder of its own. Its streams end when they have told what there is."""
    settings = load_settings(
        tasks_dir=folder / "tasks",
        data_dir=folder / "data",
        admin_token=TOKEN,
        shutdown_grace=0.2,
        thread_pool_size=20,
        timezone="Asia/Shanghai",
    )
    scheduler = assemble(settings)
    scheduler.start()
    try:
        control = control_of(scheduler)
        control.feed.close()
        app = create_app(control)
        with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 50000)) as client:
            made = World(scheduler, app, client)
            made.populate()
            yield made
    finally:
        scheduler.stop()


def control_of(scheduler: Scheduler) -> Control:
    """What the API stands on."""
    return Control(
        engine=scheduler.engine,
        operations=scheduler.operations,
        authored=scheduler.authored,
        plugged=scheduler.plugged,
        folder=scheduler.folder,
        database=scheduler.database,
        data_dir=scheduler.settings.data_dir,
        zone=scheduler.settings.zone,
        token=TOKEN,
    )
