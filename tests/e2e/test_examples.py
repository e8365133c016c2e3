"""Do the examples in tasks/ do what they say, on a real server?"""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import math
import re
import sqlite3
from contextlib import closing
from itertools import accumulate, pairwise

import httpx
import pytest

from tests.e2e.serving import EXAMPLES, until

PIPELINE = "夜间行情流水线"
STEPS = [
    "STEP1-同步交易日历",
    "STEP2-同步股票列表",
    "STEP3-同步日线行情",
    "STEP4-计算每日指标",
    "STEP5-计算因子",
    "STEP6-统计与报告",
]


@pytest.fixture(scope="module")
def pipeline(server):
    """The market pipeline, run once for all tests that look at what came of it."""
    return server.client.succeeded(PIPELINE)


def nodes_of(execution):
    return {child["node"]: child for child in execution["children"]}


def test_every_example_is_listed_and_none_has_an_error(client):
    assert client.get("/load-errors")["load_errors"] == []
    for name, source in [
        ("hello", "hello.yaml"),
        ("demo", "demo.yaml"),
        ("disk_report", "disk_report.py"),
        ("estimate_pi", "fan_out.py"),
        ("after_close", "after_close.yaml"),
        ("before_open", "before_open.py"),
        ("conditions", "conditions.yaml"),
        ("conditional_functions", "conditional_functions.py"),
        ("typed_params", "typed_params.yaml"),
        ("typed_arguments", "typed_arguments.py"),
        ("data_between_nodes", "data_between_nodes.yaml"),
        ("data_between_functions", "data_between_functions.py"),
        ("in_good_time", "in_good_time.yaml"),
        ("in_time", "in_time.py"),
        (PIPELINE, "market/nightly.yaml"),
        ("quotes_in_a_pool", "pools.yaml"),
        ("downloads_in_a_pool", "downloads.py"),
        ("fetch_twice", "overrides.yaml"),
        ("on_load_done", "webhook.yaml"),
        ("on_push", "webhook_function.py"),
        ("approval", "approval.yaml"),
        ("approval_in_python", "approval_in_python.py"),
        ("checkpoint", "checkpoint.py"),
        ("large_results", "large_results.yaml"),
        ("large_results_in_python", "large_results_in_python.py"),
        ("script", "script.yaml"),
        ("http", "http.yaml"),
        ("sql", "sql.yaml"),
        ("wait", "wait.yaml"),
        ("on_csv", "on_file.yaml"),
        ("on_json", "on_file_function.py"),
        ("told_when_it_fails", "notify.yaml"),
        ("told_when_this_fails", "notify_function.py"),
    ]:
        assert client.find(name)["source"] == source


def test_helpers_and_private_tasks_of_a_workflow_are_no_tasks(client):
    names = {task["name"] for task in client.get("/tasks", limit=1000)["tasks"]}
    assert not names & {"split", "throw", "collect", "steps", "warehouse", "make_bars", "sync_calendar"}


def test_scheduled_examples_say_when_they_run_next(client):
    assert client.find("hello")["next_run_time"].endswith("T09:00:00Z")
    assert client.find("demo")["next_run_time"] is None
    nightly = client.find(PIPELINE)
    assert (nightly["timezone"], nightly["next_run_time"][-10:]) == ("Asia/Shanghai", "T10:30:00Z")


def test_tasks_that_follow_an_exchange_run_on_its_sessions(client):
    after_close, before_open = client.find("after_close"), client.find("before_open")
    assert (after_close["calendar"], after_close["at"]) == ("XSHG", "close+30m")
    assert (before_open["calendar"], before_open["at"]) == ("XNYS", "open-15m")
    assert before_open["next_run_time"][-10:] in ("T14:15:00Z", "T13:15:00Z")
    if "calendar_horizon" not in after_close["warnings"]:
        assert after_close["next_run_time"].endswith("T07:30:00Z")


def test_an_attempt_is_told_its_sessions(client):
    told = client.log(client.succeeded("after_close")["id"])
    assert re.fullmatch(r"session (\d{4}-\d\d-\d\d|none), before it \d{4}-\d\d-\d\d\n", told)
    result = client.succeeded("before_open")["result"]["session"]
    assert result is None or re.fullmatch(r"\d{4}-\d\d-\d\d", result)


