"""Changing, renaming and deleting over REST: whole or not at all, and nothing is written but what was said."""

from __future__ import annotations

import json
import time
import unicodedata
from typing import Any

import pytest

from tests.api.conftest import Api, fresh, make, status_of, until


@pytest.mark.parametrize(
    "nodes",
    [
        [5],
        ["abc"],
        [None],
        [{"task_id": [1]}],
        [{"task_id": {}}],
        [{"name": "a", "command": "true", "dependencies": [7]}],
        [{"name": "a", "command": "true", "dependencies": 7}],
    ],
)
def test_odd_nodes_in_a_change_are_4xx(api: Api, nodes: Any) -> None:
    task = make(api, task_type="workflow", config={"tasks": [{"name": "a", "command": "true"}]})
    body = json.dumps({"config": {"tasks": nodes}})
    assert 400 <= status_of(api, "PUT", f"/tasks/{task['id']}", body) < 500


@pytest.mark.parametrize(
    "body",
    [
        '{"description": "\\ud800"}',
        '{"params": {"a": "\\udfff"}}',
        '{"\\ud800": 1}',
        '{"name": "\\ud800"}',
        '{"params": ' + '{"a":' * 300 + "1" + "}" * 300 + "}",
    ],
)
def test_odd_values_in_a_change_are_no_500(api: Api, body: str) -> None:
    task = make(api)
    assert status_of(api, "PUT", f"/tasks/{task['id']}", body) < 500
    assert api("GET", f"/tasks/{task['id']}", status=200)["archived_time"] is None


def test_a_new_name_that_an_archived_task_has_is_409(api: Api) -> None:
    gone, task = make(api), make(api)
    api("DELETE", f"/tasks/{gone['id']}", status=204)
    assert status_of(api, "PUT", f"/tasks/{task['id']}", json.dumps({"name": gone["name"]})) == 409
    assert api("GET", f"/tasks/{task['id']}")["name"] == task["name"]
    assert status_of(api, "PUT", f"/tasks/{task['id']}", '{"description": "still works"}') == 200


def test_a_new_name_is_taken_in_nfc_and_keeps_the_id(api: Api) -> None:
    task = make(api)
    name = unicodedata.normalize("NFD", fresh("é"))
    changed = api("PUT", f"/tasks/{task['id']}", json={"name": name}, status=200)
    assert (changed["id"], changed["name"]) == (task["id"], unicodedata.normalize("NFC", name))


def test_a_rename_keeps_the_id_though_the_watcher_is_faster(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(api)
    operations = api.scheduler.operations
    real = operations.rename

    def slow(task_id: int, name: str) -> None:
        time.sleep(1)
        real(task_id, name)

    monkeypatch.setattr(operations, "rename", slow)
    changed = api("PUT", f"/tasks/{task['id']}", json={"name": fresh("renamed")}, status=200)
    assert changed["id"] == task["id"]


def test_config_is_replaced_whole(api: Api) -> None:
    task = make(
        api, config={"command": "echo one", "timeout_seconds": 5, "env": {"A": "1"}, "shell": "/bin/bash"}
    )
    changed = api("PUT", f"/tasks/{task['id']}", json={"config": {"command": "echo two"}}, status=200)
    assert changed["config"] == make(api, config={"command": "echo two"})["config"]
    text = (api.tasks / task["source"]).read_text()
    assert "env" not in text
    assert "shell" not in text


def test_the_config_of_a_workflow_is_replaced_whole(api: Api) -> None:
    nodes = [{"name": "a", "command": "true"}]
    task = make(
        api,
        task_type="workflow",
        config={"workflow_type": "parallel", "on_failure": "continue", "max_parallel": 2, "tasks": nodes},
    )
    changed = api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes}}, status=200)
    assert changed["config"]["workflow_type"] == "serial"
    assert changed["config"]["max_parallel"] is None


def test_a_change_is_taken_whole_or_not_at_all(api: Api) -> None:
    task = make(api)
    body = {"description": "half", "enabled": "no"}
    assert 400 <= status_of(api, "PUT", f"/tasks/{task['id']}", json.dumps(body)) < 500
    assert api("GET", f"/tasks/{task['id']}")["description"] == ""


