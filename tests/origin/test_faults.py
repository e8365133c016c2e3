"""The twenty faults of the origin: what it did, and that it does not happen here.

Each test stands where its fault lived: the arithmetic of cron, the engine, the API, or processes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest
from sqlalchemy import event

from tests.api.conftest import PREFIX, Api, fresh, make, until
from tests.e2e.serving import Server
from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.cron import next_after, parse_cron
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import OnFailure, WorkflowType
from zquant_flow.errors import AlreadyRunning, WrongState
from zquant_flow.logs import LIMIT
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

PARALLEL = WorkflowType.PARALLEL


def trigger(api: Api, task: dict[str, Any], **body: Any) -> int:
    """Run it now; the id of its execution."""
    return int(api("POST", f"/tasks/{task['id']}/trigger", status=200, json=body)["execution_id"])


def execution(api: Api, execution_id: int) -> dict[str, Any]:
    return dict(api("GET", f"/executions/{execution_id}?include=attempts,children", status=200))


def child(api: Api, root: int, node: str) -> dict[str, Any]:
    """A node of a running workflow, once it has an execution."""
    return dict(
        until(lambda: [c for c in execution(api, root)["children"] if c["node"] == node and c["id"]])[0]
    )


def workflow(api: Api, *nodes: dict[str, Any], **config: Any) -> dict[str, Any]:
    return make(api, task_type="workflow", max_retries=0, config={"tasks": list(nodes), **config})


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def ledger(h: Harness, task_id: int) -> list[str]:
    return [row.outcome for row in queries.ledger(h.database, task_id, 0, 1 << 60)]


def started(h: Harness) -> list[str]:
    """The nodes whose attempts were started, in order, each as often as it was."""
    return [order["node"] for order in h.backend.orders]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# ── 1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cron", "days"),  # of 2026-02: the 1st is a Sunday
    [
        ("0 0 * * 0", [1, 8, 15, 22]),
        ("0 0 * * 7", [1, 8, 15, 22]),
        ("0 0 * * 6", [7, 14, 21, 28]),
        ("0 0 * * 1-5", [2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27]),
        ("0 0 * * 6,7", [1, 7, 8, 14, 15, 21, 22, 28]),
        ("0 0 13 * ?", [13]),
        ("0 0 ? * 1", [2, 9, 16, 23]),
        ("0 0 11 * 1", [2, 9, 11, 16, 23]),
    ],
)
def test_fault_01_weekday_zero_is_sunday_seven_too_a_question_mark_is_a_star_and_either_day_field_matches(
    cron: str, days: list[int]
) -> None:
    """The origin read 0 as Monday, failed on `7` and `?`, and wanted both day fields; here cron fires as Debian's does."""
    found, fire = [], datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    while (following := next_after(parse_cron(cron), fire, ZoneInfo("UTC"))) and following.month == 2:
        found.append(following.day)
        fire = following
    assert found == days


# ── 2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _an_invalid_schedule_is_refused_by_its_field(api: Api) -> None:
    for key, value in [
        ("cron_expression", "61 18 * * *"),
        ("cron_expression", "0 18 * *"),
        ("cron_expression", "every day"),
        ("cron_expression", "0 0 30 2 *"),
        ("interval_seconds", 0),
        ("interval_seconds", -60),
    ]:
        name = fresh("never")
        body = {"name": name, "task_type": "common_task", "config": {"command": "true"}, key: value}
        said = api("POST", "/tasks", json=body, status=400)
        assert [error["field"] for error in said["errors"]] == [key], value
        assert api("GET", f"/tasks?q={name}")["total"] == 0


def _a_missing_schedule_is_told(api: Api) -> None:
    task = make(api, task_type="common_task")
    assert task["warnings"] == ["schedule_missing"]
    assert task["next_run_time"] is None
    assert api.ended(trigger(api, task))["status"] == "success"


def _six_fields_start_with_seconds_and_fire(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="30 15 18 * * *")
    assert task["next_run_time"].endswith("T10:15:30Z")  # 18:15:30 in Asia/Shanghai
    task = make(api, task_type="common_task", cron_expression="* * * * * *")
    page = until(lambda: (it := api("GET", f"/tasks/{task['id']}/executions"))["total"] and it)
    assert page["executions"][-1]["trigger_type"] == "schedule"
    api("DELETE", f"/tasks/{task['id']}", status=204)