@pytest.mark.parametrize("name", ["large_results", "large_results_in_python"])
def test_large_results_go_from_node_to_node(client, name):
    root = client.succeeded(name)["id"]
    nodes = {node["node"]: node for node in client.get(f"/executions/{root}", include="children")["children"]}
    made = nodes.get("extract") or nodes["make_prices"]
    assert (made["result"], made["result_size"] > 256 * 1024) == (None, True)
    assert len(client.http.get(f"/executions/{made['id']}/result").content) == made["result_size"]
    if name == "large_results":
        assert [client.log(nodes[node]["id"]) for node in ("count", "tell")] == ["400000 bars\n", "2 days\n"]
    else:
        assert [nodes[node]["result"] for node in ("highest", "first")] == [2100.9, [100.0, 101.0]]
        assert nodes["highest"]["params"]["prices"] == {"$ref": ["nodes", "make_prices", "result"]}


def test_tasks_say_how_they_are_spread_and_when_they_are_late(client):
    found, function = client.find("in_good_time"), client.find("in_time")
    assert (found["jitter"], found["expected_within"]) == (300, 2700)
    assert (function["jitter"], function["expected_within"]) == (90, 600)
    ended = client.succeeded("in_good_time")
    assert (ended["waiting_for"], ended["deadline_missed"]) == (None, False)
    assert ended["deadline"] is not None
    assert client.succeeded("in_time")["result"] == {"logical_time": "None"}


def test_hello_says_hello(client):
    found = client.succeeded("hello")
    assert client.log(found["id"]) == "Hello from zquant-flow\n"
    assert (found["trigger_type"], found["retry_count"]) == ("api", 0)
    assert [(attempt["outcome"], attempt["exit_code"]) for attempt in found["attempts"]] == [("success", 0)]


def test_tasks_run_after_others_and_when_their_data_is_new(client):
    client.succeeded("quotes")
    assert client.get("/executions", q="quotes-report")["total"] == 0
    client.succeeded("trading-days")
    for name in ("quotes-report", "quotes-warehouse"):
        task_id = client.find(name)["id"]
        found = until(lambda: client.get(f"/tasks/{task_id}/executions")["executions"], name)  # noqa: B023
        ended = client.ended(found[0]["id"])
        assert (ended["status"], ended["trigger_type"]) == ("success", "event")


def test_signed_requests_to_webhooks_run_their_tasks(client):
    def called(name, body):
        hook = client.get(f"/tasks/{client.find(name)['id']}/hook")
        sign = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
        url = client.http.base_url.copy_with(path=hook["path"])
        answer = httpx.post(url, content=body, headers={hook["header"]: f"sha256={sign}"})
        assert answer.status_code == 202, answer.text
        return client.ended(answer.json()["execution_id"])

    found = called("on_load_done", b'{"table": "bars", "rows": 12}')
    assert client.log(found["id"]) == "12 rows of bars\n"
    assert (found["trigger_type"], found["created_by"]) == ("event", "hook:load-done")
    assert found["event"]["body"] == {"table": "bars", "rows": 12}
    assert called("on_push", b'{"ref": "refs/heads/next"}')["result"] == {
        "branch": "next",
        "started_by": "webhook",
    }


def test_a_file_in_the_inbox_runs_its_task(server, client):
    inbox = server.root / "inbox"
    (inbox / "deep").mkdir(parents=True)
    (inbox / "deep" / "three.json").write_text("[1, 2, 3]")
    (inbox / "two.csv").write_text("1\n2\n")
    for name, path in [("on_csv", inbox / "two.csv"), ("on_json", inbox / "deep" / "three.json")]:
        task_id = client.find(name)["id"]
        found = until(lambda: client.get(f"/tasks/{task_id}/executions")["executions"], name)  # noqa: B023
        ended = client.ended(found[0]["id"])
        assert (ended["trigger_type"], ended["event"]["file"]) == ("event", str(path.resolve()))
        assert ended["params"] == {"file": str(path.resolve())}
        if name == "on_json":
            assert ended["result"] == {"entries": 3}
        else:
            assert client.log(ended["id"]).split() == ["2", str(path.resolve())]


def test_demo_shows_its_progress_while_it_runs(client):
    running = client.trigger("demo")

    def between():
        found = client.execution(running)
        return found if 0 < (found["progress_percent"] or 0) < 100 else None

    half = until(between, "progress between 0 and 100")
    assert (half["status"], half["current_item"], half["total_items"]) == ("running", "steps", 10)
    found = client.ended(running)
    assert (found["status"], found["progress_percent"], found["total_items"]) == ("success", 100, 10)
    assert found["result"] == {"message": "demo", "steps": 10}
    assert client.log(running).splitlines()[-1] == "demo: step 10 of 10"