@pytest.mark.parametrize(("method", "body"), [("PUT", '{"description": "x"}'), ("DELETE", "")])
def test_a_tasks_folder_that_is_away_is_503(api: Api, method: str, body: str) -> None:
    task = make(api)
    away = api.tasks.with_name("away")
    api.tasks.rename(away)
    try:
        assert status_of(api, method, f"/tasks/{task['id']}", body) == 503
    finally:
        away.rename(api.tasks)


def test_a_file_that_is_gone_already_can_be_deleted(api: Api) -> None:
    task = make(api)
    (api.tasks / task["source"]).unlink()
    assert status_of(api, "DELETE", f"/tasks/{task['id']}") < 500


def test_a_referenced_task_is_not_renamed_by_accident(api: Api) -> None:
    inner = make(api)
    outer = make(api, task_type="workflow", config={"tasks": [{"task_id": inner["id"], "name": "a"}]})
    answer = status_of(api, "PUT", f"/tasks/{inner['id']}", json.dumps({"name": fresh("other")}))
    execution = api("POST", f"/tasks/{outer['id']}/trigger")["execution_id"]
    assert answer == 409 or api.ended(execution)["status"] == "success"


def test_deleting_with_terminate_ends_what_runs(api: Api) -> None:
    task = make(api, config={"command": "sleep 30"})
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    api("DELETE", f"/tasks/{task['id']}?terminate=true", status=204)
    found = until(lambda: api("GET", f"/executions/{execution}"), 1)
    for _ in range(100):
        found = api("GET", f"/executions/{execution}")
        if found["status"] == "terminated":
            break
        time.sleep(0.02)
    else:
        api("POST", f"/executions/{execution}/terminate")
    assert found["status"] == "terminated"


def test_a_null_config_clears_what_runs(api: Api) -> None:
    task = make(api)
    status = status_of(api, "PUT", f"/tasks/{task['id']}", '{"config": null}')
    assert status >= 400 or api("GET", f"/tasks/{task['id']}")["config"] == {}


def test_a_manual_task_is_given_no_schedule(api: Api) -> None:
    task = make(api)
    status = status_of(api, "PUT", f"/tasks/{task['id']}", '{"cron_expression": "0 1 * * *"}')
    assert status == 400 or api("GET", f"/tasks/{task['id']}")["task_type"] == "manual_task"


@pytest.mark.parametrize(
    "text",
    [
        "\ta\n",
        "one\r\ntwo\n",
        "a\u2028b\n",
        "\x85",
        "x\rcron: '* * * * *'\n",
        "\x07\n",
        "a\x85b",
    ],
)
def test_a_text_is_kept_as_it_was_sent_and_can_be_changed(api: Api, text: str) -> None:
    task = make(api, description=text)
    assert task["description"] == text
    assert task["cron_expression"] is None
    changed = api("PUT", f"/tasks/{task['id']}", json={"tags": ["x"]}, status=200)
    assert changed["description"] == text


def test_a_change_of_another_field_keeps_what_runs(api: Api) -> None:
    config = {
        "command": "echo one",
        "timeout_seconds": 5.0,
        "env": {"A": "1"},
        "shell": "/bin/bash",
        "working_dir": "/tmp",
        "isolation": "thread",
    }
    task = make(api, config=config)
    assert task["config"] == config
    assert api("PUT", f"/tasks/{task['id']}", json={"tags": ["x"]}, status=200)["config"] == config
    again = api("PUT", f"/tasks/{task['id']}", json={"config": task["config"]}, status=200)
    assert (again["config"], again["content_hash"] != task["content_hash"]) == (config, True)


