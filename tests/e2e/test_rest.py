"""Does the API keep its word: tasks become files, nobody gets in without a token, bad input is a 4xx that names its field?"""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.serving import until

OPEN = {"/healthz", "/readyz", "/metrics", "/hooks/{name}"}
"""What this machine may ask without a token, and what is signed in place of one."""


def document(client):
    return client.get("/openapi.json")


def routes(client):
    """Every method and path of the API's own document, with something in place of each parameter."""
    for path, methods in document(client)["paths"].items():
        filled = path.replace("{name}", "example")
        for parameter in ("{task_id}", "{execution_id}", "{backfill_id}"):
            filled = filled.replace(parameter, "1")
        for method in methods:
            yield method.upper(), path, filled


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}])
def test_no_route_but_the_open_ones_answers_without_the_token(client, headers):
    asked = 0
    with httpx.Client(base_url=client.url, headers=headers, trust_env=False) as anybody:
        for method, path, filled in routes(client):
            if path in OPEN:
                continue
            answer = anybody.request(method, filled)
            assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
            assert answer.json()["code"] == "unauthorized"
            asked += 1
    assert asked >= 20


def test_every_answer_of_a_get_route_is_below_500(client):
    with httpx.Client(base_url=client.url, headers=client.http.headers, trust_env=False) as http:
        for method, path, filled in routes(client):
            if method == "GET" and not path.endswith("/stream"):
                assert http.get(filled).status_code < 500, path


def workflow(*nodes, **config):
    return {"task_type": "workflow", "config": {"tasks": list(nodes), **config}}


def node(name, *dependencies, **keys):
    return {"name": name, "command": "true", "dependencies": list(dependencies), **keys}


BAD = {
    "unknown key": ({"command": "true", "retires": 3}, "retires"),
    "no name": ({"name": None, "command": "true"}, "name"),
    "empty name": ({"name": "", "command": "true"}, "name"),
    "name is a number": ({"name": 5, "command": "true"}, "name"),
    "name is too long": ({"name": "长" * 101, "command": "true"}, "name"),
    "cron beside interval": ({"command": "true", "cron": "* * * * *", "interval": 60}, "interval"),
    "cron beside interval, old words": (
        {"command": "true", "cron_expression": "* * * * *", "interval_seconds": 60},
        "interval_seconds",
    ),
    "30 February": ({"command": "true", "cron": "0 0 30 2 *"}, "cron"),
    "minute 61": ({"command": "true", "cron_expression": "61 * * * *"}, "cron_expression"),
    "interval 0": ({"command": "true", "interval_seconds": 0}, "interval_seconds"),
    "no instant": ({"command": "true", "run_at": "tomorrow"}, "run_at"),
    "two rules in one": (
        {"command": "true", "schedules": [{"cron": "* * * * *", "interval": 60}]},
        "schedules.0",
    ),
    "manual task with a cron": ({"command": "true", "task_type": "manual_task", "cron": "* * * * *"}, "cron"),
    "unknown zone": ({"command": "true", "cron": "@daily", "timezone": "Asia/Shangai"}, "timezone"),
    "retries are text": ({"command": "true", "max_retries": "three"}, "max_retries"),
    "retries below 0": ({"command": "true", "max_retries": -1}, "max_retries"),
    "enabled is text": ({"command": "true", "enabled": "maybe"}, "enabled"),
    "params are a list": ({"command": "true", "params": [1]}, "params"),
    "timeout is a word": ({"command": "true", "timeout": "soon"}, "timeout"),
    "command is a mapping": ({"command": {"a": 1}}, "command"),
    "command and python": ({"command": "true", "python": "a:b"}, "python"),
    "template in a shell": ({"command": "echo {{ params.x }} | cat"}, "command"),
    "unknown executor": ({"executor": "nothing"}, "executor"),
    "executor's config": ({"executor": "example", "config": {"steps": 0}}, "config.steps"),
    "cycle": (workflow(node("a", "b"), node("b", "a")), "config.tasks"),
    "waits for itself": (workflow(node("a", "a")), "config.tasks.0.dependencies.0"),
    "unknown dependency": (workflow(node("a", "extrat")), "config.tasks.0.dependencies.0"),
    "double node": (workflow(node("a"), node("a")), "config.tasks.1.name"),
    "node without work": (workflow({"name": "a"}), "config.tasks.0"),
    "unknown task_id": (workflow({"name": "a", "task_id": 999_999}), "config.tasks.0.task_id"),
    "unknown rule": (workflow(node("a"), on_failure="maybe"), "config.on_failure"),
}


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_bad_input_is_one_4xx_that_names_the_field(server, client, body, field):
    before = set(server.tasks.iterdir())
    answer = client.http.post("/tasks", json={"name": "bad", **body})
    assert answer.status_code in (400, 422), answer.text
    said = answer.json()
    assert said["code"] == "invalid_definition"
    assert [error["field"] for error in said["errors"]] == [field]
    assert said["errors"][0]["message"] in said["detail"]
    assert client.find("bad") is None
    assert set(server.tasks.iterdir()) == before


