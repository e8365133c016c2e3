"""Who gets in: every route is refused without the token, but those that are listed."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Api
from zquant_flow.api import known_tokens
from zquant_flow.api.known_tokens import KnownTokens, digest_of
from zquant_flow.store.database import Database

OPEN = {"/healthz", "/readyz"}
SIGNED = {"/hooks/{name}"}


def test_every_route_but_the_listed_ones_wants_a_token(api: Api) -> None:
    refused = 0
    for path, methods in api.client.app.openapi()["paths"].items():
        for method in methods:
            if path in OPEN | SIGNED:
                continue
            answer = api.client.request(method.upper(), re.sub(r"\{[^}]*\}", "1", path))
            assert answer.status_code == 401, (method, path)
            assert answer.json()["code"] == "unauthorized"
            refused += 1
    assert refused >= 20


@pytest.mark.parametrize("name", ["health", "healthz", "readyz", "configs", "docs", "openapi.json"])
def test_a_path_that_looks_open_is_not(api: Api, name: str) -> None:
    assert api.client.get(f"/api/v1/scheduler/tasks/1/{name}").status_code in (401, 404)
    assert api.client.get(f"/api/v1/scheduler/executors/{name}/schema").status_code == 401


def test_a_wrong_token_is_refused(api: Api) -> None:
    answer = api.client.get("/api/v1/scheduler/tasks", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_answers_this_machine_and_no_other(api: Api, path: str) -> None:
    assert api.client.get(path).status_code == 200
    assert api.client.get(path, headers={"X-Forwarded-For": "10.1.1.1"}).status_code == 401
    other = TestClient(api.client.app, client=("203.0.113.5", 1))
    assert other.get(path).status_code == 401


def test_a_body_over_the_limit_is_413(api: Api) -> None:
    headers = {"Authorization": "Bearer a-token-of-the-tests", "Content-Type": "application/json"}
    answer = api.client.post("/api/v1/scheduler/tasks", content=b"x" * (5 * 1024 * 1024), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_log_is_plain_text_whatever_it_holds(api: Api) -> None:
    task = api(
        "POST",
        "/tasks",
        json={
            "name": "html",
            "task_type": "manual_task",
            "config": {"command": ["echo", "<script>alert(1)</script>"]},
        },
    )
    execution = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    api.ended(execution)
    answer = api("GET", f"/executions/{execution}/log")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_description_of_the_api_wants_a_token_too(api: Api) -> None:
    assert api.client.get("/api/v1/scheduler/openapi.json").status_code == 401
    assert api("GET", "/openapi.json", status=200)["openapi"].startswith("3.1")


def test_tokens_that_were_read_before_one_was_revoked_are_not_kept(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [SimpleNamespace(digest=digest_of("mine"), name="me", expires_time=None)]
    known = KnownTokens(api.scheduler.database, "admin", lambda: 0)

    def revoked_meanwhile(database: Database) -> list[SimpleNamespace]:
        found = list(rows)
        rows.clear()
        known.forget()
        return found

    monkeypatch.setattr(known_tokens, "all_tokens", revoked_meanwhile)
    assert known.name_of("mine") == "me", "it was asked for before"
    assert known.name_of("mine") is None