@pytest.mark.parametrize(
    "case",
    [
        _an_invalid_schedule_is_refused_by_its_field,
        _a_missing_schedule_is_told,
        _six_fields_start_with_seconds_and_fire,
    ],
)
def test_fault_02_a_schedule_that_can_not_fire_is_refused_a_missing_one_is_told_and_seconds_work(
    api: Api, case: Callable[[Api], None]
) -> None:
    """The origin answered 201 to any schedule and never fired, six fields too; here it is refused, told, or fires."""
    case(api)


# ── 3 to 6 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fault_03_parallel_stop_starts_nothing_after_a_failure_and_no_sibling_twice(h: Harness) -> None:
    """The origin started a running sibling again and ran the failed node's child; here the running one only finishes."""
    nodes = [
        command_node("bad"),
        command_node("sibling"),
        command_node("child", "bad"),
        command_node("late", "sibling"),
    ]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=PARALLEL, on_failure=OnFailure.STOP))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("bad"), "failed")
    assert h.nodes(root)["sibling"] == "running"
    h.end(h.backend.node("sibling"))
    assert sorted(started(h)) == ["bad", "sibling"]
    assert h.nodes(root) == {"bad": "failed", "sibling": "success", "child": "skipped", "late": "skipped"}
    assert h.status(root) == "failed"


def test_fault_04_serial_continue_skips_the_descendants_of_a_failed_node(h: Harness) -> None:
    """The origin ran children of failed parents under `continue`; here all descendants are skipped and the rest runs."""
    nodes = [
        command_node("bad"),
        command_node("child", "bad"),
        command_node("grandchild", "child"),
        command_node("other"),
    ]
    [task_id] = h.define(workflow_task("w", nodes, on_failure=OnFailure.CONTINUE))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("bad"), "failed")
    h.end(h.backend.node("other"))
    assert started(h) == ["bad", "other"]
    assert h.nodes(root) == {"bad": "failed", "child": "skipped", "grandchild": "skipped", "other": "success"}
    reasons = {row.skip_reason for row in _children(h, root) if row.status == "skipped"}
    assert reasons == {"trigger_rule"}


def _children(h: Harness, root: int) -> Any:
    return queries.children_of(h.database, queries.execution_row(h.database, root))


@pytest.mark.parametrize("workflow_type", WorkflowType)
@pytest.mark.parametrize(
    ("on_failure", "status"), [(OnFailure.STOP, "failed"), (OnFailure.CONTINUE, "completed")]
)
def test_fault_05_a_workflow_with_a_failed_node_is_no_success_and_not_at_a_hundred_percent(
    h: Harness, workflow_type: WorkflowType, on_failure: OnFailure, status: str
) -> None:
    """The origin ended such a workflow `success` at 100 %; here it is `failed` or `completed` and says how many failed."""
    nodes = [command_node("good"), command_node("bad")]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=workflow_type, on_failure=on_failure))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("good"))
    h.end(h.backend.node("bad"), "failed")
    row = queries.execution_row(h.database, root)
    assert row is not None
    assert (row.status, row.progress_percent) == (status, 50.0)
    assert row.error_message


def test_fault_06_a_slow_node_holds_up_nobody_but_its_own_descendants(h: Harness) -> None:
    """The origin ran in waves behind the slowest node; here a node starts when its own dependencies allow."""
    nodes = [
        command_node("slow"),
        command_node("quick"),
        command_node("second", "quick"),
        command_node("third", "second"),
        command_node("after slow", "slow"),
    ]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    for node in ("quick", "second", "third"):
        h.end(h.backend.node(node))
    assert h.nodes(root) == {"slow": "running", "quick": "success", "second": "success", "third": "success"}
    h.end(h.backend.node("slow"))
    h.end(h.backend.node("after slow"))
    assert h.status(root) == "success"


