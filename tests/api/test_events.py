"""The stream of events and the log as it is written: over real sockets, because that is what they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from tests.api.conftest import TOKEN, Api, fresh, make, until
from zquant_flow.api.app import PREFIX
from zquant_flow.api.feed import Feed

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def address(api: Api) -> Iterator[str]:
    """The application of the other tests, on a socket."""
    server = uvicorn.Server(
        uvicorn.Config(api.client.app, port=0, log_level="warning", lifespan="off", access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}{PREFIX}"
    api.client.app.state.control.feed.close()
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers=HEADERS, timeout=20, trust_env=False) as made:
        yield made


class Stream:
    """Server-sent events, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, dict[str, Any], str | None]:
        """Kind, data and id of the next event; comments are passed over."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        raise AssertionError("the stream ended")

    def first(self, wanted: Callable[[str, dict[str, Any]], bool]) -> tuple[str, dict[str, Any], str | None]:
        """The next event that is wanted."""
        while True:
            found = self.next()
            if wanted(found[0], found[1]):
                return found


@contextmanager
def listening(
    client: httpx.Client, path: str = "/events/stream", *, after: str | None = None, **query: Any
) -> Iterator[Stream]:
    headers = {"Last-Event-ID": after} if after is not None else {}
    with client.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


def test_an_execution_is_told_from_its_beginning_to_its_end(api: Api, client: httpx.Client) -> None:
    task = make(api)
    with listening(client) as stream:
        kind, data, number = stream.next()
        assert (kind, str(data["seq"])) == ("hello", number)
        execution_id = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
        _, last, _ = stream.first(
            lambda kind, data: data.get("id") == execution_id and data["status"] == "success"
        )
        assert last["task_name"] == task["name"]
        assert last["duration_seconds"] > 0


def test_events_are_chosen_by_kind_task_status_and_root(api: Api, client: httpx.Client) -> None:
    one, other = make(api), make(api)
    with (
        listening(client, types="execution", task_id=one["id"], status="success") as chosen,
        listening(client, types="task") as of_tasks,
    ):
        assert chosen.next()[0] == of_tasks.next()[0] == "hello"
        api.ended(api("POST", f"/tasks/{other['id']}/trigger")["execution_id"])
        execution_id = api("POST", f"/tasks/{one['id']}/trigger")["execution_id"]
        kind, data, _ = chosen.next()
        assert (kind, data["id"], data["status"]) == ("execution", execution_id, "success")
        api("POST", f"/tasks/{other['id']}/disable")
        kind, data, _ = of_tasks.next()
        assert (kind, data["id"], data["enabled"]) == ("task", other["id"], False)


def test_nodes_are_told_where_they_are_asked_for(api: Api, client: httpx.Client) -> None:
    flow = make(api, task_type="workflow", config={"tasks": [{"name": "a", "command": "true"}]})
    with listening(client, include="nodes", task_id=flow["id"]) as with_nodes, listening(client) as without:
        assert with_nodes.next()[0] == without.next()[0] == "hello"
        root = api("POST", f"/tasks/{flow['id']}/trigger")["execution_id"]
        _, node, _ = with_nodes.first(
            lambda kind, data: data.get("node") == "a" and data["status"] == "success"
        )
        assert node["root_execution_id"] == root
        seen = []
        without.first(lambda kind, data: seen.append(data) or data.get("status") == "success")
        assert all(data.get("node") is None for data in seen)


def test_a_lost_connection_goes_on_where_it_was(api: Api, client: httpx.Client) -> None:
    task = make(api)
    with listening(client, task_id=task["id"]) as stream:
        _, _, number = stream.next()
    missed = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    with listening(client, task_id=task["id"], after=number) as stream:
        assert stream.next()[0] == "hello"
        _, data, number = stream.next()
        assert (data["id"], data["status"]) == (missed["id"], "success"), "told once, as it is now"
    with listening(client, task_id=task["id"], after=number) as stream:
        assert stream.next()[0] == "hello"
        again = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
        assert stream.next()[1]["id"] == again, "what was told before is not told again"


def test_who_has_missed_too_much_is_told_to_load_anew(
    api: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zquant_flow.api.events.FURTHEST", 1)
    api.ended(api("POST", f"/tasks/{make(api)['id']}/trigger")["execution_id"])
    with listening(client, after="0") as stream:
        kind, data, _ = stream.next()
        assert (kind, data["seq"] > 1) == ("reset", True)
        assert stream.next()[0] == "hello"


@pytest.mark.parametrize("after", ["nonsense", "-1", "99999999999999999999999", ""])
def test_an_id_that_is_none_of_ours_begins_now(client: httpx.Client, after: str) -> None:
    with listening(client, after=after) as stream:
        assert stream.next()[0] == "hello"


def test_load_errors_are_told(api: Api, client: httpx.Client) -> None:
    with listening(client, types="load_errors") as stream:
        before = stream.next()[1]["load_errors"]
        name = f"{fresh('broken')}.yaml"
        api.file(name, "name: [")
        stream.first(lambda kind, data: data == {"total": before + 1})
        (api.tasks / name).unlink()
        stream.first(lambda kind, data: data == {"total": before})


def test_a_change_of_a_definition_is_told(api: Api, client: httpx.Client) -> None:
    with listening(client, types="task") as stream:
        stream.next()
        task = make(api)
        assert stream.first(lambda kind, data: data["id"] == task["id"])[1]["version"] == 1
        api("PUT", f"/tasks/{task['id']}", json={"description": "new"})
        assert stream.first(lambda kind, data: data["id"] == task["id"])[1]["version"] == 2
        api("DELETE", f"/tasks/{task['id']}", status=204)
        assert stream.first(lambda kind, data: data["id"] == task["id"])[1]["archived"]


def test_who_is_slow_reads_the_rest_from_the_database(
    api: Api, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zquant_flow.api.feed.KEPT", 2)
    task = make(api, overlap="allow")
    feed: Feed = api.client.app.state.control.feed
    with listening(client, types="execution", task_id=task["id"]) as stream:
        stream.next()
        ids = {api("POST", f"/tasks/{task['id']}/trigger")["execution_id"] for _ in range(12)}
        for id_ in ids:
            api.ended(id_)
        until(lambda: feed.place(0, _anything()) is None)
        heard: set[int] = set()
        while heard != ids:
            _, data, _ = stream.next()
            if data["status"] == "success":
                heard.add(data["id"])


def _anything() -> Any:
    from zquant_flow.api.feed import Choice

    return Choice()


def test_without_a_token_nothing_is_told(address: str) -> None:
    assert httpx.get(f"{address}/events/stream", trust_env=False).status_code == 401


@pytest.mark.parametrize("kind", ["events", "log"])
def test_a_stream_ends_when_its_token_is_revoked(
    api: Api, address: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for module in ("events", "following"):
        monkeypatch.setattr(f"zquant_flow.api.{module}.ALIVE", 0.05)
    monkeypatch.setattr("zquant_flow.api.security.ASK_AGAIN", 0.0)
    running = api("POST", f"/tasks/{make(api, config={'command': 'sleep 30'})['id']}/trigger")["execution_id"]
    path = "/events/stream" if kind == "events" else f"/executions/{running}/log/stream"
    token = api("POST", "/tokens", json={"name": fresh()}, status=201)
    headers = {"Authorization": f"Bearer {token['token']}"}
    with (
        httpx.Client(base_url=address, headers=headers, timeout=20, trust_env=False) as client,
        client.stream("GET", path) as answer,
    ):
        pieces = answer.iter_bytes()
        assert next(pieces)
        api("DELETE", f"/tokens/{token['id']}", status=204)
        for _ in pieces:
            pass
    api("POST", f"/executions/{running}/terminate", status=200)


def test_wrong_filters_are_refused(client: httpx.Client) -> None:
    for query in ("types=magic", "status=magic", "include=all", "task_id=x"):
        assert client.get(f"/events/stream?{query}").status_code in (400, 422)


def test_nobody_listens_nobody_reads(api: Api, client: httpx.Client) -> None:
    feed: Feed = api.client.app.state.control.feed
    with listening(client) as stream:
        stream.next()
    until(lambda: feed._listeners == 0)
    before = feed.last
    api.ended(api("POST", f"/tasks/{make(api)['id']}/trigger")["execution_id"])
    assert feed.last == before


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_is_followed_from_attempt_to_attempt_to_its_end(api: Api, client: httpx.Client) -> None:
    go = api.tasks / fresh("go")
    script = f"echo one $ZQUANT_FLOW_ATTEMPT; while [ ! -e {go} ]; do sleep 0.02; done; echo 二; exit $((2 - ZQUANT_FLOW_ATTEMPT))"
    task = make(api, config={"command": script}, max_retries=1, retry_interval=0)
    execution_id = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    with listening(client, f"/executions/{execution_id}/log/stream") as stream:
        kind, data, number = stream.next()
        assert (kind, data["text"], number) == ("log", "one 1\n", "1:6")
        go.write_text("")
        text = ""
        while True:
            kind, data, number = stream.next()
            if kind == "end":
                break
            text += f"<{data['attempt']}>" if kind == "attempt" else data["text"]
    assert (text, data) == ("二\n<2>one 2\n二\n", {"status": "success"})


def test_a_lost_log_stream_goes_on_at_its_place(api: Api, client: httpx.Client) -> None:
    task = make(api, config={"command": "printf 'abc\\ndef\\n'; exit 1"}, max_retries=1, retry_interval=0)
    execution = api.ended(api("POST", f"/tasks/{task['id']}/trigger")["execution_id"])
    path = f"/executions/{execution['id']}/log/stream"
    with listening(client, path, after="1:4") as stream:
        assert stream.next()[1]["text"] == "def\n"
        assert stream.next()[:2] == ("attempt", {"attempt": 2})
        assert stream.next()[1]["text"] == "abc\ndef\n"
        assert stream.next()[:2] == ("end", {"status": "failed"})
    with listening(client, path) as stream:
        assert stream.next()[1] == {"attempt": 2, "offset": 8, "text": "abc\ndef\n"}, "the latest attempt"
    with listening(client, path, attempt=1, tail=1) as stream:
        assert stream.next()[1]["text"] == "def\n"


def test_a_character_that_is_written_in_two_halves_is_told_whole(api: Api, client: httpx.Client) -> None:
    go = api.tasks / fresh("go")
    script = f"printf 'a\\344'; while [ ! -e {go} ]; do sleep 0.02; done; printf '\\275\\240\\377'"
    task = make(api, config={"command": script})
    execution_id = api("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    with listening(client, f"/executions/{execution_id}/log/stream") as stream:
        assert stream.next()[1]["text"] == "a"
        go.write_text("")
        text = ""
        while (found := stream.next())[0] == "log":
            text += found[1]["text"]
    assert text == "你\ufffd"


def test_a_log_that_never_comes_ends_with_its_execution(api: Api, client: httpx.Client) -> None:
    execution = api.ended(api("POST", f"/tasks/{make(api)['id']}/trigger")["execution_id"])
    with listening(client, f"/executions/{execution['id']}/log/stream") as stream:
        assert stream.next()[:2] == ("end", {"status": "success"})
    assert client.get("/executions/987654321/log/stream").status_code == 404
