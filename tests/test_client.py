"""The client against a real scheduler, over a socket of its own; and against answers that no good server gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.api.conftest import fresh
from zquant_flow.api.app import PREFIX as SERVED
from zquant_flow.cli.local import served
from zquant_flow.client import ApiError, Client, NoServer, Unreachable
from zquant_flow.client.connection import PREFIX
from zquant_flow.client.streams import Frame, frames
from zquant_flow.config import load_settings
from zquant_flow.engine.assembly import Scheduler, assemble
from zquant_flow.errors import BadRequest, ZquantFlowError


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    folder = tmp_path_factory.mktemp("client")
    made = assemble(
        load_settings(
            tasks_dir=folder / "tasks", data_dir=folder / "data", timezone="UTC", shutdown_grace=1.0
        )
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(scheduler: Scheduler) -> Iterator[Client]:
    with served(scheduler) as made:
        yield made


def make(client: Client, command: str = "true", **keys: Any) -> int:
    """A new manual task; its id."""
    name = fresh("client")
    return client.create_task({"name": name, "config": {"command": command}, "max_retries": 0, **keys}).id


def make_workflow(client: Client, *, failing: bool = False) -> int:
    nodes = [
        {"name": "a", "command": "echo of a"},
        {"name": "b", "command": "false" if failing else "true", "dependencies": ["a"]},
    ]
    return client.create_task({"name": fresh("flow"), "tasks": nodes, "max_retries": 0}).id


# Tasks


def test_a_task_is_made_read_changed_and_deleted(client: Client) -> None:
    made = client.create_task(
        {"name": fresh(), "cron_expression": "0 9 * * *", "config": {"command": "true"}}
    )
    assert client.get_task(made.id).name == made.name
    assert client.get_task(made.name).id == made.id
    changed = client.change_task(made, {"description": "better"})
    assert changed.description == "better"
    client.delete_task(made.name)
    assert client.get_task(made.id).archived_time is not None
    with pytest.raises(ApiError, match="no task is named"):
        client.get_task(made.name)


def test_an_etag_keeps_two_writers_apart(client: Client) -> None:
    task = client.get_task(make(client))
    assert task.etag
    client.change_task(task.id, {"description": "mine"}, if_match=task.etag)
    with pytest.raises(ApiError) as refused:
        client.change_task(task.id, {"description": "theirs"}, if_match=task.etag)
    assert (refused.value.status, refused.value.code) == (412, "precondition_failed")
    assert "etag" not in json.loads(task.model_dump_json())


def test_all_tasks_come_page_by_page(client: Client) -> None:
    tag = fresh("tag")
    ids = [make(client, tags=[tag]) for _ in range(5)]
    page = client.list_tasks(tag=tag, limit=2)
    assert (page.total, len(page.tasks)) == (5, 2)
    assert page.next_cursor
    assert [task.id for task in client.iter_tasks(tag=tag, limit=2)] == ids


def test_lists_are_filtered_by_the_states_of_the_latest_executions(client: Client) -> None:
    tag = fresh("tag")
    good, bad, _never = make(client, tags=[tag]), make(client, "false", tags=[tag]), make(client, tags=[tag])
    for task_id in (good, bad):
        client.wait_for_execution(client.trigger_task(task_id).execution_id, timeout=20)
    assert {task.id for task in client.list_tasks(tag=tag, status=["success", "failed"]).tasks} == {good, bad}
    assert [task.id for task in client.list_tasks(tag=tag, status="failed").tasks] == [bad]


def test_switches_answer_with_the_task(client: Client) -> None:
    task_id = make(client)
    assert not client.disable_task(task_id).enabled
    assert client.pause_task(task_id).paused
    assert [task.id for task in client.iter_tasks(enabled=False, paused=True)] == [task_id]
    assert client.enable_task(task_id).paused
    assert not client.resume_task(task_id).paused


def test_many_tasks_at_once_each_have_a_result(client: Client) -> None:
    ids = [make(client), 10**9, make(client)]
    answer = client.bulk("disable", ids)
    assert (answer.succeeded, answer.failed) == (2, 1)
    assert [item.ok for item in answer.results] == [True, False, True]
    assert answer.results[1].code == "task_not_found"


def test_the_same_key_makes_one_task_and_one_execution(client: Client) -> None:
    definition = {"name": fresh(), "config": {"command": "true"}}
    key = fresh("key")
    assert (
        client.create_task(definition, idempotency_key=key).id
        == client.create_task(definition, idempotency_key=key).id
    )
    task_id, other = make(client), fresh("key")
    first = client.trigger_task(task_id, idempotency_key=other)
    assert client.trigger_task(task_id, idempotency_key=other) == first


def test_the_ledger_knows_a_logical_time(client: Client) -> None:
    task_id = make(client, cron_expression="0 9 * * *", task_type="common_task")
    when = datetime(2026, 1, 5, 9, tzinfo=UTC)
    started = client.trigger_task(task_id, logical_time=when)
    client.wait_for_execution(started.execution_id, timeout=20)
    [fire] = client.list_fires(task_id, start=when, end=when).fires
    assert (fire.logical_time, fire.outcome, fire.execution_id) == (when, "fired", started.execution_id)
    with pytest.raises(ApiError) as refused:
        client.trigger_task(task_id, logical_time=when)
    assert refused.value.code == "already_fired"
    assert refused.value.facts["execution_id"] == started.execution_id
    assert client.trigger_task(task_id, logical_time=when, rerun=True).execution_id > started.execution_id


def test_a_backfill_is_tried_out_and_then_made(client: Client) -> None:
    task_id = make(client, cron_expression="0 9 * * *", task_type="common_task")
    start, end = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, 23, tzinfo=UTC)
    tried = client.backfill_task(task_id, start, end, dry_run=True)
    assert (tried.dry_run, len(tried.executions)) == (True, 3)
    made = client.backfill_task(task_id, start, end, parallel=2)
    ids = [item.execution_id for item in made.executions if item.execution_id]
    assert sorted(one.id or 0 for one in client.as_ended(ids, timeout=20)) == sorted(ids)
    assert len(client.backfill_task(task_id, start, end).fired_before) == 3


def test_a_task_explains_itself_and_has_versions(client: Client) -> None:
    task_id = make(client)
    client.change_task(task_id, {"config": {"command": "false"}})
    assert [version.current for version in client.list_versions(task_id).versions] == [True, False]
    assert client.get_version(task_id, 1).definition is not None
    explained = client.explain_task(task_id)
    assert (explained.task_id, explained.running) == (task_id, False)
    assert explained.summary


def test_a_workflow_has_a_graph_and_can_be_validated(client: Client) -> None:
    task_id = make_workflow(client)
    graph = client.get_workflow(task_id)
    assert (graph.order, [(edge.from_, edge.to) for edge in graph.edges]) == (["a", "b"], [("a", "b")])
    cycle = [
        {"name": "a", "command": "true", "dependencies": ["b"]},
        {"name": "b", "command": "true", "dependencies": ["a"]},
    ]
    answer = client.validate_workflow({"name": fresh(), "tasks": cycle})
    assert not answer.valid
    assert answer.errors
    assert client.validate_workflow({"tasks": [{"name": "a", "command": "true"}]}, task_id).valid


# Executions


def test_an_execution_is_waited_for_by_the_stream(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "_looked_after", None)
    task_id = make(client, "sleep 0.3")
    found = client.wait_for_execution(client.trigger_task(task_id, {"x": 1}).execution_id, timeout=20)
    assert (found.status, found.params) == ("success", {"x": 1})
    assert client.wait_for_execution(found.id or 0) == found


def test_waiting_ends_at_its_timeout(client: Client) -> None:
    execution = client.trigger_task(make(client, "sleep 60")).execution_id
    with pytest.raises(TimeoutError, match=str(execution)):
        client.wait_for_execution(execution, timeout=0.3)
    client.terminate_execution(execution)
    assert client.wait_for_execution(execution, timeout=20).status == "terminated"


def test_without_a_stream_waiting_looks_again_and_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Iterator[None]:
        raise ApiError(404, "not_found", "Not Found")
        yield

    monkeypatch.setattr(Client, "_events", away)
    execution = client.trigger_task(make(client, "sleep 0.2")).execution_id
    assert client.wait_for_execution(execution, timeout=20).status == "success"


def test_a_failed_workflow_is_read_with_its_nodes_and_resumed(client: Client) -> None:
    task_id = make_workflow(client, failing=True)
    first = client.wait_for_execution(client.trigger_task(task_id).execution_id, timeout=20)
    assert first.status == "failed"
    whole = client.get_execution(first.id or 0, include=("attempts", "children"))
    nodes = {child.node: child for child in whole.children or []}
    assert {name: node.status for name, node in nodes.items()} == {"a": "success", "b": "failed"}
    node = client.get_execution(nodes["b"].id or 0, include=("attempts",))
    assert [attempt.exit_code for attempt in node.attempts or []] == [1]
    again = client.resume_execution(first.id or 0)
    assert (again.id, again.resume_from_execution_id) != (first.id, None)
    client.wait_for_execution(again.id or 0, timeout=20)


def test_a_node_is_waited_for_too(client: Client) -> None:
    nodes = [{"name": "a", "command": "sleep 0.4"}]
    task_id = client.create_task({"name": fresh(), "tasks": nodes}).id
    root = client.trigger_task(task_id).execution_id
    node = _until(
        lambda: [
            child.id for child in client.get_execution(root, include=("children",)).children or [] if child.id
        ]
    )
    assert client.wait_for_execution(node[0], timeout=20).status == "success"


def test_a_running_execution_pauses_and_goes_on(client: Client) -> None:
    task_id = make(client, "sleep 0.5")
    execution = client.trigger_task(task_id).execution_id
    _until(lambda: client.get_execution(execution).status == "running")
    client.pause_execution(execution)
    _until(lambda: client.get_execution(execution).status == "paused")
    client.resume_execution(execution)
    assert client.wait_for_execution(execution, timeout=20).status == "success"


def test_a_definition_runs_without_being_a_task(client: Client) -> None:
    answer = client.run_definition({"name": fresh("once"), "command": "echo $ZQF_PARAM_X"}, {"x": "hi"})
    client.wait_for_execution(answer.execution_id, timeout=20)
    assert client.read_log(answer.execution_id) == b"hi\n"


def test_executions_are_listed_newest_first_and_page_by_page(client: Client) -> None:
    task_id = make(client)
    ids = []
    for _ in range(3):
        ids.append(client.trigger_task(task_id).execution_id)
        client.wait_for_execution(ids[-1], timeout=20)
    assert [one.id for one in client.list_task_executions(task_id, limit=2).executions] == ids[:0:-1]
    assert client.list_task_executions(task_id, status=["failed"]).total == 0
    since = datetime.now(UTC) - timedelta(hours=1)
    mine = [one.id for one in client.iter_executions(limit=2, since=since) if one.task_id == task_id]
    assert mine == ids[::-1]


# Logs


def test_a_log_is_read_whole_and_from_its_end(client: Client) -> None:
    execution = client.trigger_task(make(client, "seq 1 5")).execution_id
    client.wait_for_execution(execution, timeout=20)
    assert client.read_log(execution) == b"1\n2\n3\n4\n5\n"
    assert client.read_log(execution, tail=2) == b"4\n5\n"
    assert client.read_log(execution, offset=8) == b"5\n"


def test_a_long_log_comes_in_pieces_and_whole(client: Client) -> None:
    execution = client.trigger_task(make(client, "head -c 2500000 /dev/zero | tr '\\0' x")).execution_id
    client.wait_for_execution(execution, timeout=20)
    assert len(client.read_log(execution)) == 2_500_000


def test_a_result_is_read_whole_however_large(client: Client) -> None:
    put = "head -c 400000 /dev/zero | tr '\\0' x | sed s/^/big=/ > $ZQUANT_FLOW_OUTPUT"
    large = client.trigger_task(make(client, put)).execution_id
    small = client.trigger_task(make(client, "echo rows=3 > $ZQUANT_FLOW_OUTPUT")).execution_id
    none = client.trigger_task(make(client)).execution_id
    ended = [client.wait_for_execution(id_, timeout=20) for id_ in (large, small, none)]
    assert [(one.result, one.result_size) for one in ended] == [
        (None, 400_011),
        ({"rows": "3"}, None),
        (None, None),
    ]
    assert client.read_result(large) == {"big": "x" * 400_000}
    assert client.read_result(small) == {"rows": "3"}
    with pytest.raises(ApiError) as caught:
        client.read_result(none)
    assert (caught.value.status, caught.value.code) == (404, "result_not_found")


def test_a_log_is_followed_to_the_end(client: Client) -> None:
    task_id = make(client, "echo first; sleep 0.3; echo 行\u2028末; exit 1", max_retries=1, retry_interval=0)
    execution = client.trigger_task(task_id).execution_id
    events = list(client.stream_log(execution))
    assert (events[-1].type, events[-1].status) == ("end", "failed")
    text = "".join(event.text for event in events)
    assert text.count("first\n") == 2
    assert "行\u2028末\n" in text
    assert [event.attempt for event in events if event.type == "attempt"][-1] == 2


# Events


def test_events_tell_of_executions_tasks_and_broken_files(client: Client, scheduler: Scheduler) -> None:
    seen: list[tuple[str, Any]] = []
    stands = threading.Event()

    def listen() -> None:
        for event in client.stream_events(hello=True):
            stands.set()
            seen.append((event.type, event.data))
            if event.type == "load_errors":
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert stands.wait(10)
    task_id = make(client)
    execution = client.trigger_task(task_id).execution_id
    client.wait_for_execution(execution, timeout=20)
    (scheduler.settings.tasks_dir / "broken.yaml").write_text("nonsense")
    thread.join(20)
    assert not thread.is_alive()
    (scheduler.settings.tasks_dir / "broken.yaml").unlink()
    assert ("success", execution) in [
        (data["status"], data["id"]) for kind, data in seen if kind == "execution"
    ]
    assert task_id in [data["id"] for kind, data in seen if kind == "task"]


def test_events_go_on_from_where_they_were_left(client: Client) -> None:
    task_id = make(client)
    events = client.stream_events(types=["execution"], task_id=task_id, hello=True)
    begin = next(events).seq
    client.wait_for_execution(client.trigger_task(task_id).execution_id, timeout=20)
    events.close()  # type: ignore[attr-defined]
    again = client.stream_events(
        types=["execution"], task_id=task_id, status=["success"], last_event_id=begin
    )
    assert next(again).data["status"] == "success"


# The server


def test_all_tasks_from_the_second_on_are_all_but_the_first(client: Client) -> None:
    for _ in range(6):
        make(client)
    everything = [task.id for task in client.iter_tasks()]
    assert [task.id for task in client.iter_tasks(skip=1, limit=2)] == everything[1:]


def test_all_executions_from_the_second_on_are_all_but_the_first(client: Client) -> None:
    task_id = make(client)
    for _ in range(4):
        client.wait_for_execution(client.trigger_task(task_id).execution_id, timeout=20)
    everything = [execution.id for execution in client.iter_executions()]
    assert [execution.id for execution in client.iter_executions(skip=1, limit=2)] == everything[1:]


def test_the_server_says_what_it_is_and_has(client: Client, scheduler: Scheduler) -> None:
    from zquant_flow import __version__

    assert client.get_server().version == __version__
    assert {"command", "python"} <= {executor.name for executor in client.list_executors().executors}
    assert client.get_executor_schema("command")["type"] == "object"
    assert "cron" in client.get_definition_schema()["properties"]
    assert client.list_plugins().plugins
    assert client.list_load_errors().total == len(client.list_load_errors().load_errors)


def test_statistics_come_by_task_and_by_time(client: Client) -> None:
    task_id = make(client)
    client.wait_for_execution(client.trigger_task(task_id).execution_id, timeout=20)
    stats = client.get_stats(task_id)
    assert (stats.total_executions, stats.success_count, stats.success_rate) == (1, 1, 1.0)
    since = datetime.now(UTC) - timedelta(hours=2)
    series = client.get_series(task_id, since=since, step_seconds=3600)
    assert sum(point.success for point in series.points) == 1
    assert task_id in [row.task_id for row in client.list_task_stats(limit=1000).tasks]


def test_what_is_ahead_is_listed(client: Client) -> None:
    task_id = make(client, cron_expression="* * * * *", task_type="common_task")
    now = datetime.now(UTC)
    page = client.list_upcoming(start=now, end=now + timedelta(minutes=10), limit=500)
    assert len([fire for fire in page.upcoming if fire.task_id == task_id]) in (9, 10, 11)
    client.disable_task(task_id)


def test_a_token_opens_until_it_is_revoked(client: Client) -> None:
    made = client.create_token(fresh("token"), expires_time=datetime.now(UTC) + timedelta(days=1))
    assert made.token
    assert [token.token for token in client.list_tokens().tokens if token.id == made.id] == [None]
    transport = client._http._transport
    with Client("http://localhost", made.token, transport=transport) as other:
        assert other.list_tasks(limit=1)
        client.revoke_token(made.id)
        with pytest.raises(ApiError) as refused:
            other.list_tasks(limit=1)
    assert refused.value.status == 401


# Errors


def test_an_error_of_the_server_keeps_its_facts(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.create_task({"name": fresh(), "config": {"command": "true"}, "corn": "* * * * *"})
    error = refused.value
    assert isinstance(error, ZquantFlowError)
    assert (error.status, error.code) == (422, "invalid_definition")
    assert [fault["field"] for fault in error.errors] == ["corn"]
    assert "did you mean" in error.detail


def test_errors_come_in_the_language_that_is_asked_for(client: Client) -> None:
    transport, token = client._http._transport, client._http.headers["Authorization"].removeprefix("Bearer ")
    with Client("http://localhost", token, language="zh", transport=transport) as other:
        with pytest.raises(ApiError) as refused:
            other.get_task(10**9)
    assert not refused.value.detail.isascii()


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://127.0.0.1:1", "t", transport=httpx.MockTransport(answer))


def test_an_answer_that_is_no_json_is_an_error_all_the_same() -> None:
    client = answering(lambda request: httpx.Response(502, text="<h1>Bad Gateway</h1>"))
    with pytest.raises(ApiError, match="HTTP 502: <h1>Bad Gateway") as refused:
        client.get_server()
    assert (refused.value.status, refused.value.code) == (502, "http_error")


def test_seconds_to_wait_are_kept() -> None:
    body = {"code": "unavailable", "detail": "later"}
    client = answering(lambda request: httpx.Response(503, json=body, headers={"Retry-After": "5"}))
    with pytest.raises(ApiError, match="later") as refused:
        client.get_server()
    assert refused.value.retry_after == 5.0


def test_another_program_is_not_taken_for_a_scheduler() -> None:
    client = answering(lambda request: httpx.Response(200, json={"hello": "world"}))
    with pytest.raises(ApiError, match="another program") as refused:
        client.get_server()
    assert refused.value.code == "unexpected_answer"


def test_where_nobody_listens_the_error_names_the_address_and_the_way_out() -> None:
    with Client("http://127.0.0.1:9", "t") as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9.*zquant-flow serve"):
            client.list_tasks()
        with pytest.raises(Unreachable):
            next(client.stream_events())


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="no address"):
        Client(url, "t")


def test_the_prefix_is_that_of_the_server() -> None:
    assert PREFIX == SERVED


# Server-sent events


def test_frames_survive_any_cut_of_the_bytes() -> None:
    text = 'event: log\nid: 1:0\ndata: {"a":\ndata: "行\u2028"}\n\n: alive\n\nretry: 5\r\nevent: end\r\ndata: {}\r\n\r\n'
    expected = [Frame("log", '{"a":\n"行\u2028"}', "1:0"), None, Frame("end", "{}", None)]
    for size in (1, 2, 3, 7, 1000):
        data = text.encode()
        assert list(frames(data[at : at + size] for at in range(0, len(data), size))) == expected


def test_a_lost_stream_is_taken_up_where_it_broke() -> None:
    asked: list[str | None] = []

    def pieces(number: int) -> Iterator[bytes]:
        yield f'event: execution\nid: {number}\ndata: {{"id": {number}}}\n\n'.encode()
        raise httpx.ReadError("connection reset")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 2:
            return httpx.Response(503, json={"code": "unavailable", "detail": "starting"})
        return httpx.Response(200, stream=_Pieces(pieces(len(asked))))

    events = answering(answer).stream_events()
    assert [next(events).data["id"] for _ in range(2)] == [1, 3]
    assert asked == [None, "1", "1"]


def test_a_wait_ends_at_its_time_also_while_a_proxy_says_503(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = client.get_execution(client.trigger_task(make(client, "sleep 30")).execution_id)
    now, streams = 1000.0, 0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: now)
    monkeypatch.setattr("zquant_flow.client.streams.time", clock)
    monkeypatch.setattr("zquant_flow.client.waiting.time", clock)

    def proxy(request: httpx.Request) -> httpx.Response:
        nonlocal streams
        if not request.url.path.endswith("/events/stream"):
            return httpx.Response(200, content=running.model_dump_json())
        streams += 1
        if streams == 1:
            return httpx.Response(200, content=b'event: hello\ndata: {"seq": 1}\n\n')
        return httpx.Response(503, json={"code": "unavailable", "detail": "later"})

    assert running.id is not None
    with pytest.raises(TimeoutError):
        answering(proxy).wait_for_execution(running.id, timeout=2.0)
    client.terminate_execution(running.id)
    assert now - 1000.0 == pytest.approx(2.0)


def test_a_stream_that_is_refused_is_not_asked_for_again() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(401, json={"code": "unauthorized", "detail": "no"})

    with pytest.raises(ApiError, match="no"):
        next(answering(answer).stream_events())
    assert len(asked) == 1


class _Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


# Finding it


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the traces of a server, and a place below it to stand in."""
    for name in ("SERVER_URL", "TOKEN", "DATA_DIR", "ADMIN_TOKEN"):
        monkeypatch.delenv(f"ZQUANT_FLOW_{name}", raising=False)
    (tmp_path / ".zquant-flow").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path / ".zquant-flow"


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked for its health, is well."""
    monkeypatch.setattr(
        "zquant_flow.client.calls.httpx.get",
        lambda url, **_: httpx.Response(200, request=httpx.Request("GET", url)),
    )


@pytest.mark.usefixtures("healthy")
def test_a_server_is_found_from_below_its_folder(project: Path) -> None:
    (project / "server.json").write_text('{"url": "http://127.0.0.1:12345"}')
    (project / "admin.token").write_text("secret\n")
    with Client.find() as found:
        assert (found.url, found._http.headers["Authorization"]) == (
            "http://127.0.0.1:12345",
            "Bearer secret",
        )
    with Client.find(project) as found:
        assert found.url == "http://127.0.0.1:12345"


def test_the_environment_names_server_and_token(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQUANT_FLOW_SERVER_URL", "https://flow.invalid/")
    monkeypatch.setenv("ZQUANT_FLOW_TOKEN", "abc")
    with Client.find() as found:
        assert (found.url, found._http.headers["Authorization"]) == ("https://flow.invalid", "Bearer abc")


def test_the_token_of_this_folder_is_told_to_no_other_machine(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "admin.token").write_text("secret\n")
    monkeypatch.setenv("ZQUANT_FLOW_SERVER_URL", "https://flow.invalid")
    with pytest.raises(BadRequest, match="ZQUANT_FLOW_TOKEN"):
        Client.find()


def test_without_a_server_the_error_says_how_to_start_one(project: Path) -> None:
    with pytest.raises(NoServer, match="zquant-flow serve"):
        Client.find()
    (project / "server.json").write_text('{"url": "http://127.0.0.1:9"}')
    with pytest.raises(NoServer, match=r"does not answer at http://127\.0\.0\.1:9"):
        Client.find(project)
    assert not (project / "admin.token").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_data_folder_of_somebody_else_is_passed_by(project: Path) -> None:
    (project / "server.json").write_text('{"url": "http://127.0.0.1:12345"}')
    os.chown(project, 12345, 12345)
    with pytest.raises(NoServer, match="no server runs"):
        Client.find()


def test_importing_the_client_loads_no_server() -> None:
    code = "import zquant_flow.client, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "fastapi",
        "starlette",
        "sqlalchemy",
        "uvicorn",
        "pydantic_settings",
        "yaml",
    }


def _until(condition: Callable[[], Any]) -> Any:
    from tests.api.conftest import until

    return until(condition)
