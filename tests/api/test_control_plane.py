"""Lists with cursors, keys, conditions, bulk, statistics, tokens, versions, what is ahead: as a client meets them."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.to_thread
import pytest

from tests.api.conftest import TOKEN, Api, fresh, make, until
from tests.core.test_sessions import JANUARY
from zquant_flow.api.app import PREFIX

DEEP = {"Authorization": f"Bearer {TOKEN}"}


def ran(api: Api, task_id: int, **body: Any) -> dict[str, Any]:
    """The task's next execution, once it has ended."""
    return api.ended(api("POST", f"/tasks/{task_id}/trigger", json=body, status=200)["execution_id"])


def headers_of(api: Api, path: str) -> dict[str, str]:
    return dict(api.client.get(PREFIX + path, headers=DEEP).headers)


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_walked_by_its_cursor_and_total_counts_all(api: Api) -> None:
    tag = fresh("tag")
    names = sorted(make(api, tags=[tag])["name"] for _ in range(5))
    seen, cursor = [], None
    while True:
        page = api(
            "GET",
            "/tasks",
            params={"tag": tag, "limit": 2, "order_by": "name", **({"cursor": cursor} if cursor else {})},
            status=200,
        )
        assert page["total"] == 5
        seen += [task["name"] for task in page["tasks"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == names
    assert seen == sorted(seen)


@pytest.mark.parametrize("order_by", ["latest_execution_time", "next_run_time", "enabled"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_cursor_passes_those_without_a_value(api: Api, order_by: str, order: str) -> None:
    tag = fresh("tag")
    made = [make(api, tags=[tag]) for _ in range(4)]
    make(api, tags=[tag], task_type="common_task", cron_expression="0 1 1 1 *")
    ran(api, made[0]["id"])
    query = {"tag": tag, "order_by": order_by, "order": order}
    whole = [task["id"] for task in api("GET", "/tasks", params=query)["tasks"]]
    seen, cursor = [], ""
    while cursor is not None:
        page = api("GET", "/tasks", params={**query, "limit": 2, "cursor": cursor}, status=200)
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert seen == whole
    assert len(whole) == 5


@pytest.mark.parametrize("cursor", ["x", "eyJ9", "WyJuZXdlc3QiXQ", "😀", "A" * 400])
def test_a_cursor_that_no_list_gave_is_400(api: Api, cursor: str) -> None:
    for path in ("/tasks", "/executions"):
        assert api("GET", path, params={"cursor": cursor}, status=400)["code"] == "bad_request"


def test_a_cursor_of_another_order_is_400(api: Api) -> None:
    tag = fresh("tag")
    for _ in range(2):
        make(api, tags=[tag])
    cursor = api("GET", "/tasks", params={"tag": tag, "limit": 1, "order_by": "name"})["next_cursor"]
    answer = api("GET", "/tasks", params={"tag": tag, "cursor": cursor}, status=400)
    assert "another order" in answer["detail"]


def test_executions_are_found_by_status_tag_source_text_trigger_and_time(api: Api) -> None:
    tag = fresh("tag")
    good, bad = make(api, tags=[tag]), make(api, tags=[tag], config={"command": "false"}, max_retries=0)
    before = datetime.now(UTC).isoformat()
    first, second = ran(api, good["id"]), ran(api, bad["id"])
    assert (first["status"], second["status"]) == ("success", "failed")

    def found(**query: Any) -> list[int]:
        page = api("GET", "/executions", params={"tag": tag, **query}, status=200)
        assert page["total"] == len(page["executions"])
        return [execution["id"] for execution in page["executions"]]

    assert found() == [second["id"], first["id"]]
    assert found(status="failed") == [second["id"]]
    assert found(status=["failed", "success"]) == [second["id"], first["id"]]
    assert found(trigger_type="api") == [second["id"], first["id"]]
    assert found(trigger_type="schedule") == []
    assert found(q=good["name"]) == [first["id"]]
    assert found(source=bad["source"]) == [second["id"]]
    assert found(since=before) == [second["id"], first["id"]]
    assert found(until=before) == []
    assert api("GET", "/tasks", params={"tag": tag, "status": "failed"})["tasks"][0]["id"] == bad["id"]
    assert api("GET", "/executions", params={"trigger_type": "magic"}, status=400)


def test_workflows_show_their_nodes_where_they_are_asked_for(api: Api) -> None:
    shared = make(api)
    flow = make(
        api,
        task_type="workflow",
        config={
            "tasks": [
                {"name": "a", "command": "true"},
                {"name": "b", "task_id": shared["id"], "dependencies": ["a"]},
            ]
        },
    )
    listed = api("GET", "/tasks", params={"name": flow["name"], "include_nodes": True})["tasks"][0]
    assert [(node["id"], node["name"]) for node in listed["nodes"]] == [(None, "a"), (shared["id"], "b")]
    assert "nodes" not in api("GET", "/tasks", params={"name": flow["name"]})["tasks"][0]


def test_long_lists_come_whole(api: Api) -> None:
    names = [{"name": f"n{number}", "command": "true"} for number in range(450)]
    flow = make(api, task_type="workflow", config={"workflow_type": "parallel", "tasks": names})
    execution_id = api("POST", f"/tasks/{flow['id']}/trigger")["execution_id"]
    api("POST", f"/executions/{execution_id}/terminate")
    execution = until(lambda: _ended(api, execution_id))
    assert {child["node"] for child in execution["children"]} == {node["name"] for node in names}
    assert execution["params"] == {}


def _ended(api: Api, execution_id: int) -> Any:
    found = api("GET", f"/executions/{execution_id}?include=children")
    return found if found["status"] == "terminated" else None


# ── keys and conditions ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_repeated_request_with_a_key_causes_nothing_new(api: Api) -> None:
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}, "overlap": "allow"}
    keyed = {"Idempotency-Key": fresh("key")}
    first = api("POST", "/tasks", json=body, headers=keyed, status=201)
    assert api("POST", "/tasks", json=body, headers=keyed, status=201)["id"] == first["id"]
    assert api("POST", "/tasks", json=body, status=409)["code"] == "name_in_use"
    other = api("POST", "/tasks", json={**body, "name": fresh()}, headers=keyed, status=422)
    assert other["code"] == "idempotency_key_reused"

    keyed = {"Idempotency-Key": fresh("key")}
    path = f"/tasks/{first['id']}/trigger"
    assert (
        api("POST", path, headers=keyed)["execution_id"] == api("POST", path, headers=keyed)["execution_id"]
    )
    assert api("POST", path, json={"params": {"a": 1}}, headers=keyed, status=422)


@pytest.mark.parametrize("key", ["", "with blanks", "x" * 300])
def test_a_key_that_is_none_is_422(api: Api, key: str) -> None:
    task = make(api)
    api("POST", f"/tasks/{task['id']}/trigger", headers={"Idempotency-Key": key}, status=422)


def test_a_change_of_what_has_changed_meanwhile_is_412(api: Api) -> None:
    task = make(api)
    path = f"/tasks/{task['id']}"
    tag = headers_of(api, path)["etag"]
    api("PUT", path, json={"description": "mine"}, headers={"If-Match": tag}, status=200)
    answer = api("PUT", path, json={"description": "yours"}, headers={"If-Match": tag}, status=412)
    assert answer["code"] == "precondition_failed"
    assert api("GET", path)["description"] == "mine"
    api("DELETE", path, headers={"If-Match": tag}, status=412)
    now = headers_of(api, path)["etag"]
    assert now == answer["etag"]
    api("POST", f"{path}/disable")
    api("PUT", path, json={"enabled": True}, headers={"If-Match": now}, status=412)
    api("PUT", path, json={"description": "any"}, headers={"If-Match": "*"}, status=200)
    several = f'"other", {headers_of(api, path)["etag"]}'
    api("PUT", path, json={"description": "several"}, headers={"If-Match": several}, status=200)
    api("DELETE", path, headers={"If-Match": headers_of(api, path)["etag"]}, status=204)


def test_running_a_task_does_not_change_its_etag(api: Api) -> None:
    task = make(api)
    before = headers_of(api, f"/tasks/{task['id']}")["etag"]
    ran(api, task["id"])
    assert headers_of(api, f"/tasks/{task['id']}")["etag"] == before


def test_a_new_id_starts_afresh_under_an_archived_name(api: Api) -> None:
    old = make(api)
    ran(api, old["id"])
    api("DELETE", f"/tasks/{old['id']}", status=204)
    body = {"name": old["name"], "task_type": "manual_task", "config": {"command": "true"}}
    new = api("POST", "/tasks?new_id=true", json=body, status=201)
    assert new["id"] != old["id"]
    assert api("GET", f"/tasks/{new['id']}/executions")["total"] == 0
    assert api("GET", f"/tasks/{old['id']}/executions")["total"] == 1
    assert api("GET", f"/tasks/{old['id']}")["name"].startswith(old["name"])
    api("DELETE", f"/tasks/{new['id']}", status=204)
    assert api("POST", "/tasks", json=body, status=201)["id"] == new["id"], "without it, the id returns"


# ── bulk, run once, backfill ────────────────────────────────────────────────────────────────────────────────────────


def test_a_bulk_action_answers_for_each(api: Api) -> None:
    first, second = make(api), make(api)
    ids = [first["id"], 987_654, second["id"]]
    answer = api("POST", "/tasks/bulk", json={"action": "disable", "task_ids": ids}, status=200)
    assert (answer["succeeded"], answer["failed"]) == (2, 1)
    assert [(item["task_id"], item["ok"]) for item in answer["results"]] == list(
        zip(ids, (True, False, True), strict=True)
    )
    assert answer["results"][1]["code"] == "task_not_found"
    assert not api("GET", f"/tasks/{second['id']}")["enabled"]
    for action in ("enable", "pause", "resume"):
        assert api("POST", "/tasks/bulk", json={"action": action, "task_ids": [first["id"]]})["failed"] == 0
    started = api("POST", "/tasks/bulk", json={"action": "trigger", "task_ids": [first["id"], second["id"]]})
    for item in started["results"]:
        assert api.ended(item["execution_id"])["status"] == "success"
    gone = api("POST", "/tasks/bulk", json={"action": "delete", "task_ids": [first["id"], second["id"]]})
    assert gone["succeeded"] == 2
    assert not (api.tasks / first["source"]).exists()


def test_what_is_missing_is_believed_on_request(api: Api) -> None:
    names = [fresh("gone") for _ in range(3)]
    for name in names:
        api.file(f"{name}.yaml", f"name: {name}\ncommand: 'true'\n")
    assert api("POST", "/tasks/prune", status=200)["files"] == []
    for name in names:
        (api.tasks / f"{name}.yaml").unlink()
    files = api("POST", "/tasks/prune", status=200)["files"]
    assert set(files) <= {f"{name}.yaml" for name in names}, "those that the watcher had not seen yet"
    for name in names:
        assert api("GET", "/tasks", params={"name": name})["total"] == 0


def test_a_definition_is_run_once_and_stands_in_no_list(api: Api) -> None:
    name = fresh()
    body = {"definition": {"name": name, "command": "echo hello"}, "params": {}}
    answer = api("POST", "/executions", json=body, status=201)
    execution = api.ended(answer["execution_id"])
    assert (execution["status"], execution["task_name"]) == ("success", name)
    assert api("GET", f"/executions/{execution['id']}/log").text == "hello\n"
    assert api("GET", "/tasks", params={"name": name, "archived": True})["total"] == 0
    assert api("GET", "/executions", params={"q": name})["executions"][0]["id"] == execution["id"]
    assert not list(api.tasks.glob(f"*{name}*"))
    wrong = {"definition": {"name": name, "comand": "true"}}
    assert api("POST", "/executions", json=wrong, status=422)["errors"][0]["field"] == "definition.comand"


def test_a_backfill_says_first_what_it_would_run(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 0 * * *", enabled=False, timezone="UTC")
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T23:59:59Z"}
    dry = api("POST", f"/tasks/{task['id']}/backfill", json={**span, "dry_run": True}, status=200)
    assert [item["execution_id"] for item in dry["executions"]] == [None] * 3
    made = api("POST", f"/tasks/{task['id']}/backfill", json={**span, "parallel": 2}, status=200)
    assert [item["logical_time"][:10] for item in made["executions"]] == [
        "2026-01-01",
        "2026-01-02",
        "2026-01-03",
    ]
    for item in made["executions"]:
        execution = api.ended(item["execution_id"])
        assert (execution["status"], execution["backfill_id"]) == ("success", made["backfill_id"])
    again = api("POST", f"/tasks/{task['id']}/backfill", json=span, status=200)
    assert (again["executions"], len(again["fired_before"])) == ([], 3)
    fired = api("GET", f"/tasks/{task['id']}/fires")["fires"]
    assert [fire["outcome"] for fire in fired] == ["fired"] * 3


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"from": "2026-01-03T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "later than"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}, "future"),
        ({"from": "1999-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "shorter"),
    ],
)
def test_a_backfill_that_can_not_be_meant_is_400(api: Api, body: dict[str, str], word: str) -> None:
    task = make(api, task_type="common_task", cron_expression="* * * * *", enabled=False)
    assert word in api("POST", f"/tasks/{task['id']}/backfill", json=body, status=400)["detail"]


def test_a_backfill_is_cancelled_as_one_and_its_logical_times_can_be_asked_for_again(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 9 * * *", config={"command": "sleep 60"})
    span = {"from": "2026-02-02T00:00:00+08:00", "to": "2026-02-04T23:00:00+08:00"}
    made = api("POST", f"/tasks/{task['id']}/backfill", json=span, status=200)
    number, rest = made["backfill_id"], [item["execution_id"] for item in made["executions"][1:]]
    [listed] = api("GET", f"/backfills?task_id={task['id']}", status=200)["backfills"]
    assert (listed["id"], sum(listed["counts"].values()), listed["cancelled_by"]) == (number, 3, None)
    answer = api("POST", f"/backfills/{number}/cancel?terminate=true", status=200)
    assert answer == {"backfill_id": number, "cancelled": rest}
    assert api.ended(number)["status"] == "terminated"
    found = api("GET", f"/backfills/{number}", status=200)
    assert (found["counts"], found["cancelled_by"]) == ({"terminated": 3}, "admin")
    again = api("POST", f"/tasks/{task['id']}/backfill", json={**span, "dry_run": True}, status=200)
    assert (len(again["executions"]), len(again["fired_before"])) == (2, 1)
    assert api("GET", "/backfills/99999", status=404)["code"] == "backfill_not_found"


def test_a_task_without_schedule_has_nothing_to_backfill(api: Api) -> None:
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    assert "no schedule" in api("POST", f"/tasks/{make(api)['id']}/backfill", json=span, status=400)["detail"]


def test_a_failed_workflow_is_resumed_over_rest(api: Api) -> None:
    flag = api.tasks / "flag"
    flow = make(
        api,
        task_type="workflow",
        max_retries=0,
        config={
            "tasks": [
                {"name": "a", "command": "true"},
                {"name": "b", "command": f"test -e {flag}", "dependencies": ["a"]},
            ]
        },
    )
    failed = ran(api, flow["id"])
    assert failed["status"] == "failed"
    flag.write_text("")
    again = api("POST", f"/executions/{failed['id']}/resume", status=200)
    assert (again["resume_from_execution_id"], again["trigger_type"]) == (failed["id"], "resume")
    ended = api.ended(again["id"])
    assert ended["status"] == "success"
    reused = {child["node"]: child["reused_from"] for child in ended["children"]}
    assert reused["b"] is None
    assert reused["a"] in [child["id"] for child in failed["children"]]
    assert api("POST", f"/executions/{ended['id']}/resume", status=409)["code"] == "wrong_state"


# ── what is known of tasks ──────────────────────────────────────────────────────────────────────────────────────────


def test_versions_are_kept(api: Api) -> None:
    task = make(api)
    api("PUT", f"/tasks/{task['id']}", json={"description": "second"})
    found = api("GET", f"/tasks/{task['id']}/versions")
    assert [(item["version"], item["current"]) for item in found["versions"]] == [(2, True), (1, False)]
    second = api("GET", f"/tasks/{task['id']}/versions/2")
    assert second["definition"]["description"] == "second"
    api("GET", f"/tasks/{task['id']}/versions/3", status=404)


def test_a_workflow_is_shown_as_a_graph_with_the_states_of_a_run(api: Api) -> None:
    flow = make(
        api,
        task_type="workflow",
        config={
            "tasks": [
                {"name": "b", "command": "true", "dependencies": ["a"]},
                {"name": "a", "command": "true"},
            ]
        },
    )
    graph = api("GET", f"/tasks/{flow['id']}/workflow", status=200)
    assert graph["order"] == ["a", "b"]
    assert graph["edges"] == [{"from": "a", "to": "b"}]
    assert [node["status"] for node in graph["nodes"]] == [None, None]
    execution = ran(api, flow["id"])
    graph = api("GET", f"/tasks/{flow['id']}/workflow?execution_id={execution['id']}", status=200)
    assert [node["status"] for node in graph["nodes"]] == ["success", "success"]
    assert api("GET", f"/tasks/{make(api)['id']}/workflow", status=409)["code"] == "wrong_state"


def test_a_workflow_is_validated_by_name_of_its_cycle(api: Api) -> None:
    tasks = [
        {"name": "a", "command": "true", "dependencies": ["b"]},
        {"name": "b", "command": "true", "dependencies": ["a"]},
    ]
    answer = api("POST", "/workflow/validate", json={"tasks": tasks}, status=200)
    assert not answer["valid"]
    assert "a" in answer["errors"][0]["message"]
    assert "b" in answer["errors"][0]["message"]
    assert api("POST", "/workflow/validate", json={"tasks": [{"name": "a", "command": "true"}]})["valid"]
    missing = api("POST", "/workflow/validate", json={"tasks": [{"task": "nobody"}]})
    assert [error["code"] for error in missing["errors"]] == ["task_missing"]
    flow = make(api, task_type="workflow", config={"tasks": [{"name": "a", "command": "true"}]})
    assert api("POST", f"/tasks/{flow['id']}/workflow/validate", status=200)["valid"]
    itself = {"tasks": [{"name": "a", "task": flow["name"]}]}
    assert not api("POST", f"/tasks/{flow['id']}/workflow/validate", json=itself)["valid"]


def test_explain_says_why_and_when(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 18 * * *")

    def codes() -> list[str]:
        found = api("GET", f"/tasks/{task['id']}/explain", status=200)
        assert found["summary"] == found["reasons"][0]["detail"]
        return [reason["code"] for reason in found["reasons"]]

    assert codes() == ["waiting_for_fire"]
    found = api("GET", f"/tasks/{task['id']}/explain")
    assert found["next_runs"][0] == found["next_run_time"]
    assert len(found["next_runs"]) == 10
    assert "18:00" in found["schedule"]
    chinese = api("GET", f"/tasks/{task['id']}/explain", headers={"Accept-Language": "zh"})
    assert "下" in chinese["summary"] or "触发" in chinese["summary"]
    api("POST", f"/tasks/{task['id']}/disable")
    assert codes()[0] == "disabled"
    api("POST", f"/tasks/{task['id']}/enable")
    api("POST", f"/tasks/{task['id']}/pause")
    assert codes()[0] == "paused"
    assert api("GET", f"/tasks/{make(api)['id']}/explain")["reasons"][0]["code"] == "no_schedule"
    slow = make(api, config={"command": "sleep 30"})
    execution_id = api("POST", f"/tasks/{slow['id']}/trigger")["execution_id"]
    found = until(lambda: _running(api, slow["id"]))
    assert found["reasons"][0]["execution_id"] == execution_id
    api("POST", f"/executions/{execution_id}/terminate")


def _running(api: Api, task_id: int) -> Any:
    found = api("GET", f"/tasks/{task_id}/explain")
    return found if found["running"] else None


def test_what_is_ahead_is_listed_by_time(api: Api) -> None:
    early = make(api, task_type="common_task", cron_expression="*/20 * * * *")
    late = make(api, task_type="common_task", cron_expression="5 * * * *")
    disabled = make(api, task_type="common_task", cron_expression="* * * * *", enabled=False)
    start = datetime.now(UTC) + timedelta(minutes=1)
    query = {"from": start.isoformat(), "to": (start + timedelta(hours=2)).isoformat()}
    found = api("GET", "/upcoming", params=query, status=200)
    assert found["complete"]
    times = [item["logical_time"] for item in found["upcoming"]]
    assert times == sorted(times)
    counts = {
        id_: sum(item["task_id"] == id_ for item in found["upcoming"]) for id_ in (early["id"], late["id"])
    }
    assert counts == {early["id"]: 6, late["id"]: 2}
    assert all(item["task_id"] != disabled["id"] for item in found["upcoming"])
    assert not api("GET", "/upcoming", params={**query, "limit": 1})["complete"]
    only = api("GET", "/upcoming", params={**query, "task_id": late["id"]})["upcoming"]
    assert {item["task_id"] for item in only} == {late["id"]}


# ── statistics, tokens, the server ──────────────────────────────────────────────────────────────────────────────────


def test_statistics_of_a_task(api: Api) -> None:
    task = make(api, max_retries=0)
    for _ in range(3):
        ran(api, task["id"])
    api("PUT", f"/tasks/{task['id']}", json={"config": {"command": "false"}})
    ran(api, task["id"])
    found = api("GET", "/stats", params={"task_id": task["id"]}, status=200)
    assert (found["total_executions"], found["success_count"], found["failed_count"]) == (4, 3, 1)
    assert found["success_rate"] == 0.75
    assert 0 < found["duration_percentiles"]["p50"] <= found["duration_percentiles"]["p99"]
    assert found["avg_duration_seconds"] > 0
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert api("GET", "/stats", params={"task_id": task["id"], "since": soon})["total_executions"] == 0
    series = api("GET", "/stats/series", params={"task_id": task["id"]}, status=200)
    assert sum(point["success"] for point in series["points"]) == 3
    assert len(series["points"]) == 25
    by_task = api("GET", "/stats/tasks", params={"order_by": "failed_count", "limit": 1000}, status=200)
    own = next(item for item in by_task["tasks"] if item["task_id"] == task["id"])
    assert (own["success_count"], own["failed_count"], own["success_rate"]) == (3, 1, 0.75)
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    spanned = api("GET", "/stats/tasks", params={"since": since, "limit": 1000}, status=200)
    assert own == next(item for item in spanned["tasks"] if item["task_id"] == task["id"])
    api("GET", "/stats", params={"task_id": 987654}, status=404)


def test_a_token_opens_until_it_is_revoked(api: Api) -> None:
    name = fresh("token")
    made = api("POST", "/tokens", json={"name": name}, status=201)
    assert len(made["token"]) > 30
    own = {"headers": {"Authorization": f"Bearer {made['token']}"}}
    task = api("POST", "/tasks", json={"name": fresh(), "config": {"command": "true"}}, status=201, **own)
    assert task["created_by"] == name
    listed = {item["name"]: item for item in api("GET", "/tokens")["tokens"]}
    assert listed[name]["token"] is None
    assert api("POST", "/tokens", json={"name": name}, status=409)["code"] == "name_in_use"
    api("DELETE", f"/tokens/{made['id']}", status=204)
    api("GET", "/tasks", status=401, **own)
    assert api("DELETE", f"/tokens/{made['id']}", status=404)["code"] == "token_not_found"


def test_a_token_ends_when_it_says(api: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.4)).isoformat()
    made = api("POST", "/tokens", json={"name": fresh("token"), "expires_time": soon}, status=201)
    own = {"headers": {"Authorization": f"Bearer {made['token']}"}}
    api("GET", "/server", status=200, **own)
    until(lambda: api("GET", "/server", **own) and _unauthorized(api, own))
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    api("POST", "/tokens", json={"name": fresh("token"), "expires_time": past}, status=400)


def _unauthorized(api: Api, own: dict[str, Any]) -> bool:
    headers = own["headers"]
    return api.client.get(f"{PREFIX}/server", headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["", "admin", " x", "a\nb", "x" * 101])
def test_names_that_tokens_can_not_have(api: Api, name: str) -> None:
    answer = api.client.post(f"{PREFIX}/tokens", json={"name": name}, headers=DEEP)
    assert answer.status_code in (400, 422)


def test_the_server_says_what_it_is_and_what_is_installed(api: Api) -> None:
    server = api("GET", "/server", status=200)
    assert server["timezone"] == "Asia/Shanghai"
    assert [plugin["name"] for plugin in api("GET", "/plugins", status=200)["plugins"]] == ["builtin"]
    assert api("GET", "/schema", status=200)["$defs"]


def test_the_reference_comes_from_this_server_alone(api: Api) -> None:
    page = api.client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "reference.js", "reference.css"):
        assert api.client.get(f"/docs/assets/{name}").status_code == 200
    assert api.client.get("/docs/assets/..%2f..%2fassets.py").status_code == 404
    assert api.client.get("/docs/assets/VERSIONS.json").status_code == 404


def test_vendored_files_are_those_that_were_released() -> None:
    from zquant_flow.web.vendoring import changed_files

    assert changed_files() == []


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_is_read_whole_in_pieces_or_from_its_end(api: Api) -> None:
    task = make(api, config={"command": "seq 1 20000"})
    execution = ran(api, task["id"])
    path = f"/executions/{execution['id']}/log"
    whole = "".join(f"{number}\n" for number in range(1, 20001))
    assert api("GET", path).text == whole
    answer = api("GET", f"{path}?offset=10&limit=5")
    assert (answer.text, answer.headers["x-next-offset"]) == (whole[10:15], "15")
    assert api("GET", f"{path}?tail=3").text == "19998\n19999\n20000\n"
    assert api("GET", f"{path}?tail=100000").text == whole
    assert api("GET", f"{path}?offset={len(whole)}").text == ""
    begin = time.perf_counter()
    api("GET", f"{path}?offset={2**63 - 1}", status=200)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("moment", ["9999-12-31T12:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_what_is_ahead_at_the_end_of_time_can_be_asked_for(api: Api, moment: str) -> None:
    api("GET", "/upcoming", params={"from": moment}, status=200)


def test_a_task_that_fires_at_the_end_of_time_is_explained(api: Api) -> None:
    task = make(api, task_type="common_task", run_at="9998-06-01T00:00:00Z")
    found = api("GET", f"/tasks/{task['id']}/explain", status=200)
    assert len(found["next_runs"]) == 1


def test_what_is_ahead_of_a_daily_task_at_the_end_of_time_is_shown(api: Api) -> None:
    make(api, task_type="common_task", cron_expression="0 12 * * *")
    span = {"from": "9998-06-01T00:00:00Z", "to": "9998-06-03T00:00:00Z", "limit": 10}
    api("GET", "/upcoming", params=span, status=200)


@pytest.mark.parametrize(
    ("order", "value"),
    [
        ("id", "text"),
        ("id", True),
        ("enabled", "text"),
        ("enabled", 5),
        ("name", 5),
        ("created_time", "text"),
    ],
)
def test_a_cursor_with_a_value_of_another_kind_is_refused(api: Api, order: str, value: Any) -> None:
    from zquant_flow.api.paging import cursor

    word = cursor(f"{order} asc", value, 1)
    answer = api("GET", "/tasks", params={"order_by": order, "cursor": word})
    assert getattr(answer, "status_code", None) is None, answer.text
    assert answer.get("code") == "bad_request", answer


def test_a_cursor_of_truths_is_no_cursor_of_executions(api: Api) -> None:
    from zquant_flow.api.paging import cursor

    answer = api("GET", "/executions", params={"cursor": cursor("newest", True, True)})
    assert answer.get("code") == "bad_request", answer


@pytest.mark.parametrize("path", ["/tasks", "/executions"])
@pytest.mark.parametrize("name", ["q", "tag", "source"])
def test_a_filter_with_nul_finds_nothing_or_is_refused(api: Api, path: str, name: str) -> None:
    answer = api("GET", f"{path}?{name}=%00")
    assert answer.get("code") != "internal_error"


def test_health_is_answered_while_many_requests_wait_for_the_tasks_folder(api: Api) -> None:
    """A file that takes its 30 s to load holds the folder that long; a client that changes tasks then holds all threads."""
    task = make(api)
    waiting = [
        threading.Thread(target=api, args=("PUT", f"/tasks/{task['id']}"), kwargs={"json": {"tags": ["x"]}})
        for _ in range(45)
    ]
    answered = threading.Event()

    def ask() -> None:
        api.client.get("/healthz")
        answered.set()

    asks = threading.Thread(target=ask)
    with api.scheduler.folder.undisturbed():
        for thread in waiting:
            thread.start()
        until(lambda: api.client.portal.call(_threads_left) <= 0)
        asks.start()
        in_time = answered.wait(3)
    for thread in (*waiting, asks):
        thread.join(30)
    assert in_time


def _threads_left() -> float:
    return anyio.to_thread.current_default_thread_limiter().available_tokens


def test_a_backfill_from_before_its_calendar_says_from_when_it_is_known(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.scheduler.engine.calendars, "known", {"XSHG": JANUARY})
    task = make(api, task_type="common_task", cron_expression="0 9 * * *", calendar="XSHG")
    body = {"from": "2025-12-01T00:00:00Z", "to": "2026-01-10T00:00:00Z", "dry_run": True}
    [error] = api("POST", f"/tasks/{task['id']}/backfill", json=body, status=400)["errors"]
    assert (error["field"], error["code"]) == ("from", "outside_calendar")
    assert error["message"] == "XSHG is known from 2026-01-01"
