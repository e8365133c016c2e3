"""The document of the origin's API, from top to bottom: every example in it gets the answer that it prints.

The requests stand here as they do there. Where the answer here says more, or says it more exactly (instants with an
offset, the execution's id beside the message), the tests say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.api.conftest import Api, fresh, make
from tests.e2e.serving import Client, Server, drop, until
from zquant_flow.core.cron import next_after, parse_cron
from zquant_flow.errors import ScheduleError

SHANGHAI = ZoneInfo("Asia/Shanghai")

COMMON_TASK = """
{
  "task_type": "common_task",
  "cron_expression": "0 18 * * *",
  "config": {
    "command": "python script.py"
  }
}
"""

WORKFLOW = """
{
  "task_type": "workflow",
  "config": {
    "workflow_type": "serial",
    "tasks": [
      {
        "task_id": 1,
        "name": "任务1",
        "dependencies": []
      },
      {
        "task_id": 2,
        "name": "任务2",
        "dependencies": [1]
      }
    ],
    "on_failure": "stop"
  }
}
"""

CREATE = """
{
  "name": "任务名称",
  "task_type": "common_task",
  "cron_expression": "0 18 * * *",
  "description": "任务描述",
  "config": {},
  "max_retries": 3,
  "retry_interval": 60,
  "enabled": true
}
"""

RECORD = """
{
  "id": 1,
  "task_id": 1,
  "status": "success",
  "start_time": "2025-01-01T18:00:00",
  "end_time": "2025-01-01T18:01:30",
  "duration_seconds": 90,
  "result": {},
  "error_message": null,
  "retry_count": 0
}
"""


def trigger(api: Api, task: dict[str, Any]) -> int:
    return int(api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"])


def execution(api: Api, execution_id: int) -> dict[str, Any]:
    return dict(api("GET", f"/executions/{execution_id}?include=attempts", status=200))


def in_status(api: Api, execution_id: int, status: str) -> dict[str, Any]:
    """The execution, once it is in this status."""
    return dict(until(lambda: (it := execution(api, execution_id))["status"] == status and it, status))


def sh(script: str) -> dict[str, Any]:
    return {"command": ["/bin/sh", "-c", script]}


# ── task types ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "value"),
    [("cron_expression", "0 18 * * *"), ("interval_seconds", 60), ("cron_expression", "@daily")],
)
def test_a_manual_task_takes_no_schedule(api: Api, key: str, value: Any) -> None:
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}, key: value}
    said = api("POST", "/tasks", json=body, status=400)
    assert [error["field"] for error in said["errors"]] == [key]


def test_a_manual_task_runs_when_it_is_triggered_and_has_no_next_run(api: Api) -> None:
    task = make(api, task_type="manual_task")
    assert (task["task_type"], task["cron_expression"], task["interval_seconds"]) == (
        "manual_task",
        None,
        None,
    )
    assert (task["next_run_time"], task["schedule_status"]) == (None, "pending")
    assert api.ended(trigger(api, task))["status"] == "success"


def test_the_printed_common_task_runs_its_script_and_is_due_at_18(api: Api) -> None:
    (api.tasks / "script.py").write_text("print('同步完成')\n", encoding="utf-8")
    task = api("POST", "/tasks", json={"name": fresh(), **json.loads(COMMON_TASK)}, status=201)
    assert (task["task_type"], task["cron_expression"]) == ("common_task", "0 18 * * *")
    assert task["config"]["command"] == "python script.py"
    due = datetime.fromisoformat(task["next_run_time"]).astimezone(SHANGHAI)
    assert (due.hour, due.minute, due.second) == (18, 0, 0)
    assert due - datetime.now(UTC) <= timedelta(days=1)
    done = api.ended(trigger(api, task))
    assert done["status"] == "success", done["error_message"]
    assert api("GET", f"/executions/{done['id']}/log").text == "同步完成\n"


def test_a_common_task_may_have_an_interval_instead(api: Api) -> None:
    before = datetime.now(UTC)
    task = make(api, task_type="common_task", interval_seconds=3600)
    assert (task["cron_expression"], task["interval_seconds"]) == (None, 3600)
    due = datetime.fromisoformat(task["next_run_time"])
    assert timedelta(seconds=3598) < due - before < timedelta(seconds=3605)


# ── cron ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fires(cron: str, days: int = 63) -> list[datetime]:
    """The fires of so many days from Wednesday, 1 April 2026, on: wall times in Shanghai."""
    fire = datetime(2026, 4, 1, tzinfo=SHANGHAI) - timedelta(seconds=1)
    end, found = fire + timedelta(days=days), []
    while (following := next_after(parse_cron(cron), fire, SHANGHAI)) and following <= end:
        found.append(following.astimezone(SHANGHAI).replace(tzinfo=None))
        fire = following
    return found


def minutes(meant: Callable[[datetime], bool], days: int = 63) -> list[datetime]:
    """The minutes of the same days that are meant."""
    first = datetime(2026, 4, 1)
    every = (first + timedelta(minutes=number) for number in range(days * 24 * 60))
    return [minute for minute in every if meant(minute)]


@pytest.mark.parametrize(
    ("cron", "meant"),
    [
        ("* * * * *", lambda at: at.day < 3),
        ("0 18 * * *", lambda at: (at.hour, at.minute) == (18, 0)),
        ("0 2 * * 1", lambda at: at.isoweekday() == 1 and (at.hour, at.minute) == (2, 0)),
        ("*/30 * * * *", lambda at: at.minute in (0, 30)),
        ("0 0 1 * *", lambda at: at.day == 1 and (at.hour, at.minute) == (0, 0)),
        ("0 0 * * 1-5", lambda at: at.isoweekday() <= 5 and (at.hour, at.minute) == (0, 0)),
        ("0 0 * * 0", lambda at: at.isoweekday() == 7 and (at.hour, at.minute) == (0, 0)),
        ("0 */6 * * *", lambda at: at.hour in (0, 6, 12, 18) and at.minute == 0),
        ("15,45 9 * * *", lambda at: at.hour == 9 and at.minute in (15, 45)),
        (
            "0 9-17 * * 1,3,5",
            lambda at: at.isoweekday() in (1, 3, 5) and 9 <= at.hour <= 17 and at.minute == 0,
        ),
        ("30 18 1-7 5 *", lambda at: at.month == 5 and at.day <= 7 and (at.hour, at.minute) == (18, 30)),
    ],
)
def test_cron_fires_at_the_minutes_that_its_meaning_says_and_at_no_other(
    cron: str, meant: Callable[[datetime], bool]
) -> None:
    days = 2 if cron == "* * * * *" else 63
    assert fires(cron, days) == minutes(meant, days)


@pytest.mark.parametrize(
    ("field", "lowest", "highest", "beyond"),
    [
        ("{} 0 1 1 *", 0, 59, 60),
        ("0 {} 1 1 *", 0, 23, 24),
        ("0 0 {} * *", 1, 31, 32),
        ("0 0 1 {} *", 1, 12, 13),
        ("0 0 * * {}", 0, 6, 8),
    ],
    ids=["minute", "hour", "day", "month", "weekday"],
)
def test_each_field_of_cron_has_the_printed_bounds(
    field: str, lowest: int, highest: int, beyond: int
) -> None:
    for value in (lowest, highest):
        assert next_after(parse_cron(field.format(value)), datetime(2026, 1, 1, tzinfo=UTC), SHANGHAI)
    for value in {lowest - 1, beyond}:
        with pytest.raises(ScheduleError):
            parse_cron(field.format(value))


# ── the interface ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_of_tasks_takes_skip_limit_task_type_and_enabled(api: Api) -> None:
    mark = fresh("list")
    manual = make(api, name=f"{mark} a")
    common = make(api, name=f"{mark} b", task_type="common_task", cron_expression="0 18 * * *")
    off = make(api, name=f"{mark} c", task_type="common_task", cron_expression="0 18 * * *", enabled=False)
    flow = make(
        api, name=f"{mark} d", task_type="workflow", config={"tasks": [{"name": "n", "command": "true"}]}
    )

    def ids(**query: Any) -> list[int]:
        page = api("GET", "/tasks", params={"q": mark, **query}, status=200)
        assert page.keys() >= {"tasks", "total"}
        return [task["id"] for task in page["tasks"]]

    assert ids() == [manual["id"], common["id"], off["id"], flow["id"]]
    assert ids(skip=1, limit=2) == [common["id"], off["id"]]
    assert ids(task_type="manual_task") == [manual["id"]]
    assert ids(task_type="common_task") == [common["id"], off["id"]]
    assert ids(task_type="workflow") == [flow["id"]]
    assert ids(enabled="false") == [off["id"]]
    assert ids(enabled="true", task_type="common_task") == [common["id"]]
    assert api("GET", "/tasks", params={"q": mark, "limit": 1})["total"] == 4


def test_the_printed_body_makes_a_task_with_all_that_it_says(api: Api) -> None:
    body = {**json.loads(CREATE), "name": fresh("任务名称")}
    task = api("POST", "/tasks", json=body, status=201)
    assert {key: task[key] for key in body} == body
    assert task["id"] > 0
    assert task["warnings"] == ["nothing_to_run"]
    assert api("GET", f"/tasks/{task['id']}", status=200)["name"] == body["name"]
    done = api.ended(trigger(api, task))  # with an empty config there is nothing to run, and it says so
    assert (done["status"], done["error_code"]) == ("failed", "nothing_to_run")


def test_what_the_body_may_leave_out_has_the_printed_defaults(api: Api) -> None:
    body = {"name": fresh(), "task_type": "common_task", "cron_expression": "0 18 * * *", "config": {}}
    task = api("POST", "/tasks", json=body, status=201)
    assert {key: task[key] for key in ("max_retries", "retry_interval", "enabled")} == {
        "max_retries": 3,
        "retry_interval": 60,
        "enabled": True,
    }


def test_an_update_changes_what_it_names_and_a_deletion_takes_the_task_from_the_list(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 18 * * *", description="before")
    path = f"/tasks/{task['id']}"
    changed = api("PUT", path, json={"cron_expression": "0 2 * * 1", "max_retries": 1}, status=200)
    assert (changed["cron_expression"], changed["max_retries"]) == ("0 2 * * 1", 1)
    assert (changed["description"], changed["config"]) == ("before", task["config"])
    assert api("PUT", path, json={"enabled": False}, status=200)["enabled"] is False
    api("DELETE", path, status=204)
    assert api("GET", f"/tasks?q={task['name']}")["total"] == 0
    api("PUT", "/tasks/999999", json={"max_retries": 1}, status=404)
    api("DELETE", "/tasks/999999", status=404)


# ── trigger, history, states ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "keys",
    [{"task_type": "manual_task"}, {"task_type": "common_task", "cron_expression": "0 18 * * *"}],
    ids=["manual", "common"],
)
def test_a_trigger_answers_with_the_printed_message_once_the_record_is_there(
    api: Api, keys: dict[str, Any]
) -> None:
    task = make(api, **keys)
    answer = api("POST", f"/tasks/{task['id']}/trigger", status=200)
    assert answer["message"] == "任务已触发"
    assert answer.keys() == {"message", "execution_id"}
    record = execution(api, answer["execution_id"])
    assert (record["task_id"], record["trigger_type"]) == (task["id"], "api")
    assert api.ended(answer["execution_id"])["status"] == "success"


def test_a_trigger_of_a_task_that_is_not_there_is_a_404(api: Api) -> None:
    assert api("POST", "/tasks/999999/trigger", status=404)["code"] == "task_not_found"


def test_the_history_of_a_task_has_its_executions_newest_first(api: Api) -> None:
    task = make(api)
    ids = [api.ended(trigger(api, task))["id"] for _ in range(3)]
    page = api("GET", f"/tasks/{task['id']}/executions", status=200)
    assert [row["id"] for row in page["executions"]] == ids[::-1]
    assert page["total"] == 3
    assert {row["task_id"] for row in page["executions"]} == {task["id"]}


def _pending(api: Api) -> int:
    return trigger(api, make(api, config={"command": "false"}, max_retries=1, retry_interval=3600))


def _running(api: Api) -> int:
    return trigger(api, make(api, config={"command": "sleep 300"}))


def _success(api: Api) -> int:
    return trigger(api, make(api, config={"command": "true"}))


def _failed(api: Api) -> int:
    return trigger(api, make(api, config={"command": "false"}, max_retries=0))


def _completed(api: Api) -> int:
    nodes = [{"name": "bad", "command": "false"}, {"name": "good", "command": "true"}]
    config = {"tasks": nodes, "on_failure": "continue"}
    return trigger(api, make(api, task_type="workflow", config=config, max_retries=0))


def _terminated(api: Api) -> int:
    execution_id = _running(api)
    in_status(api, execution_id, "running")
    api("POST", f"/executions/{execution_id}/terminate", status=200)
    return execution_id


@pytest.mark.parametrize("reach", [_pending, _running, _success, _failed, _completed, _terminated])
def test_every_printed_status_is_one_that_executions_reach(api: Api, reach: Callable[[Api], int]) -> None:
    status = reach.__name__[1:]
    found = in_status(api, reach(api), status)
    rows = api("GET", "/executions", params={"status": status, "limit": 1000}, status=200)["executions"]
    assert found["id"] in [row["id"] for row in rows]
    assert {row["status"] for row in rows} == {status}
    if status in ("pending", "running"):
        assert (found["end_time"], found["duration_seconds"]) == (None, None)
        api("POST", f"/executions/{found['id']}/terminate", status=200)
        in_status(api, found["id"], "terminated")
    else:
        assert found["end_time"] is not None


def test_a_record_has_the_printed_fields_with_instants_that_name_their_offset(api: Api) -> None:
    printed = json.loads(RECORD)
    task = make(api, config=sh('echo rows=3 >> "$ZQUANT_FLOW_OUTPUT"; sleep 0.2'))
    execution_id = trigger(api, task)
    api.ended(execution_id)
    for record in (
        api("GET", f"/tasks/{task['id']}/executions")["executions"][0],
        api("GET", f"/tasks/{task['id']}/executions/{execution_id}", status=200),
    ):
        assert record.keys() >= printed.keys()
        same = ("status", "error_message", "retry_count")
        assert {key: record[key] for key in same} == {key: printed[key] for key in same}
        assert (record["id"], record["task_id"]) == (execution_id, task["id"])
        assert record["result"] == {"rows": "3"}
        start, end = (datetime.fromisoformat(record[key]) for key in ("start_time", "end_time"))
        assert start.utcoffset() is not None
        assert end.utcoffset() is not None
        assert 0.2 <= record["duration_seconds"] < 5
        assert record["duration_seconds"] == pytest.approx((end - start).total_seconds(), abs=0.1)


# ── reliability ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_failing_task_is_tried_again_as_often_as_max_retries_says(api: Api, retries: int) -> None:
    task = make(api, config=sh("echo why; exit 7"), max_retries=retries, retry_interval=0)
    done = api.ended(trigger(api, task))
    assert (done["status"], done["retry_count"]) == ("failed", retries)
    assert [(row["attempt"], row["exit_code"]) for row in done["attempts"]] == [
        (number, 7) for number in range(1, retries + 2)
    ]
    assert done["error_code"] == "exit_code"
    assert "7" in done["error_message"]


def test_a_retry_comes_after_retry_interval_and_may_end_well(api: Api) -> None:
    task = make(api, config=sh('[ "$ZQUANT_FLOW_ATTEMPT" = 2 ]'), max_retries=3, retry_interval=1)
    done = api.ended(trigger(api, task))
    assert (done["status"], done["retry_count"]) == ("success", 1)
    first, second = done["attempts"]
    waited = datetime.fromisoformat(second["start_time"]) - datetime.fromisoformat(first["end_time"])
    assert timedelta(seconds=0.95) < waited < timedelta(seconds=4)


def test_tasks_run_side_by_side_and_block_neither_each_other_nor_the_answers(
    api: Api, tmp_path: Path
) -> None:
    """Each waits for the other's file: one after the other, neither would end."""
    pair = [("a", "b"), ("b", "a")]
    ids = [
        trigger(
            api,
            make(
                api, config=sh(f"touch {tmp_path}/{me}; until [ -e {tmp_path}/{other} ]; do sleep 0.02; done")
            ),
        )
        for me, other in pair
    ]
    assert [api.ended(execution_id)["status"] for execution_id in ids] == ["success", "success"]