# ── 7 and 8 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["failed", "terminated"])
def test_fault_07_resume_keeps_what_succeeded_and_runs_only_the_rest(
    api: Api, tmp_path: Path, how: str
) -> None:
    """The origin's resume repeated everything; here nodes that succeeded unchanged are reused, with their results."""
    book = tmp_path / "book"
    stuck = "false" if how == "failed" else "sleep 300"

    def nodes(second: str) -> list[dict[str, Any]]:
        kept = f'echo kept >> {book}; echo rows=7 >> "$ZQUANT_FLOW_OUTPUT"'
        blocked = f"echo blocked >> {book}; [ -e {tmp_path}/go ] || {stuck}"
        return [
            {"name": "kept", "command": sh(kept)},
            {"name": "changed", "command": sh(f"echo {second} >> {book}")},
            {"name": "blocked", "command": sh(blocked), "dependencies": ["kept", "changed"]},
            {"name": "last", "command": sh(f"echo last >> {book}"), "dependencies": ["blocked"]},
        ]

    task = workflow(api, *nodes("before"))
    old = trigger(api, task)
    if how == "terminated":
        until(lambda: child(api, old, "blocked")["status"] == "running")
        api("POST", f"/executions/{old}/terminate", status=200)
    ended = api.ended(old)
    assert ended["status"] == how
    first = {node["node"]: node for node in ended["children"]}
    (tmp_path / "go").touch()
    api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes("after")}}, status=200)

    new = api("POST", f"/executions/{old}/resume", status=200)
    assert new["id"] != old
    assert (new["resume_from_execution_id"], new["trigger_type"]) == (old, "resume")
    ended = api.ended(new["id"])
    assert ended["status"] == "success"
    again = {node["node"]: node for node in ended["children"]}
    assert {name: (node["status"], node["reused_from"]) for name, node in again.items()} == {
        "kept": ("success", first["kept"]["id"]),
        "changed": ("success", None),
        "blocked": ("success", None),
        "last": ("success", None),
    }
    assert again["kept"]["result"] == first["kept"]["result"] == {"rows": "7"}
    assert sorted(book.read_text().split()) == sorted(
        ["kept", "before", "blocked", "after", "blocked", "last"]
    )
    assert execution(api, old)["status"] == how


def _a_node_has_history_progress_and_retries(api: Api) -> None:
    script = 'echo current_item=600000.SH >> "$ZQUANT_FLOW_OUTPUT"; [ "$ZQUANT_FLOW_ATTEMPT" = 2 ]'
    step = make(api, config={"command": sh(script)}, max_retries=1, retry_interval=0)
    outer = workflow(
        api, {"name": "own task", "task_id": step["id"]}, {"name": "inline", "command": ["true"]}
    )
    root = api.ended(trigger(api, outer))
    assert root["status"] == "success"
    page = api("GET", f"/tasks/{step['id']}/executions", status=200)
    assert page["total"] == 1
    [found] = page["executions"]
    assert (found["node"], found["parent_execution_id"]) == ("own task", root["id"])
    assert (found["status"], found["retry_count"]) == ("success", 1)
    assert (found["progress_percent"], found["current_item"]) == (100, "600000.SH")
    assert [attempt["outcome"] for attempt in execution(api, found["id"])["attempts"]] == [
        "failed",
        "success",
    ]
    page = api("GET", f"/tasks/{outer['id']}/executions?include=nodes", status=200)
    assert {found["node"] for found in page["executions"]} >= {None, "inline"}


def _a_node_can_be_paused_resumed_and_terminated_alone(api: Api) -> None:
    outer = workflow(
        api,
        {"name": "long", "command": ["sleep", "300"]},
        {"name": "other", "command": ["true"]},
        workflow_type="parallel",
        on_failure="continue",
    )
    root = trigger(api, outer)
    node = child(api, root, "long")["id"]
    for verb, status in [("pause", "paused"), ("resume", "running"), ("terminate", "terminated")]:
        until(lambda: execution(api, node)["status"] in ("running", "paused"))
        api("POST", f"/executions/{node}/{verb}", status=200)
        until(lambda status=status: execution(api, node)["status"] == status)
    ended = api.ended(root)
    assert ended["status"] == "completed"
    assert {node["node"]: node["status"] for node in ended["children"]} == {
        "long": "terminated",
        "other": "success",
    }


def _a_workflow_can_not_contain_itself(api: Api) -> None:
    leaf = {"name": "leaf", "command": ["true"]}
    inner = workflow(api, leaf)
    outer = workflow(api, {"name": "inner", "task_id": inner["id"]})
    for task in (inner, outer):
        nodes = [leaf, {"name": "again", "task_id": outer["id"]}]
        said = api("PUT", f"/tasks/{task['id']}", json={"config": {"tasks": nodes}}, status=400)
        assert outer["name"] in said["detail"]
        assert api("GET", f"/tasks/{task['id']}")["config"] == task["config"]
        assert api.ended(trigger(api, task))["status"] == "success"


