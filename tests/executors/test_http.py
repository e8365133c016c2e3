"""Requests to a real server: what is sent, what comes of the answer, and what is never told."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.executors.web import Answer, Asked, Web, serving
from tests.runner.client import Runner
from zquant_flow.executors.context import Context, Terminated
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.http import HttpExecutor
from zquant_flow.executors.http_config import HttpConfig
from zquant_flow.executors.json_path import find, steps_of


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    server.asked.clear()
    server.says(b"")
    return server


def request(web: Web, path: str = "/", context: Context | None = None, **config: Any) -> Any:
    made = HttpConfig.model_validate({"url": web.url + path, **config})
    return HttpExecutor().run(context or Context({}), made)


def failure(web: Web, path: str = "/", **config: Any) -> tuple[str, str]:
    with pytest.raises(Failure) as caught:
        request(web, path, **config)
    return caught.value.code, str(caught.value)


def test_an_answer_is_its_status_with_json_or_text(web: Web) -> None:
    web.says({"rows": [1, 2]})
    assert request(web) == {"status": 200, "json": {"rows": [1, 2]}}
    web.says("五 rows")
    assert request(web) == {"status": 200, "text": "五 rows"}
    web.says("x" * 70_000)
    found = request(web)
    assert (len(found["text"]), found["truncated"]) == (65_536, True)


def test_method_query_headers_and_body_are_sent_as_they_are_said(web: Web) -> None:
    request(
        web,
        "/a?one=1",
        method="post",
        params={"two": [2, 3]},
        headers={"X-Day": "2026-01-05", "X-N": 5},
        json={"a": "中"},
    )
    asked = web.asked[0]
    assert (asked.method, asked.path) == ("POST", "/a?one=1&two=2&two=3")
    assert (asked.headers["x-day"], asked.headers["x-n"]) == ("2026-01-05", "5")
    assert asked.headers["content-type"] == "application/json"
    assert asked.body.decode() == '{"a": "中"}'
    request(web, method="PUT", data={"a": "b c"})
    request(web, method="PUT", content="raw 中")
    request(web, method="POST", json=None)
    assert [asked.body.decode() for asked in web.asked[1:]] == ["a=b+c", "raw 中", "null"]


def test_who_asks_is_told_by_name_and_password_or_by_a_token(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "geheim")
    request(web, auth={"username": "me", "password_env": "MY_SECRET"})
    request(web, auth={"token_env": "MY_SECRET"})
    basic = base64.b64encode(b"me:geheim").decode()
    assert [asked.headers["authorization"] for asked in web.asked] == [f"Basic {basic}", "Bearer geheim"]
    assert failure(web, auth={"token_env": "NOT_SET"}) == ("http_failed", "the variable NOT_SET is not set")


def test_a_token_does_not_follow_a_redirect_to_another_host(web: Web) -> None:
    with serving() as other:
        web.says(Answer(302, headers={"Location": other.url + "/there"}))
        assert request(web, auth={"token": "geheim"})["status"] == 200
        assert [asked.path for asked in other.asked] == ["/there"]
        assert "authorization" not in other.asked[0].headers
    assert failure(web, follow_redirects=False)[0] == "unexpected_status"


def test_secrets_stand_neither_in_the_log_nor_in_an_error(
    web: Web, capfd: pytest.CaptureFixture[str]
) -> None:
    web.says(Answer(500))
    url = web.url.replace("//", "//me:geheim@") + "/a?key=geheim"
    code, text = failure(web, url=url, headers={"X-Key": "geheim"}, retries=1, retry_seconds=0)
    assert (code, text) == ("unexpected_status", f"GET {web.url}/a: status 500, expected is 200-299")
    told = "".join(capfd.readouterr())
    assert "geheim" not in told
    assert f"GET {web.url}/a: status 500; again in 0 s\n" in told


def test_an_unexpected_status_fails_with_the_beginning_of_its_body(web: Web) -> None:
    web.says(Answer(404, "no such row"))
    assert failure(web) == (
        "unexpected_status",
        f"GET {web.url}/: status 404, expected is 200-299: no such row",
    )
    assert request(web, expected_status=[200, "400-404"]) == {"status": 404, "text": "no such row"}
    web.says(Answer(200, "fine"))
    assert failure(web, expected_status=["400-404"])[0] == "unexpected_status"


def test_what_a_server_may_answer_better_is_asked_again_and_the_rest_is_not(web: Web) -> None:
    web.says(Answer(503), Answer(429, headers={"Retry-After": "0"}), "done")
    assert request(web, retries=2, retry_seconds=0)["text"] == "done"
    assert len(web.asked) == 3
    web.says(Answer(400))
    assert failure(web, retries=2)[0] == "unexpected_status"
    assert len(web.asked) == 4


def test_a_server_that_is_not_there_fails_after_the_retries(capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as gone:
        pass
    code, text = failure(gone, retries=2, retry_seconds=0)
    assert (code, text.partition(":")[0]) == ("http_failed", "GET http")
    assert "ConnectError" in text
    assert capfd.readouterr().out.count("again in") == 2


def test_an_answer_that_takes_too_long_is_named(web: Web) -> None:
    waiting = threading.Event()
    web.says(lambda asked: Answer(200 if waiting.wait(30) else 500))
    assert "no answer within 0.05 s" in failure(web, request_timeout_seconds=0.05)[1]
    waiting.set()


def test_result_names_a_part_of_the_answer(web: Web) -> None:
    web.says({"data": {"items": [{"id": 7}]}})
    assert request(web, result="$.data.items[0].id") == 7
    code, text = failure(web, result="data.rows")
    assert (code, text.partition(": ")[2]) == (
        "http_failed",
        "data.rows: there is no 'rows' in $.data, which has items",
    )
    web.says("no json")
    assert failure(web, result="data")[1].endswith("the answer is no JSON")


def test_until_asks_again_until_the_value_is_there(web: Web) -> None:
    web.says({"state": None}, {}, {"state": "running"}, {"state": "done", "n": 3})
    context = Context({})
    until = {"path": "state", "in": ["done", "failed"], "every_seconds": 0.001}
    assert request(web, context=context, until=until, result="n") == 3
    assert context.values == {"message": "state is 'running'"}
    web.says({"state": "running"})
    code, text = failure(
        web,
        until={"path": "state", "equals": "done", "every_seconds": 5, "at_most_seconds": 0.01},
    )
    assert (code, text.partition(": ")[2]) == ("http_failed", "after 0.01 s state is 'running' still")


def test_a_file_is_saved_whole_or_not_at_all(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    web.says(b"\x00" * 300_000)
    target = tmp_path / "deep" / "bars.bin"
    found = request(web, save_to="deep/bars.bin")
    assert found == {"status": 200, "file": str(target), "bytes": 300_000}
    web.says(Answer(200, b"short", {"Content-Length": "9"}), Answer(200, b"short", {"Content-Length": "9"}))
    assert failure(web, save_to="deep/bars.bin", request_timeout_seconds=0.2)[0] == "http_failed"
    assert target.stat().st_size == 300_000
    assert [path.name for path in target.parent.iterdir()] == ["bars.bin"]


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_terminate_ends_a_request_at_once(web: Web, tmp_path: Path, isolation: str) -> None:
    asked, never = threading.Event(), threading.Event()

    def wait(_: Asked) -> Answer:
        asked.set()
        never.wait(30)
        return Answer()

    web.says(wait)
    runner = Runner(tmp_path)
    client = runner.client()
    try:
        client.start(
            1, executor="http", entry=HttpExecutor.entry(), config={"url": web.url}, isolation=isolation
        )
        assert asked.wait(15)
        client.send(op="terminate", id=1, attempt=1, kind="terminated", grace=30)
        outcome = client.wait(1)
    finally:
        never.set()
        client.close()
        runner.end()
    assert (outcome["kind"], outcome.get("signal")) == ("terminated", None)
    assert outcome["seconds"] < 10


def test_a_request_of_an_attempt_that_ends_raises_in_it(web: Web) -> None:
    context = Context({})
    context.stop()
    with pytest.raises(Terminated):
        request(web, context=context, until={"path": "x"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"url": "ftp://x"}, "url must begin with http"),
        ({"url": "http://x", "json": {}, "content": ""}, "a request has one of them"),
        ({"url": "http://x", "save_to": "f", "result": "a"}, "save_to goes without result and until"),
        ({"url": "http://x", "result": "a b"}, "'a b' is no path into JSON"),
        ({"url": "http://x", "auth": {"username": "u"}}, "auth is a username with password"),
        ({"url": "http://x", "auth": {"token": "t", "token_env": "T"}}, "auth is a username"),
        ({"url": "http://x", "until": {"path": "a", "equals": 1, "in": [1]}}, "equals or in, not both"),
        ({"url": "http://x", "expected_status": ["2xx"]}, "pattern"),
        ({"url": "http://x", "verfy": False}, "verfy"),
    ],
)
def test_what_can_not_be_is_refused_when_the_file_is_loaded(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HttpConfig.model_validate(config)


def test_paths_into_json() -> None:
    value = {"a": [{"odd key": 1, "b.c": 2}, 3]}
    assert [find(value, path) for path in ("$", "", "a[1]", "$.a[-1]", 'a[0]["odd key"]', "a[0]['b.c']")] == [
        *(value, value, 3, 3, 1, 2)
    ]
    assert steps_of('["a"].b') == ["a", "b"]
    for path in ("a b", "a..b", "a[", "a[x]", "a[0]b"):
        with pytest.raises(ValueError, match="is no path"):
            steps_of(path)
    for path, why in [("a[5]", "a list of 2"), ("b", "which has a"), ("a[1].x", "which is 3")]:
        with pytest.raises(LookupError, match=why):
            find(value, path)
