"""Whatever a body holds, its sender gets a 4xx that names the field, or a proper 2xx; and the server stays well."""

from __future__ import annotations

import gzip
import json
import unicodedata

import pytest

from tests.api.conftest import fresh, make
from tests.fuzz.sender import AS_JSON, BODIES, Json, Sender, name_of_a_task
from zquant_flow.definitions.forms import NodeForm, TaskForm

MEGABYTE = "x" * 1_000_000


def without(words: Json) -> str:
    """The JSON of a mapping without its closing brace, for more to follow."""
    return json.dumps(words)[:-1]


# ── texts that are no JSON ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1,",
        b'{"name":}',
        b"{'name': 1}",
        b"\x00",
        b"\xff\xfe",
        b'{"name": "\xe9"}',
        b'{"name": "\x80abc"}',
        gzip.compress(b'{"name": "x"}', mtime=0),  # each process of the tests makes the same name of it
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)
def test_what_is_no_json_in_utf_8_is_422_and_about_the_body(sender: Sender, content: bytes) -> None:
    for method, path in BODIES:
        fault = sender.refused(method, path, content)
        assert fault["code"] == "invalid_request"
        assert [error["field"] for error in fault["errors"]] == ["body"]


def test_a_gzipped_body_is_refused(sender: Sender) -> None:
    for (method, path), body in BODIES.items():
        content = gzip.compress(json.dumps(body()).encode())
        sender.refused(method, path, content, {**AS_JSON, "Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""]
)
def test_a_body_of_another_kind_is_not_a_mapping(sender: Sender, kind: str) -> None:
    for (method, path), body in BODIES.items():
        fault = sender.refused(method, path, json.dumps(body()), {"Content-Type": kind})
        assert fault["errors"][0]["field"] == "body"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_another_unicode_encoding_is_read(sender: Sender, encoding: str) -> None:
    for (method, path), body in BODIES.items():
        assert sender.send(method, path, json.dumps(body()).encode(encoding)).is_success


@pytest.mark.parametrize("content", ["[]", '"text"', "7", "true", "[{}]", "1.5", "NaN", "-Infinity"])
def test_a_body_that_is_no_mapping_is_refused(sender: Sender, content: str) -> None:
    for method, path in BODIES:
        assert sender.refused(method, path, content)["errors"][0]["field"] == "body"


def test_null_is_no_body(sender: Sender) -> None:
    for method, path in BODIES:
        optional = path in ("/tasks/{id}/trigger", "/tasks/{id}/workflow/validate")
        (sender.send if optional else sender.refused)(method, path, "null")


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────

VALUES = {
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "beyond a float": "1e999",
    "400 digits": "9" * 400,
    "below 64 bits": str(-(2**63) - 1),
    "lone surrogate": '"\\ud800"',
    "other half": '"\\udfff\\ud800"',
    "NUL": '"\\u0000"',
    "a megabyte": json.dumps(MEGABYTE),
    "nested": '{"a":' * 300 + "1" + "}" * 300,
    "a list": "[[[]]]",
    "a surrogate key": '{"\\ud800": {"\\udfff": 1}}',
    "a NUL key": '{"\\u0000": 1}',
    "an empty key": '{"": ""}',
    "many": json.dumps(list(range(20_000))),
}
every_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


@every_value
def test_odd_values_under_unknown_keys_are_refused_by_name(sender: Sender, value: str) -> None:
    for (method, path), body in BODIES.items():
        answer = sender.send(method, path, f'{without(body())}, "no_such_key": {value}}}')
        assert answer.status_code == (200 if path.endswith("validate") else answer.status_code)
        assert path.endswith("validate") or answer.status_code in (400, 422), answer.text
        assert any("no_such_key" in error["field"] for error in answer.json()["errors"])


@pytest.mark.parametrize(
    "key", ['"\\ud800"', '"\\u0000"', '""', '"\\u202e"', json.dumps(MEGABYTE), '"__class__"']
)
def test_odd_keys_are_refused(sender: Sender, key: str) -> None:
    for (method, path), body in BODIES.items():
        answer = sender.send(method, path, f"{without(body())}, {key}: 1}}")
        assert answer.status_code in (400, 422) or answer.json()["valid"] is False


@every_value
def test_odd_values_of_every_word_of_a_definition_are_no_5xx(sender: Sender, value: str) -> None:
    for word in (*TaskForm.model_fields, "cron_expression", "interval_seconds"):
        rest = {key: item for key, item in name_of_a_task().items() if key != word}
        content = f'{without(rest)}, "{word}": {value}}}'
        assert sender.send("POST", "/workflow/validate", content).status_code == 200
        if word in ("name", "command", "params", "env", "tasks", "schedules", "tags"):
            sender.send("POST", "/executions", f'{{"definition": {content}}}')


@every_value
def test_odd_values_of_every_word_of_a_node_are_no_5xx(sender: Sender, value: str) -> None:
    for word in NodeForm.model_fields:
        node = f'{{"name": "a", "command": "true", "{word}": {value}}}'
        sender.send("POST", "/tasks/{id}/workflow/validate", f'{{"tasks": [{node}]}}')
    for word in ("env", "timeout_seconds", "task_action", "working_dir"):
        node = f'{{"name": "a", "command": "true", "config": {{"{word}": {value}}}}}'
        sender.send("POST", "/tasks/{id}/workflow/validate", f'{{"config": {{"tasks": [{node}]}}}}')


@every_value
def test_odd_values_in_a_change_leave_the_task_as_it_was_or_change_it(sender: Sender, value: str) -> None:
    for word in ("name", "description", "tags", "params", "command", "config", "cron_expression"):
        task = make(sender.api)
        answer = sender.send("PUT", f"/tasks/{task['id']}", f'{{"{word}": {value}}}')
        found = sender.api("GET", f"/tasks/{task['id']}", status=200)
        assert found["archived_time"] is None
        if answer.status_code >= 400:
            assert found["version"] == task["version"]
            fields = [error["field"].split(".")[0] for error in answer.json()["errors"]]
            assert word in fields, answer.text[:500]


SPAN = '"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"'
REQUESTS = (
    ("/tasks/{id}/trigger", '{"params": %s}'),
    ("/tasks/{id}/trigger", '{"params": {"deep": [%s]}}'),
    ("/tasks/{id}/trigger", '{"logical_time": %s}'),
    ("/tasks/{id}/trigger", '{"rerun": %s}'),
    ("/tasks/{id}/backfill", '{"from": %s, "to": "2026-01-01T00:00:00Z"}'),
    ("/tasks/{id}/backfill", f'{{{SPAN}, "parallel": %s}}'),
    ("/tasks/{id}/backfill", f'{{{SPAN}, "params": {{"x": %s}}}}'),
    ("/tasks/bulk", '{"action": %s, "task_ids": [1]}'),
    ("/tasks/bulk", '{"action": "enable", "task_ids": %s}'),
    ("/tasks/bulk", '{"action": "enable", "task_ids": [%s]}'),
    ("/tasks/bulk", '{"action": "trigger", "task_ids": [1], "params": {"x": %s}}'),
    ("/executions", '{"definition": %s}'),
    ("/executions", '{"definition": {"name": "once", "command": "true"}, "params": %s}'),
    ("/tokens", '{"name": %s}'),
    ("/tokens", '{"name": "x", "expires_time": %s}'),
)


@every_value
def test_odd_values_of_requests_are_refused_with_their_path(sender: Sender, value: str) -> None:
    for path, content in REQUESTS:
        answer = sender.send("POST", path, content % value)
        if answer.status_code in (400, 422):
            assert answer.json()["errors"], answer.text[:500]
            assert all("field" in error for error in answer.json()["errors"]), answer.text[:500]


def test_the_last_of_double_keys_counts(sender: Sender) -> None:
    first, second = fresh("double"), fresh("double")
    answer = sender.send("POST", "/tasks", f'{{"name": "{first}", "name": "{second}", "command": "true"}}')
    assert answer.json()["name"] == second


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../../../etc/passwd",
            "/etc/passwd",
            "a/b",
            "..",
            ".",
            "...",
            "a\\b",
            "C:\\x",
            "nul",
            "-rf",
            "~",
            "$HOME",
        ),
        *("naïve", "夜间同步", "🚀🚀", "👩‍👩‍👧‍👦", "\u202egnp.exe", "مهمة", "\u200b", "a\u0301" * 30),
        *(
            "x" * 100,
            "名" * 100,
            "🚀" * 100,
            "%s%n",
            "{name}",
            "{{ params.x }}",
            "<script>",
            "' OR 1=1 --",
            "a" + "." * 80,
        ),
        *(
            "name: x",
            "- x",
            "#x",
            "&x",
            "*x",
            "!x",
            "null",
            "yes",
            "1",
            "1e5",
            "0x1",
            ".yaml",
            "x.yaml",
            "a\u00a0b",
            " ",
            "\u3000 ",
        ),
    ],
)
def test_a_name_may_be_anything_that_can_be_seen_and_never_leads_out_of_the_folder(
    sender: Sender, name: str
) -> None:
    sender.api.tasks.mkdir(exist_ok=True)
    around = {path for path in sender.api.tasks.parent.iterdir() if path.name not in ("data", "tasks")}
    answer = sender.send("POST", "/tasks?new_id=true", json.dumps({**name_of_a_task(), "name": name}))
    assert answer.status_code == 201, answer.text
    task = answer.json()
    assert task["name"] == unicodedata.normalize("NFC", name)
    assert (sender.api.tasks / task["source"]).resolve().parent == sender.api.tasks.resolve()
    assert {p for p in sender.api.tasks.parent.iterdir() if p.name not in ("data", "tasks")} == around
    assert sender.send("GET", f"/tasks/{task['id']}").json()["name"] == task["name"]
    assert sender.send("PUT", f"/tasks/{task['id']}", '{"tags": ["x"]}').is_success
    assert sender.send("DELETE", f"/tasks/{task['id']}").status_code == 204


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 101,
        "🚀" * 101,
        "a\nb",
        "a\tb",
        "\x00",
        "a\x7f",
        "\x1b[31m",
        "a\x85b",
        "\ud800",
        "a\udfff",
    ],
    ids=ascii,
)
def test_a_name_that_can_not_be_is_refused_everywhere(sender: Sender, name: str) -> None:
    task = make(sender.api)
    said = json.dumps(name)
    for method, path, content, field in (
        ("POST", "/tasks", f'{{"name": {said}, "command": "true"}}', "name"),
        ("PUT", f"/tasks/{task['id']}", f'{{"name": {said}}}', "name"),
        (
            "POST",
            "/executions",
            f'{{"definition": {{"name": {said}, "command": "true"}}}}',
            "definition.name",
        ),
        ("POST", "/tokens", f'{{"name": {said}}}', "name"),
    ):
        fault = sender.refused(method, path, content)
        assert field in [error["field"] for error in fault["errors"]], (path, fault)


def test_two_forms_of_one_name_are_one_name(sender: Sender) -> None:
    name = fresh("café")
    body = {**name_of_a_task(), "name": unicodedata.normalize("NFD", name)}
    assert sender.send("POST", "/tasks", json.dumps(body)).status_code == 201
    body["name"] = unicodedata.normalize("NFC", name)
    assert sender.refused("POST", "/tasks", json.dumps(body))["code"] == "name_in_use"
