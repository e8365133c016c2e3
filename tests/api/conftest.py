"""A whole scheduler in this process, over real files, database and runner, and a client of its API."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.databases import KINDS, fresh_database
from zquant_flow.api.app import PREFIX, create_app
from zquant_flow.api.control import Control
from zquant_flow.config import load_settings
from zquant_flow.engine.assembly import Scheduler, assemble

TOKEN = "a-token-of-the-tests"
_numbers = itertools.count(1)


class Api:
    """The API as a client sees it; paths are below the prefix."""

    def __init__(self, client: TestClient, scheduler: Scheduler) -> None:
        self.client = client
        self.scheduler = scheduler
        self.tasks = scheduler.settings.tasks_dir

    def __call__(self, method: str, path: str, *, status: int | None = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        answer = self.client.request(method, PREFIX + path, headers=headers, **options)
        if status is not None:
            assert answer.status_code == status, answer.text
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer

    def file(self, name: str, text: str) -> None:
        """Put a file into the tasks folder, and wait until it has been taken."""
        (self.tasks / name).write_text(text, encoding="utf-8")
        self.scheduler.folder.load_now([name])

    def ended(self, execution_id: int) -> dict[str, Any]:
        """The execution, once it has ended."""
        return until(lambda: _final(self("GET", f"/executions/{execution_id}?include=attempts,children")))


def _final(execution: dict[str, Any]) -> dict[str, Any] | None:
    return execution if execution["status"] not in ("pending", "running", "paused") else None


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to be in time")


def fresh(prefix: str = "t") -> str:
    """A name that no other test has."""
    return f"{prefix}-{next(_numbers)}"


def make(api: Api, **keys: Any) -> dict[str, Any]:
    """A new task; a manual one that does nothing, but for what the keys say."""
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}, **keys}
    found: dict[str, Any] = api("POST", "/tasks", json=body, status=201)
    return found


def status_of(api: Api, method: str, path: str, body: str = "") -> int:
    """The status that exactly this text gets as an answer."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = api.client.request(method, PREFIX + path, content=body.encode(), headers=headers)
    return int(answer.status_code)


@pytest.fixture(scope="module", params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of each kind."""
    with fresh_database(request.param, tmp_path_factory.mktemp("database")) as url:
        yield url


@pytest.fixture(scope="module")
def scheduler(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    folder: Path = tmp_path_factory.mktemp("api")
    settings = load_settings(
        database_url=database_url,
        tasks_dir=folder / "tasks",
        plugins_dir=folder / "plugins",
        data_dir=folder / "data",
        admin_token=TOKEN,
        shutdown_grace=1.0,
        timezone="Asia/Shanghai",
    )
    made = assemble(settings)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def api(scheduler: Scheduler) -> Iterator[Api]:
    control = Control(
        engine=scheduler.engine,
        operations=scheduler.operations,
        authored=scheduler.authored,
        plugged=scheduler.plugged,
        folder=scheduler.folder,
        database=scheduler.database,
        data_dir=scheduler.settings.data_dir,
        zone=scheduler.settings.zone,
        token=TOKEN,
        secret=scheduler.settings.own_secret,
    )
    with TestClient(
        create_app(control), raise_server_exceptions=False, client=("127.0.0.1", 50000)
    ) as client:
        yield Api(client, scheduler)