def test_a_quick_task_ends_with_its_last_progress(client):
    found = client.succeeded("disk_report", folder="market/data")
    assert (found["current_item"], found["total_items"], found["processed_items"]) == ("files", 3, 3)


def test_a_node_shows_the_arguments_it_was_called_with(client):
    nodes = nodes_of(client.succeeded("estimate_pi", points=8_000, seed=5))
    assert nodes["throw-3"]["params"] == {"points": 1_000, "seed": 7}


def test_the_disk_report_counts_the_files_beside_it(server, client, tmp_path):
    (tmp_path / "a.txt").write_text("12345")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.txt").write_text("123")
    (tmp_path / "c").write_text("1")
    found = client.succeeded("disk_report", folder=str(tmp_path), largest=1)
    assert found["result"] == {
        "files": 3,
        "bytes": 9,
        "bytes_by_suffix": {".txt": 8, "(none)": 1},
        "largest": [str(tmp_path / "a.txt")],
    }
    assert found["progress_percent"] == 100
    assert client.log(found["id"]).split() == ["5", str(tmp_path / "a.txt")]

    own = client.succeeded("disk_report")["result"]
    assert own["largest"][0] == "market/data/daily_bars.csv"
    assert own["files"] >= sum(
        path.is_file() for path in EXAMPLES.rglob("*") if "__pycache__" not in path.parts
    )


def test_a_failed_disk_report_waits_for_its_retry(client):
    failing = client.trigger("disk_report", folder="/nowhere")
    found = until(lambda: (it := client.execution(failing))["retry_count"] and it, "a first retry")
    assert (found["status"], found["waiting_for"]) == ("pending", "retry")
    assert (
        "NotADirectoryError: /nowhere is no folder"
        in client.http.get(f"/executions/{failing}/log", params={"attempt": 1}).text
    )
    client.post(f"/executions/{failing}/terminate")
    assert client.ended(failing)["status"] == "terminated"


def test_pi_is_estimated_in_parallel_parts_and_collected(client):
    found = client.succeeded("estimate_pi", points=80_000)
    nodes = nodes_of(found)
    parts = [f"throw-{number}" for number in range(1, 9)]
    assert list(nodes) == ["split", *parts, "collect"]
    assert {node["status"] for node in nodes.values()} == {"success"}
    assert nodes["split"]["result"] == {"points": 10_000, "seeds": [1, 2, 3, 4, 5, 6, 7, 8]}
    result = nodes["collect"]["result"]
    assert result["estimates"] == [nodes[part]["result"] for part in parts]
    assert result["pi"] == pytest.approx(math.pi, abs=0.03)
    assert "from 8 estimates" in client.log(nodes["collect"]["id"])


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("data_between_nodes", ("extract", "load", "report")),
        ("data_between_functions", ("pull", "push", "sum_up")),
    ],
)
def test_results_reach_commands_and_functions_with_their_types(client, name, names):
    first, second, third = (nodes_of(client.succeeded(name, limit=5))[node] for node in names)
    days = ["2026-01-05", "2026-01-06"]
    assert first["result"] == {"rows": 5, "days": days}
    assert client.log(second["id"]) == "load 5 rows of SYN001 2026-01-05, 2026-01-06\n"
    assert third["result"] == {"half": 2.5, "days": days, "file": "SYN001-20260105.csv"}


def test_a_command_finds_what_the_nodes_before_it_have_given(client):
    nodes = nodes_of(client.succeeded("data_between_nodes"))
    report, names = client.log(nodes["publish"]["id"]).splitlines()
    assert json.loads(report) == nodes["report"]["result"]
    assert names == "['extract', 'report']"


