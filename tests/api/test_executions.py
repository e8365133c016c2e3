"""Executions over REST: what a trigger takes, and what can be read of whatever the work has said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.api.conftest import Api, fresh, make, status_of, until
from zquant_flow.api.shapes import stored
from zquant_flow.engine.service import Engine
from zquant_flow.store import queries


def test_a_log_offset_out_of_range_is_an_empty_piece_or_a_4xx(api: Api) -> None:
    task = make(api, config={"command": "echo x"})
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    api.ended(execution)
    assert status_of(api, "GET", f"/executions/{execution}/log?offset={2**63 - 1}") < 500


def test_deeply_nested_params_never_make_the_list_unreadable(api: Api) -> None:
    task = make(api)
    body = '{"params": {"x": ' + "[" * 900 + "]" * 900 + "}}"
    assert 400 <= status_of(api, "POST", f"/tasks/{task['id']}/trigger", body) < 500
    assert status_of(api, "GET", f"/tasks/{task['id']}/executions") == 200


@pytest.mark.parametrize("line", ["progress=half", '{"percent": "half"}'])
def test_odd_progress_of_a_command_leaves_its_execution_readable(api: Api, line: str) -> None:
    script = f"printf '%s\\n' '{line}' >> \"$ZQUANT_FLOW_OUTPUT\"; sleep 0.7"
    task = make(api, config={"command": ["/bin/sh", "-c", script]})
    execution = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status = status_of(api, "GET", f"/executions/{execution}")
        assert status == 200
        if api("GET", f"/executions/{execution}")["status"] == "success":
            return
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_result_with_half_a_character_is_readable(api: Api) -> None:
    name = fresh("half").replace("-", "_")
    api.file(
        f"{name}.py",
        f"from zquant_flow import task\n\n@task\ndef {name}():\n    return {{'x': chr(0xd800)}}\n",
    )
    task = api("GET", f"/tasks?q={name}")["tasks"][0]
    execution = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = status_of(api, "GET", f"/executions/{execution}")
        assert status == 200
        if api("GET", f"/executions/{execution}")["status"] == "success":
            return
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_command_takes_the_result_of_an_earlier_node(api: Api) -> None:
    nodes = [
        {"name": "first", "command": ["sh", "-c", 'echo rows=7 >> "$ZQUANT_FLOW_OUTPUT"']},
        {"name": "second", "command": "echo {{ nodes.first.result.rows }}", "dependencies": ["first"]},
    ]
    task = make(api, task_type="workflow", config={"tasks": nodes})
    ended = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    assert [child["error_message"] for child in ended["children"]] == [None, None]


@pytest.mark.parametrize(
    "line", ['{"message": ["a", "list"]}', '{"processed_items": 1' + "0" * 30 + "}", '{"message": "\\ud800"}']
)
def test_what_a_command_tells_can_not_stop_the_scheduler(
    api: Api, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(Engine.call, "__kwdefaults__", {"timeout": 3.0})
    script = f"printf '%s\\n' '{line}' >> \"$ZQUANT_FLOW_OUTPUT\"; sleep 0.7"
    task = make(api, config={"command": ["/bin/sh", "-c", script]})
    execution = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    until(lambda: api("GET", f"/executions/{execution}")["status"] not in ("pending", "running"), 5)
    other = make(api)
    assert api.ended(api("POST", f"/tasks/{other['id']}/trigger", status=200)["execution_id"])


@pytest.mark.parametrize(
    "body",
    [
        '{"params": {"x": "\\ud800"}}',
        '{"logical_time": "0001-01-01T00:00:00"}',
        '{"logical_time": "9999-12-31T23:59:59-12:00"}',
    ],
)
def test_a_trigger_that_can_not_be_kept_is_4xx(api: Api, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(Engine.call, "__kwdefaults__", {"timeout": 3.0})
    task = make(api)
    assert 400 <= status_of(api, "POST", f"/tasks/{task['id']}/trigger", body) < 500
    assert status_of(api, "POST", f"/tasks/{task['id']}/trigger") == 200


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ('{"x": {"y": "\\u0000"}}', "params.x.y"),
        ('{"x": [NaN]}', "params.x.0"),
        ('{"x": 9223372036854775808}', "params.x"),
        ('{"x": "' + "a" * 1_000_000 + '"}', "params"),
    ],
)
def test_params_that_no_database_keeps_are_named(api: Api, params: str, field: str) -> None:
    task = make(api)
    headers = {"Content-Type": "application/json"}
    body = f'{{"params": {params}}}'
    answer = api("POST", f"/tasks/{task['id']}/trigger", content=body, headers=headers, status=400)
    assert (answer["code"], [error["field"] for error in answer["errors"]]) == ("invalid_params", [field])


@pytest.mark.parametrize(
    "query",
    [
        "executions?since=0001-01-01T00:00:00%2B08:00",
        "executions?until=9999-12-31T23:59:59-12:00",
        "fires?from=1969-12-31T00:00:00Z",
        "fires?to=9999-12-31T23:59:59-12:00",
    ],
)
def test_instants_out_of_range_are_400(api: Api, query: str) -> None:
    assert status_of(api, "GET", f"/tasks/{make(api)['id']}/{query}") == 400


def test_the_params_of_a_node_are_its_workflows_on_both_paths(api: Api) -> None:
    task = make(
        api, task_type="workflow", config={"tasks": [{"name": "a", "command": "true"}]}, params={"x": 1}
    )
    execution = api("POST", f"/tasks/{task['id']}/trigger", json={"params": {"x": 2}})["execution_id"]
    node = api.ended(execution)["children"][0]["id"]
    assert api("GET", f"/executions/{node}")["params"] == {"x": 2}
    assert api("GET", f"/tasks/{task['id']}/executions/{node}")["params"] == {"x": 2}


def test_what_was_stored_in_bad_times_is_readable() -> None:
    assert stored('{"a": "\\ud800b", "\\uDfff": "\\ud83d\\ude00"}') == {"a": "?b", "?": "\U0001f600"}
    deep = "[" * 900 + "]" * 900
    assert str(stored(f'{{"x": {deep}, "y": [1]}}')).count("[") < 60
    assert stored(None) is None


def test_a_node_has_no_nodes_of_its_own(api: Api) -> None:
    nodes = [{"name": "a", "command": "sleep 30"}, {"name": "b", "command": "true"}]
    task = make(api, task_type="workflow", config={"tasks": nodes})
    root = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    try:
        shown = api("GET", f"/executions/{root}?include=children", status=200)["children"]
        node = next(child for child in shown if child["node"] == "a")
        assert api("GET", f"/executions/{node['id']}?include=children", status=200)["children"] == []
    finally:
        api("POST", f"/executions/{root}/terminate")


def test_the_nodes_ahead_are_shown_of_a_definition_that_was_run_without_being_registered(api: Api) -> None:
    flow = {
        "name": fresh(),
        "tasks": [
            {"name": "a", "command": "sleep 30"},
            {"name": "b", "command": "true", "dependencies": ["a"]},
        ],
    }
    root = api("POST", "/executions", json={"definition": flow}, status=201)["execution_id"]
    try:
        shown = api("GET", f"/executions/{root}?include=children", status=200)["children"]
        assert ("b", "pending", None) in [(node["node"], node["status"], node["id"]) for node in shown]
    finally:
        api("POST", f"/executions/{root}/terminate")


def test_the_nodes_ahead_are_shown_of_an_execution_whose_task_has_a_newer_version(api: Api) -> None:
    nodes = [
        {"name": "a", "command": "sleep 30"},
        {"name": "b", "command": "true", "dependencies": ["a"]},
    ]
    task = make(api, task_type="workflow", config={"tasks": nodes})
    root = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    try:
        api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes[:1]}}, status=200)
        shown = api("GET", f"/executions/{root}?include=children", status=200)["children"]
        assert ("b", "pending", None) in [(node["node"], node["status"], node["id"]) for node in shown]
    finally:
        api("POST", f"/executions/{root}/terminate")


def test_the_end_of_a_log_that_can_not_be_read_is_no_fault_of_ours(api: Api) -> None:
    from zquant_flow import logs

    one = api.ended(api("POST", f"/tasks/{make(api)['id']}/trigger")["execution_id"])
    path = Path(logs.log_path(api.scheduler.settings.data_dir, one["id"], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(api.tasks)
    assert api("GET", f"/executions/{one['id']}/log?tail=3")["code"] == "unavailable"
    assert api("GET", f"/executions/{one['id']}/log/stream?tail=3")["code"] == "unavailable"


def test_a_result_that_has_gone_or_can_not_be_read_is_no_fault_of_ours(api: Api) -> None:
    from zquant_flow import result_files

    put = "head -c 400000 /dev/zero | tr '\\0' x | sed s/^/big=/ > $ZQUANT_FLOW_OUTPUT"
    task = make(api, config={"command": put})
    one = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    answer = api("GET", f"/executions/{one['id']}/result", status=200)
    assert answer == {"big": "x" * 400_000}
    path = Path(result_files.result_path(api.scheduler.settings.data_dir, one["id"]))
    path.unlink()
    gone = api("GET", f"/executions/{one['id']}/result", status=404)
    assert (gone["code"], str(path) in gone["detail"]) == ("result_not_found", True)
    path.symlink_to(api.tasks)
    assert api("GET", f"/executions/{one['id']}/result", status=503)["code"] == "unavailable"
    assert api("GET", "/executions/987654321/result", status=404)["code"] == "execution_not_found"


def test_a_text_is_not_found_in_what_makes_the_name_of_a_hidden_task_unique(api: Api) -> None:
    name = fresh("probe")
    run = api("POST", "/executions", json={"definition": {"name": name, "command": "true"}}, status=201)
    task_id = api("GET", f"/executions/{run['execution_id']}")["task_id"]
    hidden = queries.task_row(api.scheduler.database, task_id)
    digest = hidden.name.partition("\x1f")[2]
    for text, total in ((name.upper(), 1), (digest[:6], 0), (digest[-6:], 0), (name[-1] + "\x1f", 0)):
        assert api("GET", "/executions", params={"q": text}, status=200)["total"] == total, text


def test_an_execution_and_its_nodes_explain_themselves(api: Api) -> None:
    nodes = [{"name": "a", "command": "sleep 30"}, {"name": "b", "command": "true", "dependencies": ["a"]}]
    task = make(api, task_type="workflow", config={"tasks": nodes})
    root = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    until(lambda: api("GET", f"/executions/{root}/explain?node=a")["execution_id"] != root)
    found = api("GET", f"/executions/{root}/explain?node=b", status=200)
    assert (found["execution_id"], found["node"], found["status"]) == (root, "b", "pending")
    assert found["summary"] == "node 'b' waits for a (running)"
    chinese = api("GET", f"/executions/{root}/explain?node=b", headers={"Accept-Language": "zh"})
    assert chinese["summary"] == "节点 'b' 等待 a（running）"
    assert api("GET", f"/executions/{root}/explain?node=x", status=404)["code"] == "node_not_found"
    assert api("GET", "/executions/999999999/explain", status=404)["code"] == "execution_not_found"
    api("POST", f"/executions/{root}/terminate")
    api.ended(root)
    assert api("GET", f"/executions/{root}/explain")["reasons"][0]["code"] == "terminated"
