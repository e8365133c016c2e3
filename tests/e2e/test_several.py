"""Several processes on one database: each serves the whole API, whoever decides."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import fresh_database
from tests.e2e.serving import until
from tests.faults.world import World


class Caller:
    """A client of one of the servers."""

    def __init__(self, world: World) -> None:
        self._url = json.loads((world.data / "server.json").read_text())["url"]
        self._token = (world.data / "admin.token").read_text().strip()

    def hook(self, path: str, secret: str) -> tuple[int, Any]:
        """The answer to a request to a webhook, which is signed and has no token."""
        body = b'{"n": 7}'
        sign = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={sign}", "X-GitHub-Delivery": "d-1"}
        request = urllib.request.Request(self._url + path, method="POST", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        reads, method = method == "LOG", "GET" if method == "LOG" else method
        request = urllib.request.Request(
            f"{self._url}/api/v1/scheduler{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text and not reads else text or None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    folder = tmp_path_factory.mktemp("several")
    with fresh_database("postgresql", folder) as url:
        first, second = (World(folder / name, seed=5, url=url, tasks=0) for name in ("one", "two"))
        for world in (first, second):
            (world.tasks / "w.yaml").unlink()
        secret = {"ZQUANT_FLOW_SECRET_KEY": "the same everywhere"}
        first.start(ZQUANT_FLOW_THREAD_POOL_SIZE="1", **secret)  # so that it hands over what it may
        first.wait_ready()
        second.start(**secret)
        second.wait_ready()
        yield first, second
        assert second.stop() == 0
        assert first.stop() == 0


@pytest.fixture(scope="module")
def leader(pair: tuple[World, World]) -> Caller:
    return Caller(pair[0])


@pytest.fixture(scope="module")
def follower(pair: tuple[World, World]) -> Caller:
    return Caller(pair[1])


def made(call: Caller, name: str, **config: Any) -> int:
    status, task = call(
        "POST", "/tasks", {"name": name, "task_type": "manual_task", "config": {"command": "true", **config}}
    )
    assert status == 201, task
    return int(task["id"])


def test_a_task_made_on_one_is_seen_changed_and_run_on_the_other(leader: Caller, follower: Caller) -> None:
    task_id = made(follower, "made-there")
    assert leader("GET", f"/tasks/{task_id}")[1]["name"] == "made-there"
    status, changed = follower("PUT", f"/tasks/{task_id}", {"description": "changed"})
    assert (status, changed["description"]) == (200, "changed")
    status, triggered = follower("POST", f"/tasks/{task_id}/trigger", {})
    assert status == 200, triggered
    execution = triggered["execution_id"]
    until(lambda: leader("GET", f"/executions/{execution}")[1]["status"] == "success", "its end")
    assert follower("GET", f"/executions/{execution}")[1]["status"] == "success"
    assert follower("GET", f"/tasks/{task_id}/explain")[0] == 200
    assert follower("DELETE", f"/tasks/{task_id}")[0] in (200, 204)
    assert leader("GET", f"/tasks/{task_id}")[1]["archived_time"] is not None


def test_errors_come_through_as_they_are(leader: Caller, follower: Caller) -> None:
    assert follower("POST", "/tasks/999999/trigger", {})[0] == 404
    status, answer = follower("POST", "/tasks", {"name": "bad", "task_type": "manual_task", "confg": {}})
    assert (status, answer) == leader(
        "POST", "/tasks", {"name": "bad", "task_type": "manual_task", "confg": {}}
    )
    assert status == 422


def test_who_asks_through_another_process_is_named(leader: Caller, follower: Caller) -> None:
    status, token = follower("POST", "/tokens", {"name": "robot"})
    assert status == 201
    robot = Caller.__new__(Caller)
    robot._url, robot._token = follower._url, token["token"]
    task_id = made(robot, "of-robot")
    assert leader("GET", f"/tasks/{task_id}")[1]["created_by"] == "robot"
    robot._token = "wrong"
    assert robot("POST", f"/tasks/{task_id}/trigger", {})[0] == 401


def test_a_webhook_is_called_through_any_of_them_and_runs_once(leader: Caller, follower: Caller) -> None:
    body = {"name": "hooked", "config": {"command": "true"}, "webhook": "several"}
    task_id = leader("POST", "/tasks", body)[1]["id"]
    old = until(lambda: (it := follower("GET", f"/tasks/{task_id}/hook"))[0] == 200 and it[1], "the webhook")
    hook = follower("POST", f"/tasks/{task_id}/hook/rotate")[1]
    assert follower.hook(hook["path"], old["secret"])[1]["code"] == "bad_signature"
    status, answer = follower.hook(hook["path"], hook["secret"])
    assert status == 202, answer
    assert leader.hook(hook["path"], hook["secret"]) == (202, answer)
    execution = leader("GET", f"/executions/{answer['execution_id']}")[1]
    assert (execution["created_by"], execution["event"]["body"]) == ("hook:several", {"n": 7})


def test_lists_are_the_same_everywhere(leader: Caller, follower: Caller) -> None:
    made(leader, "listed")
    for path in ("/tasks", "/executions", "/load-errors", "/upcoming", "/stats"):
        mine, theirs = leader("GET", path), follower("GET", path)
        assert mine[0] == theirs[0] == 200
        assert mine[1].keys() == theirs[1].keys()
    assert leader("GET", "/tasks")[1] == follower("GET", "/tasks")[1]


def test_a_log_is_read_through_any_of_them(leader: Caller, follower: Caller) -> None:
    task_id = made(leader, "talks", command="echo said-on-the-other")
    until(
        lambda: any(row["slots"] for row in leader("GET", "/engines")[1]["engines"][1:]), "places over there"
    )
    execution = leader("POST", f"/tasks/{task_id}/trigger", {})[1]["execution_id"]
    until(lambda: leader("GET", f"/executions/{execution}")[1]["status"] == "success", "its end")
    for call in (leader, follower):
        assert call("LOG", f"/executions/{execution}/log") == (200, "said-on-the-other\n")
        assert "said-on-the-other" in call("LOG", f"/executions/{execution}/log/stream")[1]


def test_who_works_on_the_database_is_told(leader: Caller, follower: Caller) -> None:
    engines = follower("GET", "/engines")[1]["engines"]
    assert [(row["leads"], row["alive"], row["drift"]) for row in engines] == [
        (True, True, 0),
        (False, True, 0),
    ]


def test_a_folder_that_differs_is_told_and_gets_nothing(
    pair: tuple[World, World], leader: Caller, follower: Caller
) -> None:
    odd = pair[1].tasks / "odd.yaml"
    odd.write_text("name: odd\ncommand: 'true'\n")

    def drift() -> int:
        return int(leader("GET", "/engines")[1]["engines"][1]["drift"])

    until(lambda: drift() == 1, "the word that it differs", 20)
    task_id = made(leader, "stays", command="echo here")

    def runs_here() -> bool:
        execution = leader("POST", f"/tasks/{task_id}/trigger", {})[1]["execution_id"]
        until(lambda: leader("GET", f"/executions/{execution}")[1]["status"] == "success", "its end")
        return any((pair[0].data / "logs").rglob(f"{execution}-1.log"))

    until(runs_here, "an execution that is not handed over")
    odd.unlink()


def test_what_a_request_made_is_there_after_its_scheduler_is_gone_and_what_it_deleted_is_not(
    tmp_path: Path,
) -> None:
    with fresh_database("postgresql", tmp_path) as url:
        first, second = (World(tmp_path / name, seed=5, url=url, tasks=0) for name in ("one", "two"))
        for world in (first, second):
            (world.tasks / "w.yaml").unlink()
            world.start(ZQUANT_FLOW_LEASE_SECONDS="2")
            world.wait_ready()
        call = Caller(second)
        kept, deleted = made(call, "kept"), made(call, "deleted")
        until(lambda: len(list(second.tasks.glob("*.yaml"))) == 2, "both files over there", 20)
        call("PUT", f"/tasks/{kept}", {"description": "changed"})
        call("DELETE", f"/tasks/{deleted}")
        first.kill()
        until(lambda: call("GET", "/engines")[1]["engines"][1]["leads"], "the other one's lead", 20)
        until(lambda: "folder" in (second.root / "stderr").read_text(), "its folder's turn")
        task = until(lambda: call("POST", f"/tasks/{kept}/trigger", {})[1], "an execution")
        assert "execution_id" in task
        assert call("GET", f"/tasks/{kept}")[1]["description"] == "changed"
        assert [row["name"] for row in call("GET", "/tasks")[1]["tasks"]] == ["kept"]
        assert [path.read_text().count("changed") for path in second.tasks.glob("*.yaml")] == [1]
        assert second.stop() == 0


def test_a_scheduler_without_http_is_driven_through_an_api_without_scheduler(tmp_path: Path) -> None:
    with fresh_database("postgresql", tmp_path) as url:
        decides, serves = (World(tmp_path / name, seed=5, url=url, tasks=0) for name in ("decides", "serves"))
        (decides.tasks / "w.yaml").write_text("name: greet\ncommand: echo hello\n")
        serves.start("api")
        serves.wait_ready()
        call = Caller(serves)
        assert call("GET", "/tasks")[1]["total"] == 0
        decides.start("scheduler")
        until(lambda: call("GET", "/tasks")[1]["total"] == 1, "the task", 30)
        execution = call("POST", "/tasks/1/trigger", {})[1]["execution_id"]
        until(lambda: call("GET", f"/executions/{execution}")[1]["status"] == "success", "its end")
        assert call("LOG", f"/executions/{execution}/log") == (200, "hello\n")
        assert "hello" in call("LOG", f"/executions/{execution}/log/stream")[1]
        assert decides.stop() == 0
        assert serves.stop() == 0


def test_an_api_on_an_sqlite_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    world = World(tmp_path / "one", seed=5, tasks=0)
    world.start("api")
    assert world.wait_death(30)
    assert "zquant-flow serve" in (world.root / "stderr").read_text()