def test_a_cleared_config_warns_and_can_be_given_again(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 1 * * *")
    cleared = api("PUT", f"/tasks/{task['id']}", json={"config": None}, status=200)
    assert (cleared["config"], cleared["warnings"]) == ({}, ["nothing_to_run"])
    given = api("PUT", f"/tasks/{task['id']}", json={"config": {"command": "true"}}, status=200)
    assert (given["config"]["command"], given["task_type"]) == ("true", "common_task")


def test_a_change_keeps_the_type_unless_it_names_another(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 1 * * *")
    bare = api("PUT", f"/tasks/{task['id']}", json={"cron_expression": None}, status=200)
    assert (bare["task_type"], bare["warnings"]) == ("common_task", ["schedule_missing"])
    manual = api("PUT", f"/tasks/{task['id']}", json={"task_type": "manual_task"}, status=200)
    assert manual["task_type"] == "manual_task"
    refused = api("PUT", f"/tasks/{task['id']}", json={"cron_expression": "0 1 * * *"}, status=400)
    assert refused["errors"][0]["field"] == "cron_expression"
    both = {"cron_expression": "0 1 * * *", "task_type": "common_task"}
    assert api("PUT", f"/tasks/{task['id']}", json=both, status=200)["task_type"] == "common_task"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cron_expression": "61 * * * *", "task_type": "common_task"}, "cron_expression"),
        ({"interval_seconds": 0, "task_type": "common_task"}, "interval_seconds"),
        ({"config": {"command": "true", "timeout_seconds": -1}}, "config.timeout_seconds"),
        ({"colour": "red"}, "colour"),
        ({"name": None}, "name"),
        ({"colour": None}, "colour"),
    ],
)
def test_faults_of_a_change_are_told_in_its_own_words(api: Api, body: dict[str, Any], field: str) -> None:
    task = make(api)
    before = (api.tasks / task["source"]).read_bytes()
    answer = api("PUT", f"/tasks/{task['id']}", json=body)
    assert [error["field"] for error in answer["errors"]] == [field]
    assert (api.tasks / task["source"]).read_bytes() == before


def test_numbers_among_the_dependencies_of_a_change_become_names(api: Api) -> None:
    first, second = make(api), make(api)
    task = make(api, task_type="workflow", config={"tasks": [{"name": "a", "command": "true"}]})
    nodes = [
        {"task_id": first["id"], "name": "one"},
        {"task_id": second["id"], "dependencies": [first["id"]]},
    ]
    changed = api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes}}, status=200)
    assert changed["config"]["tasks"] == [
        {"name": "one", "dependencies": [], "task": first["name"]},
        {"name": second["name"], "dependencies": ["one"], "task": second["name"]},
    ]
    nodes[1] |= {"task_id": first["id"], "name": "two"}
    api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes}}, status=400)


def test_what_can_not_be_loaded_leaves_the_file_as_it_was(api: Api) -> None:
    task, name = make(api), fresh("gone")
    before = (api.tasks / task["source"]).read_bytes()
    body = {"name": name, "config": {"python": "no_such_module:run"}}
    answer = api("PUT", f"/tasks/{task['id']}", json=body, status=400)
    assert "no_such_module" in answer["detail"]
    assert (api.tasks / task["source"]).read_bytes() == before
    assert api("GET", f"/tasks/{task['id']}")["name"] == task["name"]
    assert all(error["path"] != task["source"] for error in api("GET", "/load-errors")["load_errors"])
    files = set(api.tasks.iterdir())
    api("POST", "/tasks", json={**body, "task_type": "manual_task"}, status=400)
    assert set(api.tasks.iterdir()) == files


def test_a_file_that_can_not_be_read_now_is_not_changed(api: Api) -> None:
    name = fresh("torn")
    api.file("torn.yaml", f"name: {name}\ncommand: echo\n")
    task = api("GET", f"/tasks?q={name}")["tasks"][0]
    api.file("torn.yaml", f"name: {name}\ncommand: [echo\n")
    assert "torn.yaml:3" in api("PUT", f"/tasks/{task['id']}", json={"tags": ["x"]}, status=409)["detail"]
    assert api("DELETE", f"/tasks/{task['id']}", status=409)["code"] == "conflict"
    api.file("torn.yaml", "name: another\ncommand: echo\n---\nname: third\ncommand: echo\n")
    assert api("PUT", f"/tasks/{task['id']}", json={"tags": ["x"]}).get("code") in (
        "task_not_found",
        "conflict",
    )
