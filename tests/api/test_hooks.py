"""Requests to webhooks: signed or refused, once however often they come, and never more than was meant."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from tests.api.conftest import Api, fresh, make


def sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Hook:
    """A task with a webhook, and one who calls it."""

    def __init__(self, api: Api, **keys: Any) -> None:
        self.api, self.name = api, fresh("hook")
        webhook = {"name": self.name, "params": {"ref": "{{ event.body.ref|default('none') }}"}}
        self.task = make(api, task_type="common_task", webhook=webhook, overlap="allow", **keys)
        self.facts = api("GET", f"/tasks/{self.task['id']}/hook", status=200)

    def call(self, body: bytes = b"{}", *, secret: str = "", **headers: str) -> Any:
        given = {"X-Hub-Signature-256": f"sha256={sign(secret or self.facts['secret'], body)}", **headers}
        return self.api.client.post(self.facts["path"], content=body, headers=given)


@pytest.fixture(scope="module")
def hook(api: Api) -> Hook:
    return Hook(api)


def test_a_signed_request_runs_the_task_and_is_told_which_execution(api: Api, hook: Hook) -> None:
    answer = hook.call(b'{"ref": "main"}', **{"X-GitHub-Event": "push"})
    assert answer.status_code == 202, answer.text
    found = api.ended(answer.json()["execution_id"])
    assert (found["trigger_type"], found["created_by"]) == ("event", f"hook:{hook.name}")
    assert found["params"] == {"ref": "main"}
    assert found["event"] == {"kind": "webhook", "name": hook.name, "type": "push", "body": {"ref": "main"}}
    assert api("GET", f"/tasks/{hook.task['id']}", status=200)["webhook"] == hook.name


@pytest.mark.parametrize(
    "headers",
    [
        lambda right: {},
        lambda right: {"X-Hub-Signature-256": ""},
        lambda right: {"X-Hub-Signature-256": right},
        lambda right: {"X-Hub-Signature-256": f"sha1={right}"},
        lambda right: {"X-Hub-Signature-256": f"sha256={right[:-1]}"},
        lambda right: {"X-Hub-Signature-256": f"sha256={sign('another', b'{}')}"},
        lambda right: {"X-Hub-Signature-256": "sha256=\u00fc".encode("latin-1")},
        lambda right: {"X-Hub-Signature-256": "sha256=0", "X-ZQF-Signature": f"sha256={right}"},
        lambda right: {"X-Hub-Signature": f"sha256={right}"},
    ],
)
def test_what_is_not_signed_by_the_secret_is_401_and_runs_nothing(api: Api, hook: Hook, headers: Any) -> None:
    before = api("GET", f"/tasks/{hook.task['id']}/executions")["total"]
    right = sign(hook.facts["secret"], b"{}")
    answer = api.client.post(hook.facts["path"], content=b"{}", headers=headers(right))
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    assert "www-authenticate" not in answer.headers
    assert api("GET", f"/tasks/{hook.task['id']}/executions")["total"] == before


def test_a_signature_is_of_this_body_and_may_be_in_capitals_or_our_header(api: Api, hook: Hook) -> None:
    right = sign(hook.facts["secret"], b"{}")
    for headers in (
        {"X-Hub-Signature-256": f"SHA256={right.upper()}"},
        {"X-ZQF-Signature": f"sha256={right}"},
    ):
        assert api.client.post(hook.facts["path"], content=b"{}", headers=headers).status_code == 202
        assert api.client.post(hook.facts["path"], content=b"{ }", headers=headers).status_code == 401


def test_a_token_opens_no_webhook(api: Api, hook: Hook) -> None:
    answer = api.client.post(hook.facts["path"], headers={"Authorization": "Bearer a-token-of-the-tests"})
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["X-GitHub-Delivery", "Idempotency-Key"])
def test_a_repetition_is_answered_alike_and_another_body_under_its_key_is_refused(
    hook: Hook, header: str
) -> None:
    key = {header: fresh("delivery")}
    first, again = hook.call(b'{"n": 1}', **key), hook.call(b'{"n": 1}', **key)
    assert first.json()["execution_id"] == again.json()["execution_id"]
    other = hook.call(b'{"n": 2}', **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("length", [None, 256 * 1024 + 1, 10**12])
def test_a_long_body_is_413_before_anybody_looks_at_its_signature(
    api: Api, hook: Hook, length: int | None
) -> None:
    body = b"x" * (256 * 1024 + 1)
    headers = {} if length is None else {"Content-Length": str(length)}
    answer = api.client.post(hook.facts["path"], content=iter([body]), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert hook.call(b"x" * (256 * 1024)).status_code == 202


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", ""),
        (b"plain \xff\x00text", "plain \ufffd\ufffdtext"),
        (b"null", "null"),
        (b"5", 5),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        (b'["\\u0000"]', '["\\u0000"]'),
        (b"[" * 5000, "[" * 5000),
        (b'{"a": [' + b"{}," * 200 + b"{}]}", {"a": [{}] * 201}),
    ],
)
def test_any_body_can_be_kept(api: Api, hook: Hook, body: bytes, kept: Any) -> None:
    answer = hook.call(body)
    assert answer.status_code == 202, answer.text
    found = api("GET", f"/executions/{answer.json()['execution_id']}", status=200)
    assert found["event"]["body"] == kept


def test_params_that_the_task_does_not_take_are_400_with_their_fields(api: Api) -> None:
    hook = Hook(api, params={"ref": {"type": "integer", "default": 0}})
    answer = hook.call(b'{"ref": "main"}')
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_params")
    assert [error["field"] for error in answer.json()["errors"]] == ["params.ref"]
    assert hook.call(b'{"ref": 7}').status_code == 202


def test_a_rotated_secret_replaces_the_one_before(api: Api) -> None:
    hook = Hook(api)
    old = hook.facts["secret"]
    hook.facts = api("POST", f"/tasks/{hook.task['id']}/hook/rotate", status=200)
    assert hook.facts["secret"] != old
    assert hook.call(secret=old).status_code == 401
    assert hook.call().status_code == 202
    assert api("GET", f"/tasks/{hook.task['id']}/hook") == hook.facts


def test_a_webhook_of_nobody_or_of_a_disabled_task_says_so(api: Api) -> None:
    hook = Hook(api)
    answer = api.client.post("/hooks/nobody", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (404, "hook_not_found")
    plain = make(api)
    assert api("GET", f"/tasks/{plain['id']}/hook", status=404)["code"] == "hook_not_found"
    api("POST", f"/tasks/{hook.task['id']}/disable", status=200)
    answer = hook.call()
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


def test_an_address_in_use_is_refused(api: Api, hook: Hook) -> None:
    body = {"name": fresh(), "config": {"command": "true"}, "webhook": hook.name}
    answer = api("POST", "/tasks", json=body)
    assert (answer["errors"][0]["code"], answer["errors"][0]["field"]) == ("hook_in_use", "webhook")
