"""Tasks over REST: what the contract promises, and what a client can get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.api.conftest import TOKEN, Api, fresh, make, status_of, until
from zquant_flow.config import load_settings
from zquant_flow.engine.assembly import assemble
from zquant_flow.store import tasklist


def test_a_created_task_is_a_readable_file_with_its_id_in_the_name(api: Api) -> None:
    name = fresh("STEP1-同步交易日历（当日）")
    task = make(
        api,
        name=name,
        task_type="common_task",
        cron_expression="0 18 * * *",
        description="任务描述",
        config={"command": "python script.py", "timeout_seconds": 60},
    )
    assert task["cron_expression"] == "0 18 * * *"
    assert task["max_retries"] == 3
    assert task["config"] == {"command": "python script.py", "timeout_seconds": 60.0}
    text = (api.tasks / task["source"]).read_text(encoding="utf-8")
    assert task["source"].startswith(f"{task['id']}-step1")
    assert text.splitlines()[:2] == [f"name: {name}", "description: 任务描述"]
    assert "cron: 0 18 * * *" in text
    assert task["version"] == 1
    assert task["next_run_time"].endswith("T10:00:00Z")


def test_what_the_origin_prints_is_accepted_with_a_warning(api: Api) -> None:
    task = make(
        api,
        task_type="common_task",
        cron_expression="0 18 * * *",
        description="d",
        config={},
        max_retries=3,
        retry_interval=60,
        enabled=True,
    )
    assert task["warnings"] == ["nothing_to_run"]
    execution = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    ended = api.ended(execution)
    assert (ended["status"], ended["error_code"]) == ("failed", "nothing_to_run")


def test_the_config_of_any_executor_can_be_sent_back_as_it_was_answered(api: Api) -> None:
    task = make(
        api,
        executor="script",
        env={"A": "1"},
        isolation="thread",
        working_dir="scripts",
        timeout="5m",
        config={"file": "a.py"},
    )
    assert set(task["config"]) == {
        *("task_action", "file", "timeout_seconds", "env", "working_dir", "isolation")
    }
    answer = api("PUT", f"/tasks/{task['id']}", json={"config": task["config"]}, status=200)
    assert answer["config"] == task["config"]


def test_a_task_without_schedule_runs_when_triggered(api: Api) -> None:
    task = make(api, task_type="common_task")
    assert task["warnings"] == ["schedule_missing"]
    assert task["task_type"] == "common_task"
    assert api("GET", f"/tasks/{task['id']}")["task_type"] == "common_task"


def test_total_counts_all_matches_and_not_the_page(api: Api) -> None:
    mark = fresh("page")
    for number in range(5):
        make(api, name=f"{mark}-{number}")
    page = api("GET", f"/tasks?q={mark}&limit=2&skip=2&order_by=name")
    assert page["total"] == 5
    assert [task["name"] for task in page["tasks"]] == [f"{mark}-2", f"{mark}-3"]
    page = api("GET", f"/tasks?q={mark}&limit=1&order_by=name&order=desc")
    assert page["tasks"][0]["name"] == f"{mark}-4"


def test_lists_filter_by_type_state_and_tag(api: Api) -> None:
    mark = fresh("filter")
    make(api, name=f"{mark}-a", tags=["market"])
    off = make(api, name=f"{mark}-b", enabled=False)
    names = lambda query: [t["name"] for t in api("GET", f"/tasks?q={mark}&{query}")["tasks"]]  # noqa: E731
    assert names("tag=market") == [f"{mark}-a"]
    assert names("enabled=false") == [f"{mark}-b"]
    assert names("task_type=workflow") == []
    assert off["schedule_status"] == "disabled"


def test_a_task_can_be_switched_from_cron_to_interval_and_back(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 18 * * *")
    task = api("PUT", f"/tasks/{task['id']}", json={"interval_seconds": 60}, status=200)
    assert (task["cron_expression"], task["interval_seconds"], task["version"]) == (None, 60.0, 2)
    task = api("PUT", f"/tasks/{task['id']}", json={"cron_expression": "0 18 * * *"}, status=200)
    assert (task["cron_expression"], task["interval_seconds"], task["version"]) == ("0 18 * * *", None, 1)


def test_a_change_keeps_comments_order_and_the_other_documents(api: Api) -> None:
    first, second = fresh("doc"), fresh("doc")
    api.file(
        "shared.yaml",
        f"# about the first\nname: {first}  # its name\ncommand: echo one\ncron: '0 1 * * *'\n---\n"
        f"name: {second}\ncommand: echo two\n",
    )
    task = api("GET", f"/tasks?q={first}")["tasks"][0]
    api("PUT", f"/tasks/{task['id']}", json={"config": {"command": "echo three"}}, status=200)
    text = (api.tasks / "shared.yaml").read_text()
    assert text == (
        f"# about the first\nname: {first}  # its name\ncommand: echo three\ncron: '0 1 * * *'\n---\n"
        f"name: {second}\ncommand: echo two\n"
    )


def test_a_new_name_keeps_the_id_and_the_history(api: Api) -> None:
    task = make(api)
    api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    renamed = api("PUT", f"/tasks/{task['id']}", json={"name": fresh("new")}, status=200)
    assert renamed["id"] == task["id"]
    assert api("GET", f"/tasks/{task['id']}/executions")["total"] == 1
    assert api("GET", f"/tasks/{task['id']}")["archived_time"] is None


def test_deleting_archives_and_the_name_brings_the_id_back(api: Api) -> None:
    task = make(api)
    assert api("DELETE", f"/tasks/{task['id']}", status=204)
    assert not (api.tasks / task["source"]).exists()
    assert api("GET", f"/tasks?q={task['name']}")["total"] == 0
    assert api("GET", f"/tasks?q={task['name']}&archived=true")["total"] == 1
    assert api("GET", f"/tasks/{task['id']}", status=200)["archived_time"] is not None
    assert make(api, name=task["name"])["id"] == task["id"]


def test_a_referenced_task_is_not_deleted_by_accident(api: Api) -> None:
    inner = make(api)
    outer = make(
        api,
        task_type="workflow",
        config={
            "workflow_type": "serial",
            "tasks": [{"task_id": inner["id"], "name": "任务1", "dependencies": []}],
            "on_failure": "stop",
        },
    )
    answer = api("DELETE", f"/tasks/{inner['id']}", status=409)
    assert answer["code"] == "task_referenced"
    assert outer["name"] in answer["detail"]
    assert api("DELETE", f"/tasks/{inner['id']}?force=true", status=204)
    assert outer["source"] in str(api("GET", "/load-errors"))


def test_the_origins_workflow_with_numbers_as_dependencies_runs_in_order(api: Api) -> None:
    first, second = make(api, config={"command": "echo one"}), make(api, config={"command": "echo two"})
    nodes = [
        {"task_id": first["id"], "name": "任务1", "dependencies": []},
        {"task_id": second["id"], "name": "任务2", "dependencies": [first["id"]]},
    ]
    workflow = make(
        api,
        task_type="workflow",
        config={"workflow_type": "serial", "tasks": nodes, "on_failure": "stop"},
    )
    ended = api.ended(api("POST", f"/tasks/{workflow['id']}/trigger")["execution_id"])
    assert ended["status"] == "success"
    assert [(child["node"], child["status"]) for child in ended["children"]] == [
        ("任务1", "success"),
        ("任务2", "success"),
    ]
    assert ended["children"][1]["start_time"] >= ended["children"][0]["end_time"]


def test_a_python_task_is_changed_in_its_file_only(api: Api) -> None:
    name = fresh("py").replace("-", "_")
    api.file(f"{name}.py", f"from zquant_flow import task\n\n@task\ndef {name}():\n    return 1\n")
    task = api("GET", f"/tasks?q={name}")["tasks"][0]
    answer = api("PUT", f"/tasks/{task['id']}", json={"max_retries": 1}, status=409)
    assert answer["code"] == "defined_in_file"
    assert f"{name}.py" in answer["detail"]
    assert api("PUT", f"/tasks/{task['id']}", json={"enabled": False}, status=200)["enabled"] is False


def test_triggering_answers_in_the_language_asked_for(api: Api) -> None:
    path = f"/tasks/{make(api, overlap='allow')['id']}/trigger"
    assert api("POST", path)["message"] == "任务已触发"
    assert api("POST", path, headers={"Accept-Language": "en-GB,en"})["message"] == "task triggered"


def test_a_running_task_refuses_a_second_trigger_with_409(api: Api) -> None:
    task = make(api, config={"command": "sleep 30"})
    first = api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"]
    answer = api("POST", f"/tasks/{task['id']}/trigger", status=409)
    assert (answer["code"], answer["execution_id"]) == ("already_running", first)
    assert api("GET", f"/tasks/{task['id']}")["schedule_status"] == "running"
    api("POST", f"/executions/{first}/terminate", status=200)
    assert api.ended(first)["status"] == "terminated"
    assert api("GET", f"/tasks/{task['id']}")["schedule_status"] == "terminated"


def test_the_buttons_answer_with_the_task_after_the_change(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 18 * * *")
    path = f"/tasks/{task['id']}"
    assert api("POST", f"{path}/pause", status=200)["paused"] is True
    assert api("POST", f"{path}/enable", status=200)["paused"] is True
    assert api("POST", f"{path}/resume", status=200)["paused"] is False
    disabled = api("POST", f"{path}/disable", status=200)
    assert (disabled["enabled"], disabled["next_run_time"]) == (False, None)


def test_params_and_logical_time_reach_the_command(api: Api) -> None:
    task = make(
        api, config={"command": ["/bin/sh", "-c", 'echo "$ZQF_PARAM_SYMBOL $ZQUANT_FLOW_LOGICAL_TIME"']}
    )
    body = {"params": {"symbol": "600000.SH"}, "logical_time": "2026-01-05T18:00:00"}
    execution = api("POST", f"/tasks/{task['id']}/trigger", json=body, status=200)["execution_id"]
    api.ended(execution)
    log = api("GET", f"/executions/{execution}/log").text
    assert log == "600000.SH 2026-01-05T10:00:00+00:00\n"
    again = api("POST", f"/tasks/{task['id']}/trigger", json=body, status=409)
    assert (again["code"], again["execution_id"]) == ("already_fired", execution)
    fires = api("GET", f"/tasks/{task['id']}/fires")["fires"]
    assert [(fire["outcome"], fire["execution_id"]) for fire in fires] == [("fired", execution)]


def test_a_log_is_read_in_pieces(api: Api) -> None:
    task = make(api, config={"command": "printf 0123456789"})
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    api.ended(execution)
    answer = api("GET", f"/executions/{execution}/log?offset=4&limit=3")
    assert (answer.text, answer.headers["x-next-offset"]) == ("456", "7")
    assert api("GET", f"/executions/{execution}/log?attempt=9").text == ""


def test_a_failing_command_shows_every_attempt(api: Api) -> None:
    task = make(api, config={"command": ["sh", "-c", "exit 3"]}, max_retries=1, retry_interval=0)
    ended = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    assert (ended["status"], ended["retry_count"]) == ("failed", 1)
    assert [(a["attempt"], a["outcome"], a["exit_code"]) for a in ended["attempts"]] == [
        (1, "failed", 3),
        (2, "failed", 3),
    ]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"colour": "red"}, 422, "colour"),
        (
            {"cron_expression": "0 18 * * *", "interval_seconds": 5, "task_type": "common_task"},
            400,
            "interval",
        ),
        ({"cron_expression": "0 0 30 2 *", "task_type": "common_task"}, 400, "cron_expression"),
        ({"cron_expression": "61 * * * *", "task_type": "common_task"}, 400, "cron_expression"),
        ({"interval_seconds": 0, "task_type": "common_task"}, 400, "interval_seconds"),
        ({"interval_seconds": -5, "task_type": "common_task"}, 400, "interval_seconds"),
        ({"cron_expression": "0 18 * * *"}, 400, "cron_expression"),
        ({"name": ""}, None, "name"),
        ({"name": "a\nb"}, None, "name"),
        ({"name": "x" * 101}, None, "name"),
        ({"max_retries": "many"}, 422, "max_retries"),
        ({"max_retries": 10**30}, None, "max_retries"),
        ({"task_type": "kind"}, None, "task_type"),
        ({"config": {"task_action": "nobody"}}, None, "config.task_action"),
        ({"config": {"task_action": "example", "steps": -1}}, None, "config.steps"),
        (
            {"task_type": "workflow", "config": {"tasks": [{"task_id": 999_999, "name": "x"}]}},
            None,
            "task_id",
        ),
    ],
)
def test_bad_bodies_are_4xx_with_the_field(
    api: Api, body: dict[str, Any], status: int | None, field: str
) -> None:
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}, **body}
    answer = api("POST", "/tasks", json=body)
    assert "code" in answer, answer
    assert any(field in error["field"] for error in answer["errors"]), answer
    found = api("GET", "/tasks", params={"q": body["name"] or "none at all", "limit": 1000})
    assert found["total"] == 0


def test_a_cycle_names_its_nodes(api: Api) -> None:
    nodes = [
        {"name": "a", "command": "true", "dependencies": ["b"]},
        {"name": "b", "command": "true", "dependencies": ["a"]},
    ]
    answer = api(
        "POST",
        "/tasks",
        json={"name": fresh(), "task_type": "workflow", "config": {"tasks": nodes}},
        status=400,
    )
    assert "a -> b -> a" in answer["detail"] or "b -> a -> b" in answer["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000]
)
def test_what_is_no_object_is_4xx(api: Api, body: bytes) -> None:
    answer = api.client.post(
        "/api/v1/scheduler/tasks",
        content=body,
        headers={"Authorization": "Bearer a-token-of-the-tests", "Content-Type": "application/json"},
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["code"]


def test_a_name_in_use_is_409(api: Api) -> None:
    task = make(api)
    body = {"name": task["name"], "task_type": "manual_task", "config": {"command": "true"}}
    assert api("POST", "/tasks", json=body, status=409)["code"] == "name_in_use"


@pytest.mark.parametrize("path", ["/tasks/999999", "/executions/999999", "/tasks/999999/executions"])
def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    assert api("GET", path, status=404)["code"].endswith("not_found")


@pytest.mark.parametrize(
    "path", ["/tasks/0", "/tasks/x", f"/tasks/{2**63}", "/tasks?limit=0", "/tasks?skip=-1"]
)
def test_ids_and_pages_out_of_range_are_422(api: Api, path: str) -> None:
    assert api("GET", path, status=422)["errors"]


def test_a_file_that_breaks_keeps_its_last_good_version(api: Api) -> None:
    name = fresh("breaks")
    api.file("breaks.yaml", f"name: {name}\ncommand: echo good\n")
    api.file("breaks.yaml", f"name: {name}\ncomand: echo bad\n")
    errors = [e for e in api("GET", "/load-errors")["load_errors"] if e["path"] == "breaks.yaml"]
    assert any(error["line"] == 2 and "did you mean 'command'" in error["message"] for error in errors)
    assert api("GET", f"/tasks?q={name}")["tasks"][0]["config"]["command"] == "echo good"
    api.file("breaks.yaml", f"name: {name}\ncommand: echo better\n")
    assert all(e["path"] != "breaks.yaml" for e in api("GET", "/load-errors")["load_errors"])


def test_a_file_dropped_into_the_folder_is_listed_by_itself(api: Api) -> None:
    name = fresh("dropped")
    new = api.tasks.parent / "new.yaml"
    new.write_text(f"name: {name}\ncommand: echo\n")
    new.rename(api.tasks / "dropped.yaml")
    until(lambda: api("GET", f"/tasks?q={name}")["total"] == 1, 5)
    (api.tasks / "dropped.yaml").unlink()
    until(lambda: api("GET", f"/tasks?q={name}")["total"] == 0, 5)


def test_a_template_stays_one_argument_whatever_its_value(api: Api) -> None:
    command = 'python -c "import sys; print(sys.argv[1:])" {{ params.symbol }} {{ execution.task }}'
    task = make(api, config={"command": command}, params={"symbol": "ALL"})
    value = "a b; $(touch /tmp/never) 'c"
    execution = api("POST", f"/tasks/{task['id']}/trigger", json={"params": {"symbol": value}})[
        "execution_id"
    ]
    assert api.ended(execution)["status"] == "success"
    assert api("GET", f"/executions/{execution}/log").text.strip() == str([value, task["name"]])


def test_an_unknown_name_in_a_template_fails_and_says_which(api: Api) -> None:
    task = make(api, config={"command": "echo {{ params.symbol.code }}"}, params={"symbol": {"name": "x"}})
    ended = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    assert (ended["status"], ended["error_code"]) == ("failed", "invalid_template")
    assert ended["error_message"] == "params.symbol.code: there is no 'code' (there is: name)"


def test_a_file_that_is_too_large_is_a_load_error_and_an_empty_one_keeps_what_stood_in_it(api: Api) -> None:
    name = fresh("emptied")
    api.file("emptied.yaml", f"name: {name}\ncommand: echo\n")
    with (api.tasks / "large.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (api.tasks / "emptied.yaml").write_text("")

    def errors() -> dict[str, str]:
        return {e["path"]: e["message"] for e in api("GET", "/load-errors")["load_errors"]}

    until(lambda: {"large.yaml", "emptied.yaml"} <= errors().keys(), 10)
    assert "at most 10,000,000" in errors()["large.yaml"]
    assert api("GET", f"/tasks?q={name}")["total"] == 1
    (api.tasks / "large.yaml").unlink()
    until(lambda: "large.yaml" not in errors(), 10)


@pytest.mark.parametrize(
    "words",
    [
        {"cron_expression": "0 1 * * *", "start_at": "0001-01-01T00:00:00+00:00"},
        {"interval_seconds": 60, "start_at": "0001-01-01T00:00:00+00:00"},
    ],
)
def test_a_schedule_at_the_end_of_the_calendar_is_no_500_and_leaves_no_file(
    api: Api, words: dict[str, Any]
) -> None:
    name = fresh("edge")
    body = {"name": name, "task_type": "common_task", "config": {"command": "true"}, **words}
    before = set(api.tasks.iterdir())
    status = status_of(api, "POST", "/tasks", json.dumps(body))
    left = set(api.tasks.iterdir()) - before
    if status != 201:
        for path in left:  # the folder's thread would try it again every second
            path.unlink()
    assert status == 201 or (400 <= status < 500 and not left), (status, left)
    assert status_of(api, "GET", "/tasks?limit=1000") == 200


def test_a_database_that_is_away_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(tasklist, "page", away)
    assert status_of(api, "GET", "/tasks") == 503


def test_a_file_that_can_not_be_registered_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    text = "name: x\ncommand: 'true'\ninterval: 60\nstart_at: 0001-01-01T00:00:00Z\n"
    (tmp_path / "tasks" / "x.yaml").write_text(text)
    settings = load_settings(
        tasks_dir=tmp_path / "tasks", data_dir=tmp_path / "data", admin_token=TOKEN, shutdown_grace=1.0
    )
    other = assemble(settings)
    try:
        other.start()
    finally:
        other.stop()


def test_an_empty_config_without_a_type_is_accepted_with_a_warning(api: Api) -> None:
    task = api("POST", "/tasks", json={"name": fresh(), "config": {}}, status=201)
    assert (task["task_type"], task["warnings"]) == ("manual_task", ["nothing_to_run"])


def test_a_terminated_command_says_by_whom_and_not_by_which_signal(api: Api) -> None:
    task = make(api, config={"command": "sleep 30"})
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    api("POST", f"/executions/{execution}/terminate", status=200)
    ended = api.ended(execution)
    assert (ended["error_code"], ended["error_message"]) == ("terminated", "terminated by request")


def test_a_commands_timeout_is_called_so(api: Api) -> None:
    task = make(api, config={"command": "sleep 30", "timeout_seconds": 0.1}, max_retries=0)
    ended = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    assert (ended["status"], ended["error_code"]) == ("terminated", "timeout")


def test_what_has_ended_waits_for_nothing(api: Api) -> None:
    task = make(api, config={"command": "false"}, max_retries=1, retry_interval=600)
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    waiting = until(lambda: (e := api("GET", f"/executions/{execution}"))["waiting_for"] == "retry" and e)
    assert waiting["waiting_until"] is not None
    api("POST", f"/executions/{execution}/terminate", status=200)
    ended = api.ended(execution)
    assert (ended["status"], ended["waiting_for"], ended["waiting_until"]) == ("terminated", None, None)


def test_a_file_that_breaks_the_registration_hurts_only_itself(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zquant_flow.engine import registration

    good, bad = fresh("good"), fresh("bad")
    real = registration.content_hash

    def picky(body: dict[str, Any]) -> str:
        if body["name"] == bad:
            raise OverflowError("date value out of range")
        return real(body)

    monkeypatch.setattr(registration, "content_hash", picky)
    (api.tasks / "one.yaml").write_text(f"name: {good}\ncommand: echo\n")
    (api.tasks / "two.yaml").write_text(f"name: {bad}\ncommand: echo\n")
    api.scheduler.folder.load_now(["one.yaml", "two.yaml"])
    assert api("GET", f"/tasks?q={good}")["total"] == 1
    [error] = [e for e in api("GET", "/load-errors")["load_errors"] if e["path"] == "two.yaml"]
    assert (error["code"], "date value out of range" in error["message"]) == ("register_failed", True)