def test_the_status_of_a_task_goes_through_the_printed_states(api: Api, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f'until [ -e {gate} ]; do sleep 0.02; done; [ "$ZQUANT_FLOW_ATTEMPT" -gt 1 ]'
    task = make(
        api,
        task_type="common_task",
        cron_expression="0 0 1 1 *",
        config=sh(script),
        max_retries=1,
        retry_interval=2,
        enabled=False,
    )
    path = f"/tasks/{task['id']}"

    def status() -> str:
        return str(api("GET", path)["schedule_status"])

    assert status() == "disabled"
    api("POST", f"{path}/pause", status=200)
    assert api("POST", f"{path}/enable", status=200)["schedule_status"] == "paused"
    assert api("POST", f"{path}/resume", status=200)["schedule_status"] == "pending"
    running = trigger(api, task)
    until(lambda: status() == "running", "running")
    gate.touch()
    until(lambda: status() == "failed", "a retry that is due")
    assert execution(api, running)["status"] == "pending"
    assert api.ended(running)["status"] == "success"
    assert status() == "success"

    api("PUT", path, json={"config": {"command": "false"}, "max_retries": 0}, status=200)
    assert api.ended(trigger(api, task))["status"] == "failed"
    assert status() == "terminated"


def test_a_timeout_in_the_config_ends_the_run_and_is_told(api: Api) -> None:
    task = make(api, config={"command": "sleep 300", "timeout_seconds": 0.3}, max_retries=0)
    assert task["config"]["timeout_seconds"] == 0.3
    done = api.ended(trigger(api, task))
    assert (done["status"], done["error_code"]) == ("terminated", "timeout")
    assert done["error_message"]


# ── the whole, on a real server ─────────────────────────────────────────────────────────────────────────────────────


def test_the_printed_workflow_runs_with_its_very_numbers_on_an_empty_installation(
    start_server: Callable[[], Server], far_from_18: None
) -> None:
    """Tasks 1 and 2 are those of the other two examples, and node 2 waits for task 1."""
    server = start_server()
    client = server.client
    drop(server.tasks / "script.py", "print('one')\n")
    first = client.post("/tasks", {"name": "脚本", **json.loads(COMMON_TASK)}, expect=201)
    second = client.post("/tasks", {**json.loads(CREATE), "config": {"command": "echo two"}}, expect=201)
    assert (first["id"], second["id"]) == (1, 2)
    flow = client.post("/tasks", {"name": "编排", **json.loads(WORKFLOW)}, expect=201)
    assert (flow["id"], flow["task_type"]) == (3, "workflow")
    nodes = flow["config"]["tasks"]
    assert [(node["name"], node["dependencies"]) for node in nodes] == [("任务1", []), ("任务2", ["任务1"])]
    done = client.succeeded("编排")
    assert [(child["task_id"], child["node"]) for child in done["children"]] == [(1, "任务1"), (2, "任务2")]
    one, two = done["children"]
    assert one["end_time"] <= two["start_time"]
    assert [client.log(child["id"]) for child in (one, two)] == ["one\n", "two\n"]


PIPELINE = """
import json, os, sys, time
step, folder = sys.argv[1], "pipeline"

def read(name):
    with open(f"{folder}/{name}.json", encoding="utf-8") as file:
        return json.load(file)

def days():
    return ["2026-01-05", "2026-01-06", "2026-01-07"]

STEPS = {
    "calendar": days,
    "stocks": lambda: ["600000.SH", "000001.SZ"],
    "daily": lambda: [[s, d, 10 + i] for s in read("stocks") for i, d in enumerate(read("calendar"))],
    "basics": lambda: [[s, d, close * 100] for s, d, close in read("daily")],
    "factors": lambda: [[s, d, value / 1000] for s, d, value in read("basics")],
    "statistics": lambda: {"rows": len(read("factors")), "sum": sum(row[2] for row in read("factors"))},
}
os.makedirs(folder, exist_ok=True)
made = STEPS[step]()
with open(f"{folder}/{step}.json", "w", encoding="utf-8") as file:
    json.dump(made, file)
with open(os.environ["ZQUANT_FLOW_OUTPUT"], "a", encoding="utf-8") as file:
    print(json.dumps({"entries": len(made), "execution": os.environ["ZQUANT_EXECUTION_ID"]}), file=file)
print(step, "完成")
"""

STEPS = [
    ("STEP1-同步交易日历（当日）-命令执行", "calendar", [], "0 18 * * *"),
    ("STEP2-同步股票列表-命令执行", "stocks", [], "10 18 * * *"),
    ("STEP3-同步日线行情-命令执行", "daily", [1, 2], "20 18 * * 1-5"),
    ("STEP4-同步每日指标-命令执行", "basics", [3], "0 19 * * 1-5"),
    ("STEP5-计算因子-命令执行", "factors", [4], "30 19 * * 1-5"),
    ("STEP6-统计-命令执行", "statistics", [5], "0 20 * * 1-5"),
]


def _make_pipeline(client: Client, workflow_type: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The six tasks, disabled so that only the workflow runs them, and the workflow over their ids."""
    steps = [
        client.post(
            "/tasks",
            {
                "name": name,
                "task_type": "common_task",
                "cron_expression": cron,
                "config": {"command": f"python pipeline.py {word}", "timeout_seconds": 600},
                "max_retries": 3,
                "retry_interval": 60,
                "enabled": False,
            },
            expect=201,
        )
        for name, word, _, cron in STEPS
    ]
    nodes = [
        {
            "task_id": step["id"],
            "name": step["name"],
            "dependencies": [steps[number - 1]["id"] for number in dependencies],
        }
        for step, (_, _, dependencies, _) in zip(steps, STEPS, strict=True)
    ]
    config = {"workflow_type": workflow_type, "tasks": nodes, "on_failure": "stop"}
    flow = client.post(
        "/tasks", {"name": "夜间流水线", "task_type": "workflow", "config": config}, expect=201
    )
    return steps, flow


def test_the_nightly_pipeline_of_six_commands_runs_as_one_workflow_with_a_history_for_each_node(
    start_server: Callable[[], Server],
) -> None:
    server = start_server()
    client = server.client
    drop(server.tasks / "pipeline.py", PIPELINE)
    steps, flow = _make_pipeline(client, "parallel")
    root = client.post(f"/tasks/{flow['id']}/trigger")
    assert root["message"] == "任务已触发"
    done = client.ended(root["execution_id"])
    assert done["status"] == "success", [child["error_message"] for child in done["children"]]
    assert done["progress_percent"] == 100

    nodes = {child["node"]: child for child in done["children"]}
    assert {name: node["status"] for name, node in nodes.items()} == {name: "success" for name, *_ in STEPS}
    for name, _, dependencies, _ in STEPS:
        for number in dependencies:
            assert nodes[STEPS[number - 1][0]]["end_time"] <= nodes[name]["start_time"]

    for step, (name, word, _, cron) in zip(steps, STEPS, strict=True):
        page = client.get(f"/tasks/{step['id']}/executions")
        assert page["total"] == 1
        [record] = page["executions"]
        assert (record["node"], record["parent_execution_id"]) == (name, done["id"])
        assert (record["status"], record["trigger_type"]) == ("success", "workflow")
        assert record["result"]["execution"] == str(record["id"])
        assert client.log(record["id"]) == f"{word} 完成\n"
        task = client.get(f"/tasks/{step['id']}")
        assert (task["enabled"], task["cron_expression"]) == (False, cron)
    counts = [nodes[name]["result"]["entries"] for name, *_ in STEPS]
    assert counts == [3, 2, 6, 6, 6, 2]
    made = json.loads((server.tasks / "pipeline" / "statistics.json").read_text())
    assert made == {"rows": 6, "sum": pytest.approx(2 * (10 + 11 + 12) / 10)}


def test_a_task_that_ran_as_a_node_shows_that_run_as_its_latest(api: Api) -> None:
    step = make(api)
    flow = make(api, task_type="workflow", config={"tasks": [{"name": "n", "task_id": step["id"]}]})
    root = trigger(api, flow)
    assert api.ended(root)["status"] == "success"
    [record] = api("GET", f"/tasks/{step['id']}/executions")["executions"]
    found = api("GET", f"/tasks/{step['id']}")
    assert (found["latest_execution_id"], found["latest_execution_status"]) == (record["id"], "success")
    assert found["latest_execution_time"] is not None


def test_a_step_that_fails_stops_the_pipeline_and_leaves_the_later_ones_without_a_run(
    server: Server,
) -> None:
    client = server.client
    steps = [
        client.post(
            "/tasks",
            {
                "name": name,
                "task_type": "common_task",
                "config": {"command": command},
                "max_retries": 0,
            },
            expect=201,
        )
        for name, command in [("STEP1-好", "true"), ("STEP2-坏", "false"), ("STEP3-后", "true")]
    ]
    nodes = [
        {"task_id": step["id"], "name": step["name"], "dependencies": [before["id"]] if before else []}
        for step, before in zip(steps, [None, *steps], strict=False)
    ]
    config = {"workflow_type": "serial", "tasks": nodes, "on_failure": "stop"}
    client.post("/tasks", {"name": "会停的流水线", "task_type": "workflow", "config": config}, expect=201)
    done = client.ended(client.trigger("会停的流水线"))
    assert done["status"] == "failed"
    assert [child["status"] for child in done["children"]] == ["success", "failed", "skipped"]
    starts = [
        [row["start_time"] for row in client.get(f"/tasks/{step['id']}/executions")["executions"]]
        for step in steps
    ]
    assert [sum(start is not None for start in found) for found in starts] == [1, 1, 0]