@pytest.mark.parametrize(
    "case",
    [
        _a_node_has_history_progress_and_retries,
        _a_node_can_be_paused_resumed_and_terminated_alone,
        _a_workflow_can_not_contain_itself,
    ],
)
def test_fault_08_a_node_has_an_execution_of_its_own_and_no_workflow_contains_itself(
    api: Api, case: Callable[[Api], None]
) -> None:
    """The origin's nodes left no trace and could hold their own workflow; here each has an execution, and cycles are refused."""
    case(api)


# ── 9 to 14 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fault_09_three_retries_are_three_and_their_wait_survives_restarts_without_a_thread(
    tmp_path: Path,
) -> None:
    """The origin retried once, in a thread that slept; here the next time is a fact that needs no thread and no slot."""
    with Harness(tmp_path, slots=1) as h:
        flaky, other = h.define(command_task("flaky", action=retrying(3, 3600)), command_task("other"))
        execution_id = h.operations.trigger(flaky, actor="me")
        threads = threading.active_count()
        for number in (1, 2, 3):
            h.end(execution_id, "failed")
            row = queries.execution_row(h.database, execution_id)
            assert row is not None
            assert (row.status, row.retry_count, row.waiting_for) == ("pending", number, "retry")
            assert threading.active_count() == threads
            h.end(h.operations.trigger(other, actor="me"))  # the only slot is free while the retry waits
            h.tick(3000)
            h.restart(kill=number == 1)  # a crash, then orderly stops: neither waits for the retry
            h.tick(599)
            assert execution_id not in h.backend.active
            h.tick(1)
            assert h.backend.active[execution_id]["attempt"] == number + 1
        h.end(execution_id, "failed")
        assert h.status(execution_id) == "failed"
        assert [row.attempt for row in queries.attempts_of(h.database, execution_id)] == [1, 2, 3, 4]


def test_fault_10_a_retry_is_alive_terminate_reaches_it_and_resume_starts_no_second_copy(h: Harness) -> None:
    """The origin took a retry for dead: terminate closed the row of a live one, resume ran it twice; here it is known."""
    execution_id = h.operations.trigger(h.define(command_task("t", action=retrying(1)))[0], actor="me")
    h.end(execution_id, "failed")
    with pytest.raises(WrongState):
        h.operations.resume_execution(execution_id, actor="me")
    h.tick(60)
    h.tick(24 * 600)
    h.restart()
    with pytest.raises(WrongState):
        h.operations.resume_execution(execution_id, actor="me")
    assert h.status(execution_id) == "running"
    assert [order["attempt"] for order in h.backend.orders] == [1, 2]

    asked: list[tuple[int, int]] = []
    h.backend.terminate = lambda id_, attempt, *_, **__: asked.append((id_, attempt))  # type: ignore[method-assign]
    h.operations.terminate(execution_id, actor="me")
    h.settle()
    assert asked == [(execution_id, 2)]
    row = queries.execution_row(h.database, execution_id)
    assert row is not None
    assert (row.status, row.terminate_requested) == ("running", True)
    h.end(execution_id, "terminated")
    assert h.status(execution_id) == "terminated"


def test_fault_11_one_instance_is_one_and_the_slots_are_a_limit_under_any_race(tmp_path: Path) -> None:
    """In the origin 5 ran at once in spite of both limits; here the check and the insert are one decision."""
    with Harness(tmp_path, slots=2) as h:
        [one] = h.define(command_task("one", schedule=EVERY_MINUTE))
        gate = threading.Barrier(8)

        def race() -> int | None:
            gate.wait(10)
            try:
                return h.operations.trigger(one, actor="me")
            except AlreadyRunning:
                return None

        h.clock.advance(60)  # the schedule is in the race too
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(race) for _ in range(8)]
            h.engine.ring()
        h.settle()
        assert len(h.backend.active) == len(h.backend.orders) == 1
        assert sum(call.result() is not None for call in calls) <= 1
        assert len(queries.active_of(h.database, [one])[one]) == 1

        others = [h.define(command_task(f"other {number}"))[0] for number in range(4)]
        waiting = [h.operations.trigger(task_id, actor="me") for task_id in others]
        assert [h.status(id_) for id_ in waiting] == ["running", "pending", "pending", "pending"]
        while h.backend.active:
            assert len(h.backend.active) <= 2
            h.end(min(h.backend.active))
        assert {h.status(id_) for id_ in waiting} == {"success"}