@pytest.mark.parametrize(
    ("name", "result"), [("typed_params", None), ("typed_arguments", ["SH", 5, "2026-01-05"])]
)
def test_params_have_types_and_what_does_not_fit_never_starts(client, name, result):
    found = client.succeeded(name, symbol="SH", limit="5", day=20260105)
    assert found["params"] == {"symbol": "SH", "limit": 5, "day": "2026-01-05"}
    assert client.log(found["id"]) == "SH 5 2026-01-05\n"
    assert found["result"] == result
    task = client.find(name)
    assert task["params_schema"]["required"] == ["day"]
    assert task["params_schema"]["properties"]["symbol"] == {
        "type": "string",
        "enum": ["ALL", "SH", "SZ"],
        "default": "ALL",
    }
    refused = client.http.post(
        f"/tasks/{task['id']}/trigger", json={"params": {"symbol": "X", "limit": "ten", "dya": 1}}
    )
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_params")
    assert {item["field"]: item["message"] for item in refused.json()["errors"]} == {
        "params.dya": "there is no param 'dya' (did you mean 'day'?)",
        "params.symbol": "symbol: 'X' is not one of ALL, SH, SZ",
        "params.limit": "limit: 'ten' is no integer",
        "params.day": "day is required",
    }


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("conditions", ("check", "load", "full", "report")),
        ("conditional_functions", ("new_rows", "load_rows", "load_all", "tell")),
    ],
)
def test_a_node_runs_only_if_its_condition_is_true(client, name, names):
    def ran(**params):
        nodes = nodes_of(client.succeeded(name, **params))
        return [(nodes[node]["status"], nodes[node].get("skip_reason")) for node in names]

    success, skipped = ("success", None), ("skipped", "when")
    assert ran(rows=3) == [success, success, skipped, success]
    assert ran(rows=0) == [success, skipped, skipped, success]
    assert ran(rows=0, full=True) == [success, skipped, success, success]


@pytest.mark.parametrize(
    ("name", "names"),
    [("for_each", ("codes", "load", "report")), ("each_item", ("list_codes", "load_code", "count_up"))],
)
def test_a_node_runs_for_each_item_and_gives_the_list_of_their_results(client, name, names):
    nodes = nodes_of(client.succeeded(name))
    load, report = nodes[names[1]], nodes[names[2]]
    assert load["result"] == [{"loaded": 3}, {"loaded": 5}, {"loaded": 7}]
    assert (load["processed_items"], load["total_items"]) == (3, 3)
    found = client.http.get(f"/executions/{load['id']}?include=children").json()["children"]
    assert [item["node"] for item in found] == [f"{names[1]}[{number}]" for number in range(3)]
    assert found[1]["params"]["item"] == {"code": "600004", "rows": 5}
    assert client.log(found[1]["id"]) == "600004.SH 5\n"
    assert most_at_once(found) <= 2
    assert client.log(report["id"]) == "3 codes, the last with 7 rows\n"


def test_the_same_seed_gives_the_same_pi(client):
    first, second = (
        nodes_of(client.succeeded("estimate_pi", points=8_000, seed=7))["collect"]["result"] for _ in range(2)
    )
    assert first == second


def most_at_once(nodes):
    """How many of these nodes ran at the same time, at most."""
    steps = sorted(step for node in nodes for step in ((node["start_time"], 1), (node["end_time"], -1)))
    return max(accumulate(change for _, change in steps))


def test_a_second_attempt_goes_on_where_the_first_has_stopped(server, client):
    found = client.succeeded("checkpoint")
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["failed", "success"]
    assert found["result"] == {"total": sum(range(10)), "began_at": 5}
    assert not list((server.data / "logs").glob(f"*/{found['id']}.state.json"))


def test_a_script_runs_as_a_command_does(client):
    found = client.succeeded("script")
    assert len(client.log(found["id"]).splitlines()) == 3
    assert found["result"]["words"] > found["result"]["different"] > 20


def test_statements_run_on_a_database(client):
    result = client.succeeded("sql")["result"]
    assert result["columns"] == ["symbol", "days", "highest"]
    assert result["rows"] == [["SH", 2, 3020.25], ["SZ", 1, 9800.0]]


def test_what_is_there_already_is_waited_for_in_vain(client):
    nodes = nodes_of(client.succeeded("wait"))
    assert nodes["after_midnight"]["result"]["time"][11:16] == "00:00"
    assert [file["path"].rpartition("/")[2] for file in nodes["delivered"]["result"]["files"]] == [
        "wait.yaml"
    ]


def test_downloads_share_the_two_places_of_their_pool(client):
    nodes = nodes_of(client.succeeded("quotes_in_a_pool"))
    assert most_at_once(nodes.values()) == 2
    assert min(nodes.values(), key=lambda node: node["id"])["node"] == "bonds"


