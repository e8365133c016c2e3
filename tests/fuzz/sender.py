"""Who sends hostile requests, and looks at what every answer has to be?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api.conftest import TOKEN, Api, fresh, make
from zquant_flow.api.app import PREFIX

Json = dict[str, Any]
AS_JSON = {"Content-Type": "application/json"}
SHAPELESS = (404, 409, 412, 413)
"""Refusals that are not about a field."""
LONGEST = 300_000
"""Bytes of a refusal, however much it is about."""


class Sender:
    """Sends anything, and looks at what every answer has to be."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.task = make(api, cron="0 3 * * *", task_type="common_task", overlap="allow")["id"]

    def send(self, method: str, path: str, content: bytes | str = b"", headers: Any = ()) -> Any:
        """The answer, which is no 5xx and tells of a fault what it has to."""
        data = content.encode() if isinstance(content, str) else content
        named = "Authorization" in dict(headers)
        given = [] if named else [(b"authorization", f"Bearer {TOKEN}".encode())]
        given += [(_bytes(name), _bytes(value)) for name, value in dict(headers or AS_JSON).items()]
        url = PREFIX + path.replace("{id}", str(self.task))
        answer = self.api.client.request(method, url, content=data, headers=given)
        told = f"{method} {path[:200]} {data[:200]!r} {str(headers)[:200]}: {answer.status_code} {answer.text[:500]}"
        assert answer.status_code < 500, told
        assert "Traceback" not in answer.text, told
        if answer.status_code >= 400:
            fault = answer.json()
            assert fault["code"], told
            assert fault["detail"], told
            assert len(answer.content) < LONGEST, told[:300]
        return answer

    def refused(self, method: str, path: str, content: bytes | str = b"", headers: Any = ()) -> Json:
        """The fault in a refusal; it names the fields."""
        answer = self.send(method, path, content, headers)
        assert 400 <= answer.status_code < 500, (path, content[:200], answer.text)
        fault: Json = answer.json()
        if answer.status_code not in SHAPELESS:
            assert fault.get("errors"), (path, content[:200], fault)
            assert all(error["code"] and error["message"] for error in fault["errors"])
        return fault


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def name_of_a_task() -> Json:
    return {"name": fresh("hostile"), "task_type": "manual_task", "config": {"command": "true"}}


BODIES: dict[tuple[str, str], Callable[[], Json]] = {
    ("POST", "/tasks"): name_of_a_task,
    ("PUT", "/tasks/{id}"): lambda: {"description": "fine"},
    ("POST", "/tasks/{id}/trigger"): lambda: {"params": {"a": 1}},
    ("POST", "/tasks/{id}/backfill"): lambda: {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
    ("POST", "/tasks/bulk"): lambda: {"action": "enable", "task_ids": [1]},
    ("POST", "/tasks/{id}/workflow/validate"): lambda: {"tasks": [{"name": "a", "command": "true"}]},
    ("POST", "/workflow/validate"): lambda: {"tasks": [{"name": "a", "command": "true"}]},
    ("POST", "/executions"): lambda: {"definition": {"name": "once", "command": "true"}},
    ("POST", "/tokens"): lambda: {"name": fresh("token")},
}