def test_fault_12_a_crash_leaves_no_row_running_for_ever_and_no_missed_fire_without_a_word(
    h: Harness,
) -> None:
    """The origin's rows stayed `running` and blocked their task, missed fires vanished; here both are settled at the start."""
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    lost = h.operations.trigger(task_id, actor="me")
    h.backend.active.clear()  # the machine went down, with all that ran on it
    h.engine.stop(keep_attempts=True)
    h.clock.advance(3600)
    h.restart()
    h.settle()
    row = queries.execution_row(h.database, lost)
    assert row is not None
    assert (row.status, row.error_code) == ("terminated", "attempt_lost")
    [now] = h.backend.active
    assert now != lost
    entries = queries.ledger(h.database, task_id, 0, 1 << 60)
    assert entries[0].outcome == "coalesced"
    assert entries[0].until > entries[0].logical_time
    assert [entry.outcome for entry in entries].count("fired") == 1
    h.end(now)
    h.tick(60)
    assert len(h.backend.active) == 1


def test_fault_13_a_trigger_runs_a_paused_task_and_leaves_it_paused(h: Harness) -> None:
    """The origin's trigger un-paused the task; here the run happens and the schedule stays still."""
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.operations.pause(task_id, actor="me")
    h.end(h.operations.trigger(task_id, actor="me"))
    row = queries.task_row(h.database, task_id)
    assert row is not None
    assert (row.paused, row.next_fire) == (True, None)
    h.tick(3600)
    h.restart()
    h.tick(60)
    assert len(h.backend.orders) == 1
    h.operations.resume(task_id, actor="me")
    h.tick(60)
    assert len(h.backend.orders) == 2


@pytest.mark.parametrize("host", ["UTC", "Asia/Shanghai", "America/Los_Angeles"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_fault_14_a_trigger_runs_now_whatever_the_zones_of_host_and_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, zone: str
) -> None:
    """The origin ran at a naive local time, 8 h ago on a UTC host, and dropped it; here the run starts at this instant."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", host)
        time.tzset()
        with Harness(tmp_path, zone=zone) as h:
            execution_id = h.operations.trigger(h.define(command_task("t"))[0], actor="me")
            assert [order["id"] for order in h.backend.orders] == [execution_id]
            row = queries.execution_row(h.database, execution_id)
            assert row is not None
            assert (row.status, row.created_time) == ("running", to_micros(h.clock.now()))
            assert h.clock.now() == datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    time.tzset()


# ── 15 to 18 ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fault_15_total_counts_all_matches_and_every_page_is_offered(api: Api) -> None:
    """In the origin `total` was the length of the page, so that page 2 never came; here it counts all that match."""
    mark = fresh("page")
    tasks = [make(api, name=f"{mark}-{number}", overlap="allow") for number in range(5)]
    pages = [api("GET", f"/tasks?q={mark}&limit=2&skip={skip}", status=200) for skip in (0, 2, 4)]
    assert [page["total"] for page in pages] == [5, 5, 5]
    assert [task["id"] for page in pages for task in page["tasks"]] == [task["id"] for task in tasks]

    ids = [trigger(api, tasks[0]) for _ in range(5)]
    for execution_id in ids:
        api.ended(execution_id)
    for path in (f"/tasks/{tasks[0]['id']}/executions", "/executions"):
        pages = [api("GET", f"{path}?limit=2&skip={skip}", status=200) for skip in (0, 2, 4)]
        found = [row["id"] for page in pages for row in page["executions"]]
        assert found[:5] == sorted(ids, reverse=True)
        assert {page["total"] for page in pages} == {api("GET", f"{path}?limit=1000")["total"]}
    path, found = f"/tasks/{tasks[0]['id']}/executions", []
    query: dict[str, Any] = {"limit": 2}
    for rest in (3, 1, 0):
        page = api("GET", path, params=query, status=200)
        found += [row["id"] for row in page["executions"]]
        assert (page["total"], isinstance(page["next_cursor"], str)) == (5, rest > 0)
        query["cursor"] = page["next_cursor"]
    assert found == sorted(ids, reverse=True)


def test_fault_16_a_trigger_while_it_runs_is_a_409_and_no_error_is_bare(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin answered 500 to both; here the first names the execution, and the unexpected has a code and no trace."""
    task = make(api, config={"command": ["sleep", "300"]})
    running = trigger(api, task)
    path = f"/tasks/{task['id']}/trigger"
    said = api("POST", path, status=409)
    assert (said["code"], said["execution_id"]) == ("already_running", running)
    assert str(running) in said["detail"]
    api("POST", f"/executions/{running}/terminate", status=200)
    api.ended(running)

    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("password of the database")

    with monkeypatch.context() as patch:
        patch.setattr(api.scheduler.operations, "trigger", fail)
        said = api("POST", path, status=500)
    assert said["code"] == "internal_error"
    assert said["detail"]
    assert not re.search("password|RuntimeError|Traceback|\\.py", str(said))
    assert execution(api, trigger(api, task))["id"] > running
    api("DELETE", f"/tasks/{task['id']}?terminate=true", status=204)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=["no token", "a wrong one"])