def test_a_name_in_use_is_a_conflict_that_says_so(client):
    said = client.post("/tasks", {"name": "demo", "command": "true"}, expect=409)
    assert (said["code"], "'demo'" in said["detail"]) == ("name_in_use", True)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff", b"", b'{"name": NaN}'])
def test_a_body_that_is_no_json_object_is_a_4xx(client, content):
    answer = client.http.post("/tasks", content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert {"code", "detail"} <= answer.json().keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"tasks": [{"task": "nobody"}]}, "tasks.0.task"), ({"config": {"comand": "true"}}, "config.comand")],
    ids=["unknown task", "unknown key in config"],
)
def test_what_a_refused_task_names_wrongly_is_told_and_leaves_no_file(server, client, body, field):
    before = set(server.tasks.iterdir())
    answer = client.http.post("/tasks", json={"name": "lonely", **body})
    left = set(server.tasks.iterdir()) - before
    for path in left:
        path.unlink()
    assert (answer.status_code // 100, left) == (4, set())
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_created_task_is_a_readable_file_and_survives_a_restart_as_one_version(start_server):
    server = start_server()
    body = {"name": "夜间 sync", "cron_expression": "0 18 * * 1-5", "config": {"command": "echo 完成"}}
    made = server.client.post("/tasks", body, expect=201)
    path = server.tasks / made["source"]
    assert made["source"] == f"{made['id']}-sync.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("name: 夜间 sync\n")
    assert "command: echo 完成\n" in text

    server.stop()
    client = server.start().client
    found = client.find("夜间 sync")
    for key in ("id", "version", "content_hash", "source", "cron_expression", "config", "max_retries"):
        assert found[key] == made[key], key
    assert found["version"] == 1
    assert path.read_text(encoding="utf-8") == text
    assert client.log(client.succeeded("夜间 sync")["id"]) == "完成\n"


def test_a_change_keeps_comments_replaces_the_schedule_and_a_delete_takes_the_file(start_server):
    server = start_server()
    client = server.client
    made = client.post("/tasks", {"name": "mine", "cron": "0 1 * * *", "command": "echo one"}, expect=201)
    path, url = server.tasks / made["source"], f"/tasks/{made['id']}"
    path.write_text("# by hand\n" + path.read_text())
    changed = client.put(url, {"interval_seconds": 3600})
    assert (changed["cron_expression"], changed["interval_seconds"], changed["version"]) == (None, 3600, 2)
    assert path.read_text().startswith("# by hand\n")
    assert "cron" not in path.read_text()

    said = client.put(url, {"cron_expression": "0 0 30 2 *"}, expect=400)
    assert said["errors"][0]["field"].startswith("cron")
    assert client.get(url)["version"] == 2

    server.kill()
    client = server.start().client
    assert {key: client.get(url)[key] for key in ("version", "interval_seconds")} == {
        "version": 2,
        "interval_seconds": 3600,
    }
    client.delete(url)
    assert not path.exists()
    assert client.find("mine") is None
    assert client.get(url)["archived_time"] is not None
    until(lambda: client.get("/load-errors")["total"] == 0, "no load error")


def test_a_python_task_is_changed_in_its_file_only(client):
    task = client.find("disk_report")
    said = client.put(f"/tasks/{task['id']}", {"cron_expression": "0 1 * * *"}, expect=409)
    assert (said["code"], said["source"]) == ("defined_in_file", "disk_report.py")
    said = client.delete(f"/tasks/{task['id']}", expect=409)
    assert said["code"] == "defined_in_file"
    assert client.post(f"/tasks/{task['id']}/disable")["enabled"] is False
    assert client.post(f"/tasks/{task['id']}/enable")["enabled"] is True
