"""What a review with fresh eyes has found in the API: requests that are repeated, refused, or meet each other."""

from __future__ import annotations

import pytest

from tests.api.conftest import TOKEN, Api, fresh, make


def test_a_repeated_creation_of_a_task_that_was_renamed_makes_no_second_one(api: Api) -> None:
    body = {"name": fresh(), "task_type": "manual_task", "config": {"command": "true"}}
    headers = {"Idempotency-Key": fresh("key")}
    first = api("POST", "/tasks", json=body, headers=headers, status=201)
    api("PUT", f"/tasks/{first['id']}", json={"name": fresh("renamed")}, status=200)
    again = api("POST", "/tasks", json=body, headers=headers, status=201)
    assert again["id"] == first["id"]


def test_a_refused_creation_is_not_answered_later_with_the_task_of_another(api: Api) -> None:
    name, headers = fresh(), {"Idempotency-Key": fresh("key")}
    number = api.scheduler.operations.reserve_id(name)
    in_the_way = api.tasks / f"{number}-{name}.yaml"
    in_the_way.write_text("# in the way\n")
    mine = {"name": name, "task_type": "manual_task", "config": {"command": "echo mine"}}
    api("POST", "/tasks", json=mine, headers=headers, status=409)
    in_the_way.unlink()
    api("POST", "/tasks", json={**mine, "config": {"command": "echo yours"}}, status=201)
    api("POST", "/tasks", json=mine, headers=headers, status=409)  # the name is in use


def test_a_repeated_backfill_is_answered_alike_after_the_schedule_has_changed(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 0 * * *")
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    headers = {"Idempotency-Key": fresh("key")}
    first = api("POST", f"/tasks/{task['id']}/backfill", json=body, headers=headers, status=200)
    api("PUT", f"/tasks/{task['id']}", json={"cron_expression": "0 12 * * *"}, status=200)
    again = api("POST", f"/tasks/{task['id']}/backfill", json=body, headers=headers, status=200)
    assert again == first


def test_a_repeated_backfill_is_answered_alike_after_the_task_is_gone(api: Api) -> None:
    task = make(api, task_type="common_task", cron_expression="0 0 * * *")
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    headers = {"Idempotency-Key": fresh("key")}
    first = api("POST", f"/tasks/{task['id']}/backfill", json=body, headers=headers, status=200)
    api("DELETE", f"/tasks/{task['id']}?terminate=true", status=204)
    assert api("POST", f"/tasks/{task['id']}/backfill", json=body, headers=headers, status=200) == first


def test_a_name_is_set_free_also_where_its_new_one_is_taken(api: Api) -> None:
    old = make(api)
    api("DELETE", f"/tasks/{old['id']}", status=204)
    make(api, name=f"{old['name']} ({old['id']})")
    body = {"name": old["name"], "task_type": "manual_task", "config": {"command": "true"}}
    again = api("POST", "/tasks?new_id=true", json=body, status=201)
    assert again["id"] != old["id"]


def test_one_of_two_switches_with_the_same_etag_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make(api)
    path = f"/tasks/{task['id']}"
    tag = api.client.get(f"/api/v1/scheduler{path}", headers={"Authorization": f"Bearer {TOKEN}"}).headers[
        "ETag"
    ]
    authored = api.scheduler.authored
    refuse = authored.refuse_outdated

    def another_is_quicker(task_id: int, expected: str | None) -> None:
        refuse(task_id, expected)
        monkeypatch.undo()
        api("PUT", path, json={"enabled": False}, headers={"If-Match": tag}, status=200)

    monkeypatch.setattr(authored, "refuse_outdated", another_is_quicker)
    api("PUT", path, json={"enabled": True}, headers={"If-Match": tag}, status=412)


def test_a_refused_creation_leaves_the_archived_task_its_name(api: Api) -> None:
    old = make(api)
    api("DELETE", f"/tasks/{old['id']}", status=204)
    refused = {"name": old["name"], "tasks": [{"name": "a", "task": "nobody-has-this-name"}]}
    api("POST", "/tasks?new_id=true", json=refused, status=400)
    assert api("GET", f"/tasks/{old['id']}", status=200)["name"] == old["name"]