def test_a_node_changes_the_task_it_refers_to_for_itself_alone(client):
    found = client.succeeded("fetch_twice")
    nodes = nodes_of(found)
    assert client.log(nodes["patient"]["id"]) == "fetched as anybody\n"
    assert client.log(nodes["hasty"]["id"]) == "fetched as hasty\n"
    graph = client.get(f"/tasks/{found['task_id']}/workflow")
    assert {node["name"]: node["group"] for node in graph["nodes"]} == {
        "patient": "fetch/slow",
        "hasty": "fetch/quick",
        "report": "",
    }


@pytest.mark.parametrize(
    ("name", "publish", "tell"),
    [("approval", "publish", "tell"), ("approval_in_python", "publish_rows", "keep_rows")],
)
def test_what_is_approved_goes_on_and_what_is_rejected_is_told(client, name, publish, tell):
    def asked(running):
        found = client.get("/executions", waiting_for="approval")["executions"]
        return next((one for one in found if one["root_execution_id"] == running), None)

    for word, said in (("approve", [publish, "admin has said"]), ("reject", [tell, "not published"])):
        running = client.trigger(name)
        question = until(lambda: asked(running), "the question")  # noqa: B023
        assert question["message"] == "3 rows are ready: publish them?"
        client.post(f"/executions/{question['id']}/{word}", {"comment": "seen"})
        nodes = nodes_of(client.ended(running))
        assert said[1] in client.log(nodes[said[0]]["id"])


def test_functions_share_a_pool_too(client):
    nodes = nodes_of(client.succeeded("downloads_in_a_pool"))
    assert nodes.pop("collect")["result"] == {"parts": ["bonds", "funds", "indexes", "stocks"]}
    assert most_at_once(nodes.values()) == 2


def test_the_market_pipeline_runs_its_six_steps_in_order(client, pipeline):
    nodes = nodes_of(pipeline)
    assert list(nodes) == STEPS
    assert {node["status"] for node in nodes.values()} == {"success"}
    results = {name[:5]: node["result"] for name, node in nodes.items()}
    assert results["STEP1"] == {"sessions": 243, "first": "2025-01-02", "last": "2025-12-31"}
    assert results["STEP2"] == {"stocks": 12}
    assert results["STEP3"] == {"rows": 12 * 243, "passed_over": 12 * (261 - 243)}
    assert results["STEP4"] == {"rows": 12 * 242}
    assert results["STEP5"] == {"rows": 12 * (243 - 21)}
    assert results["STEP6"]["stocks"] == 12
    starts = [nodes[name]["start_time"] for name in STEPS[1:]]
    assert starts == sorted(starts)
    for earlier, later in pairwise(STEPS[1:]):
        assert nodes[earlier]["end_time"] <= nodes[later]["start_time"]


def test_the_market_report_agrees_with_the_bars(server, pipeline):
    folder = server.root / "output" / "market"
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["symbol"]: line for line in csv.DictReader(file)}
    with closing(sqlite3.connect(folder / "market.db")) as database:
        closes = [
            close
            for (close,) in database.execute("SELECT close FROM bars WHERE symbol = 'SYN001' ORDER BY day")
        ]
        (ma5,) = database.execute(
            "SELECT ma5 FROM factors WHERE symbol = 'SYN001' ORDER BY day DESC LIMIT 1"
        ).fetchone()
    assert len(lines) == 12
    assert float(lines["SYN001"]["return"]) == pytest.approx(closes[-1] / closes[0] - 1, abs=1e-4)
    assert ma5 == pytest.approx(sum(closes[-5:]) / 5)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# 行情统计 2025-01-01 — 2025-12-31\n")
    assert sum(line.startswith("| SYN") for line in report.splitlines()) == 12


def test_the_market_pipeline_can_be_run_again(server, client, pipeline):
    report = server.root / "output" / "market" / "report.csv"
    before = report.read_bytes()
    again = client.succeeded(PIPELINE)
    assert [child["result"] for child in again["children"]] == [
        child["result"] for child in pipeline["children"]
    ]
    assert report.read_bytes() == before


def test_the_market_pipeline_writes_nothing_into_the_watched_folder(server, pipeline):
    def files(folder):
        return {path.relative_to(folder) for path in (folder / "market").rglob("*") if path.is_file()}

    assert {path for path in files(server.tasks) if "__pycache__" not in path.parts} == {
        path for path in files(EXAMPLES) if "__pycache__" not in path.parts
    }
