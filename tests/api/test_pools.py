"""Pools over REST."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api, fresh, make, until


def test_a_pool_is_made_changed_listed_and_deleted(api: Api) -> None:
    name = fresh("pool")
    made = api("PUT", f"/pools/{name}", json={"slots": 4, "description": "quotes"}, status=200)
    assert made == {
        "name": name,
        "slots": 4,
        "used": 0,
        "waiting": 0,
        "description": "quotes",
        "source": "api",
        "executions": [],
    }
    changed = api("PUT", f"/pools/{name}", json={"slots": 2}, status=200)
    assert (changed["slots"], changed["description"]) == (2, "quotes")
    page = api("GET", "/pools", status=200)
    assert changed in page["pools"]
    assert page["total"] == len(page["pools"])
    api("DELETE", f"/pools/{name}", status=204)
    assert api("DELETE", f"/pools/{name}", status=404)["code"] == "pool_not_found"


@pytest.mark.parametrize("body", [{"slots": -1}, {"slots": 1.5}, {"slots": "4"}, {}, {"slots": 1, "size": 2}])
def test_what_is_no_pool_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api("PUT", "/pools/p", json=body, status=422)["code"] == "invalid_request"


@pytest.mark.parametrize("name", ["a%00b", "a%1Bb", "x" * 101])
def test_a_name_has_a_hundred_characters_at_most_and_no_control_characters(api: Api, name: str) -> None:
    answer = api("PUT", f"/pools/{name}", json={"slots": 1}, status=422)
    assert [error["field"] for error in answer["errors"]] == ["name"]


def test_a_name_may_hold_a_slash(api: Api) -> None:
    api("PUT", "/pools/a%2Fb", json={"slots": 1}, status=200)
    api("DELETE", "/pools/a%2Fb", status=204)


def test_a_full_pool_is_explained_and_the_file_that_waits_for_one_is_loaded(api: Api) -> None:
    name, pool = fresh(), fresh("pool")
    api.file(f"{name}.yaml", f"name: {name}\ncommand: sleep 30\npool: {pool}\noverlap: allow\n")
    [error] = [one for one in api("GET", "/load-errors")["load_errors"] if one["path"] == f"{name}.yaml"]
    assert error["code"] == "unknown_pool"
    api("PUT", f"/pools/{pool}", json={"slots": 1}, status=200)
    [task] = api("GET", f"/tasks?q={name}")["tasks"]
    runs = [api("POST", f"/tasks/{task['id']}/trigger")["execution_id"] for _ in range(2)]
    until(lambda: api("GET", f"/executions/{runs[0]}")["status"] == "running")
    assert api("GET", f"/executions/{runs[1]}")["waiting_for"] == "pool"
    reasons = {reason["code"]: reason for reason in api("GET", f"/tasks/{task['id']}/explain")["reasons"]}
    assert reasons["waiting_for_pool"]["execution_id"] == runs[1]
    assert str(runs[0]) in reasons["waiting_for_pool"]["detail"]
    assert api("DELETE", f"/pools/{pool}", status=409)["code"] == "pool_in_use"
    for run in reversed(runs):
        api("POST", f"/executions/{run}/terminate")
        api.ended(run)


def test_a_task_made_over_rest_needs_its_pool_first(api: Api) -> None:
    pool = fresh("pool")
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}, "pool": pool}
    refused = api("POST", "/tasks", json=body, status=400)
    assert refused["errors"][0]["code"] == "unknown_pool"
    api("PUT", f"/pools/{pool}", json={"slots": 1}, status=200)
    task = make(api, pool=pool)
    run = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    assert api.ended(run)["status"] == "success"
