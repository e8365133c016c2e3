"""Whatever an address or a header holds, its sender gets a 4xx that names it, or a proper 2xx; and the server stays well."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.api.conftest import TOKEN, Api, make
from tests.fuzz.sender import AS_JSON, BODIES, Sender
from zquant_flow.api.app import PREFIX

# ── ids, queries, cursors ────────────────────────────────────────────────────────────────────────────────────────

PATHS = (
    *(
        ("GET", f"/tasks/{{}}{tail}")
        for tail in ("", "/executions", "/fires", "/explain", "/workflow", "/versions")
    ),
    *(
        ("POST", f"/tasks/{{}}/{tail}")
        for tail in ("trigger", "enable", "disable", "pause", "resume", "backfill")
    ),
    ("POST", "/tasks/{}/workflow/validate"),
    *(("GET", path) for path in ("/tasks/1/versions/{}", "/tasks/1/executions/{}", "/tasks/{}/executions/1")),
    *(("GET", f"/executions/{{}}{tail}") for tail in ("", "/log", "/log/stream")),
    *(("POST", f"/executions/{{}}/{tail}") for tail in ("terminate", "pause", "resume")),
    *(("PUT", "/tasks/{}"), ("DELETE", "/tasks/{}"), ("DELETE", "/tokens/{}")),
    *(("GET", f"/{path}?task_id={{}}") for path in ("stats", "stats/series", "upcoming")),
)


@pytest.mark.parametrize(
    "number",
    [
        *(
            "0",
            "-1",
            str(2**63),
            str(10**40),
            "9" * 5000,
            "1e3",
            "1.5",
            "0x1",
            "x",
            "null",
            "%00",
            "%ff",
            "NaN",
            "1%2C2",
        ),
        *("%F0%9F%9A%80", "true", "--1", "%E2%85%A7", "1;1"),
    ],
    ids=lambda number: number[:10],
)
def test_an_id_that_can_be_none_is_422_with_its_name(sender: Sender, number: str) -> None:
    for method, path in PATHS:
        fault = sender.refused(method, path.format(number), b"{}" if method in ("PUT", "POST") else b"")
        fields = [error["field"] for error in fault["errors"]]
        assert {"task_id", "execution_id", "version", "token_id"} & set(fields), (path, fault)


@pytest.mark.parametrize(
    "number", [str(2**63 - 1), "987654321", "%20987654321", "987654321%20", "%2B987654321"]
)
def test_an_id_that_nothing_has_is_404_or_malformed(sender: Sender, number: str) -> None:
    for method, path in PATHS:
        answer = sender.send(method, path.format(number), b"{}" if method in ("PUT", "POST") else b"")
        assert answer.status_code in (404, 422) or path.startswith("/upcoming"), (path, answer.text)


QUERIES = (
    *(
        ("/tasks", name)
        for name in ("skip", "limit", "cursor", "name", "task_type", "enabled", "paused", "status")
    ),
    *(("/tasks", name) for name in ("order_by", "order", "q", "tag", "source", "archived", "include_nodes")),
    *(
        ("/executions", name)
        for name in ("skip", "limit", "cursor", "status", "trigger_type", "since", "until")
    ),
    *(("/executions", name) for name in ("q", "tag", "source", "include", "no_such_parameter")),
    *(("/tasks/{id}/executions", name) for name in ("cursor", "status", "since")),
    *(("/tasks/{id}/fires", name) for name in ("from", "to", "limit")),
    *(("/upcoming", name) for name in ("from", "to", "limit", "task_id")),
    *(("/stats", name) for name in ("task_id", "since", "until")),
    *(("/stats/series", name) for name in ("since", "until", "step_seconds")),
    *(("/stats/tasks", name) for name in ("order_by", "order", "skip", "limit", "since")),
    *(("/executions/1/log", name) for name in ("attempt", "offset", "limit", "tail")),
    ("/executions/1", "include"),
    ("/tasks/{id}/workflow", "execution_id"),
)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "%00",
            "%ff%fe",
            "%ED%A0%80",
            "x" * 5_000,
            "-1",
            "0",
            str(2**63 - 1),
            str(2**63),
            "9" * 5_000,
            "1e400",
            "NaN",
        ),
        *(
            "%F0%9F%9A%80",
            "%25",
            "_",
            "'",
            "%5C",
            "%22",
            "true",
            "0001-01-01T00:00:00%2B23:59",
            "9999-12-31T23:59:59-23:59",
        ),
        *(
            "1969-12-31",
            "2026-02-30",
            "2026-01-01T00:00:00",
            "1e18",
            "-1e18",
            "%E2%80%AE",
            "[]",
            "a&{0}=b",
            "&{0}=&{0}=",
        ),
    ],
    ids=lambda value: value[:12],
)
def test_odd_values_of_every_query_parameter_are_no_5xx(sender: Sender, value: str) -> None:
    for path, name in QUERIES:
        sender.send("GET", f"{path}?{name}={value.replace('{0}', name)}")


def test_a_query_that_repeats_itself_thousands_of_times_is_no_5xx(sender: Sender) -> None:
    for path, name in (
        ("/tasks", "status=failed"),
        ("/executions", "status=failed"),
        ("/executions", "trigger_type=api"),
    ):
        sender.send("GET", f"{path}?" + "&".join([name] * 3_000))


@pytest.mark.parametrize(
    "value",
    [
        *("x", "====", "%00", "bnVsbA", "W10", "e30", "_" * 1_000, "%F0%9F%9A%80"),
        *(
            ["newest"],
            ["newest", 1],
            ["newest", "1", 1],
            ["newest", 1, 1, 1],
            ["newest", 2**63, 1],
            ["newest", 1, -(2**70)],
        ),
        *(
            ["newest", True, None],
            ["newest", 1.5, 1],
            ["newest", [], {}],
            ["id asc", 1],
            ["id asc", "\ud800", 1],
        ),
        *(
            ["id asc", "a\x00", 1],
            ["id asc", None, None],
            ["id asc", "text", 1],
            ["id asc", True, 1],
            [[], 1, 1],
        ),
        *(["name desc", 1, 1], ["id asc", float("nan"), 1], ["id asc", 10**400, 1]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_cursor_that_no_list_gave_is_refused_or_read(sender: Sender, value: Any) -> None:
    word = value
    if isinstance(value, list):
        word = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    for path in ("/tasks", "/executions", "/tasks/{id}/executions"):
        answer = sender.send("GET", f"{path}?cursor={word}")
        if answer.status_code >= 400:
            assert "cursor" in answer.text


# ── headers ──────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = (
    b"",
    b" ",
    b"\xff\xfe",
    "é".encode(),
    "🚀".encode(),
    b"x" * 10_000,
    b"*",
    b'"',
    b'W/"',
    b",,,",
    b"-1",
    b"9" * 5_000,
)
MORE = (
    b"nan",
    b"1:1:1",
    b"-1:-1",
    b"9" * 30 + b":" + b"9" * 30,
    b"\xc2\xb2",
    b"\xd9\xa1:\xd9\xa1",
    b"en;q=x",
    b"*;q=0",
)


HEADERS = {
    "Idempotency-Key": ["/tasks", "/tasks/{id}/trigger", "/tasks/{id}/backfill", "/executions"],
    "If-Match": ["/tasks/{id}"],
    **{
        name: ["/tokens"]
        for name in ("Accept-Language", "Accept", "X-Forwarded-For", "Origin", "Cookie", "Range")
    },
}


@pytest.mark.parametrize("value", [*ODD, *MORE], ids=lambda value: repr(value[:12]))
def test_odd_headers_are_refused_by_name_or_passed_over(sender: Sender, value: bytes) -> None:
    for name, path in [(name, path) for name, paths in HEADERS.items() for path in paths]:
        method = "PUT" if path == "/tasks/{id}" else "POST"
        body = json.dumps(BODIES[method, path]())
        answer = sender.send(method, path, body, {**AS_JSON, name: value})
        if answer.status_code == 422 and answer.json()["code"] != "idempotency_key_reused":
            assert answer.json()["errors"][0]["field"] == name, answer.text


@pytest.mark.parametrize("value", [*ODD, *MORE], ids=lambda value: repr(value[:12]))
def test_an_odd_last_event_id_is_refused_or_no_number(api: Api, sender: Sender, value: bytes) -> None:
    execution = api("POST", f"/tasks/{make(api)['id']}/trigger")["execution_id"]
    api.ended(execution)
    answer = sender.send("GET", f"/executions/{execution}/log/stream", b"", {"Last-Event-ID": value})
    assert answer.status_code == 422 or "event: end" in answer.text


@pytest.mark.parametrize(
    "value", [b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"\xff", b"Bearer " + b"x" * 50_000, b""]
)
def test_an_odd_token_is_401(sender: Sender, value: bytes) -> None:
    answer = sender.send("GET", "/tasks", b"", {"Authorization": value})
    assert answer.status_code == 401


@pytest.mark.parametrize("length", [b"-1", b"x", b"", b"9" * 400, b"1e3", b"\xc2\xb2", b"99999999"])
def test_a_length_that_can_not_be_is_413(sender: Sender, length: bytes) -> None:
    fault = sender.refused("POST", "/tasks", b"{}", {**AS_JSON, "Content-Length": length})
    assert fault["code"] == "too_large"


def test_a_body_that_hides_its_length_is_cut_off(sender: Sender) -> None:
    pieces = (b" " * 1_000_000 for _ in range(6))
    headers = {"Authorization": f"Bearer {TOKEN}", **AS_JSON}
    answer = sender.api.client.request("POST", f"{PREFIX}/tasks", content=pieces, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