def test_fault_17_without_the_token_nothing_is_triggered_changed_or_read(
    api: Api, headers: dict[str, str]
) -> None:
    """In the origin any signed-in user could trigger, switch and read commands; here every route wants the token."""
    task = make(api, config={"command": ["echo", "a-secret-word"]})
    done = api.ended(trigger(api, task))["id"]
    names = {"task_id": task["id"], "execution_id": done}
    asked = 0
    for path, methods in api.client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        if not path.startswith(PREFIX):
            continue
        filled = re.sub(r"\{(\w+)\}", lambda found: str(names.get(found[1], "command")), path)
        for method in methods:
            answer = api.client.request(method.upper(), filled, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert "a-secret-word" not in answer.text
            asked += 1
    assert asked >= 20
    after = api("GET", f"/tasks/{task['id']}", status=200)
    for key in ("enabled", "paused", "version", "archived_time", "config"):
        assert after[key] == task[key]
    assert after["latest_execution_id"] == done


@pytest.mark.parametrize("emptied", [{}, {"cron_expression": None}], ids=["not sent", "sent as null"])
def test_fault_18_a_task_goes_from_cron_to_interval_and_back(api: Api, emptied: dict[str, None]) -> None:
    """In the origin the emptied field was not sent and cron won; here naming one kind of schedule replaces the other."""
    task = make(api, task_type="common_task", cron_expression="0 0 1 1 *")
    path = f"/tasks/{task['id']}"
    task = api("PUT", path, json={**emptied, "interval_seconds": 1}, status=200)
    assert (task["cron_expression"], task["interval_seconds"]) == (None, 1)
    assert datetime.fromisoformat(task["next_run_time"]) < datetime.now(UTC) + timedelta(seconds=2)
    page = until(lambda: (it := api("GET", f"{path}/executions"))["total"] and it)
    assert page["executions"][-1]["trigger_type"] == "schedule"
    text = (api.tasks / task["source"]).read_text(encoding="utf-8")
    assert ("cron" in text, "interval" in text) == (False, True)

    body = {"cron_expression": "0 0 1 1 *"} | ({"interval_seconds": None} if emptied else {})
    task = api("PUT", path, json=body, status=200)
    assert (task["cron_expression"], task["interval_seconds"]) == ("0 0 1 1 *", None)


# ── 19 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["timeout", "terminate"])
def test_fault_19_an_end_comes_at_once_for_the_whole_process_group_and_output_is_a_capped_file(
    server: Server, tmp_path: Path, how: str
) -> None:
    """The origin looked every 15 s, killed the direct child only and kept all output in memory; here none of that is so."""
    client, limit = server.client, 2.0
    script = (
        f"head -c 20000000 /dev/zero | tr '\\0' x; sh -c 'sleep 60 & echo $! > {tmp_path}/inner; wait' & "
        f"echo $! > {tmp_path}/outer; wait"
    )
    config = {"command": sh(script), "timeout_seconds": limit if how == "timeout" else 3600}
    task = client.post(
        "/tasks",
        {"name": f"fault 19 {how}", "task_type": "manual_task", "max_retries": 0, "config": config},
        expect=201,
    )
    execution_id = client.post(f"/tasks/{task['id']}/trigger")["execution_id"]
    files = [tmp_path / "inner", tmp_path / "outer"]
    pids = until(lambda: all(f.exists() and f.read_text().strip() for f in files) and _numbers_in(files))
    assert not any(map(is_gone, pids))
    asked = time.monotonic()
    if how == "terminate":
        client.post(f"/executions/{execution_id}/terminate")
    found = client.ended(execution_id)
    assert found["status"] == "terminated"
    if how == "timeout":
        assert limit <= found["duration_seconds"] < limit + 2
        assert found["attempts"][0]["outcome"] == "timeout"
    else:
        assert time.monotonic() - asked < 2
    until(lambda: all(map(is_gone, pids)), 2)

    [log] = (server.data / "logs").rglob(f"{execution_id}-1.log")
    assert LIMIT <= log.stat().st_size < LIMIT + 1000
    assert max(_peaks(server)) < 300


def _numbers_in(files: list[Path]) -> list[int]:
    return [int(file.read_text()) for file in files]


def _peaks(server: Server) -> list[float]:
    """The most memory, in MB, that the server and each process it started has ever had."""
    assert server._process is not None
    found = []
    for process in [main := psutil.Process(server._process.pid), *main.children(recursive=True)]:
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        found += [int(peak[1]) / 1024] if peak else []
    return found


# ── 20 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _statistics_count_what_has_ended(api: Api) -> None:
    script = '[ "$ZQF_PARAM_WORD" != wait ] || sleep 300; [ "$ZQF_PARAM_WORD" = good ]'
    task = make(api, config={"command": sh(script)}, max_retries=0, overlap="allow")
    ended = [api.ended(trigger(api, task, params={"word": word})) for word in ("good", "good", "bad")]
    running = trigger(api, task, params={"word": "wait"})
    until(lambda: execution(api, running)["status"] == "running")
    statements: list[str] = []
    database = api.scheduler.database

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        found = api("GET", f"/stats?task_id={task['id']}", status=200)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    whole = [statement for statement in statements if re.search(r"\bFROM executions\b", statement)]
    assert all(re.search(r"\b(count|sum|avg|max|limit)\b|\bid (=|IN)", s, re.I) for s in whole), whole
    counts = ("total_executions", "success_count", "failed_count", "running_count")
    assert {key: found[key] for key in counts} == dict(zip(counts, (4, 2, 1, 1), strict=True))
    assert found["success_rate"] == pytest.approx(2 / 3)
    seconds = [row["duration_seconds"] for row in ended]
    assert min(seconds) - 0.01 <= found["avg_duration_seconds"] <= max(seconds) + 0.01
    latest = datetime.fromisoformat(found["latest_execution_time"])
    assert latest == datetime.fromisoformat(execution(api, running)["created_time"])
    since = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = api("GET", "/stats", params={"task_id": task["id"], "since": since}, status=200)
    assert later["total_executions"] == later["success_count"] == 0
    api("DELETE", f"/tasks/{task['id']}?terminate=true", status=204)


def _validation_names_a_cycle(api: Api) -> None:
    nodes = [
        {"name": name, "command": ["true"], "dependencies": [other]}
        for name, other in [("one", "three"), ("two", "one"), ("three", "two")]
    ]
    body = {"name": fresh(), "task_type": "workflow", "config": {"tasks": nodes}}
    said = api("POST", "/tasks", json=body, status=400)
    assert {"one", "two", "three"} <= set(re.findall(r"\w+", said["detail"]))
    said = api("POST", "/workflow/validate", json=body["config"], status=200)
    assert said["valid"] is False
    assert {"one", "two", "three"} <= set(re.findall(r"\w+", str(said["errors"])))


def _the_task_of_a_node_is_not_deleted_without_force(api: Api) -> None:
    step = make(api)
    outer = workflow(api, {"name": "step", "task_id": step["id"]})
    said = api("DELETE", f"/tasks/{step['id']}", status=409)
    assert outer["name"] in said["detail"]
    assert api.ended(trigger(api, outer))["status"] == "success"


def _every_instant_has_an_offset(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 0 1 1 *")
    done = api.ended(trigger(api, task))
    listed = api("GET", f"/tasks?q={task['name']}")["tasks"][0]
    for thing in (task, listed, done, *done["attempts"]):
        instants = {key: value for key, value in thing.items() if key.endswith("_time") and value}
        assert instants
        for key, value in instants.items():
            assert datetime.fromisoformat(value).utcoffset() is not None, key


@pytest.mark.parametrize(
    "case",
    [
        _statistics_count_what_has_ended,
        _validation_names_a_cycle,
        _the_task_of_a_node_is_not_deleted_without_force,
        _every_instant_has_an_offset,
    ],
)
def test_fault_20_statistics_validation_deletion_and_instants_can_be_trusted(
    api: Api, case: Callable[[Api], None]
) -> None:
    """The origin loaded all rows, counted running ones, let cycles and broken workflows through, and had naive times."""
    case(api)
