"""A server that stops answers what it took, refuses the rest with 503, and forgets nothing that it promised."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.serving import PREFIX, Server, until
from tests.fuzz.sender import BODIES
from tests.fuzz.test_wire import Line
from tests.fuzz.world import AUTHORIZED, world

CLIENTS = 8
STREAMS = 4
SECONDS = 8.0
"""A stop with streams and clients takes no longer."""


class Crowd:
    """Clients that trigger as fast as they can, and note every answer."""

    def __init__(self, server: Server, task_id: int) -> None:
        self.url = server.client.url + PREFIX
        self.headers = {"Authorization": server.client.http.headers["Authorization"]}
        self.task_id = task_id
        self.lock = threading.Lock()
        self.promised: list[int] = []
        self.refused: list[httpx.Response] = []
        self.odd: list[str] = []
        self.unreachable = 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._press) for _ in range(CLIENTS)]

    def _press(self) -> None:
        client = httpx.Client(base_url=self.url, headers=self.headers, timeout=20, trust_env=False)
        with client:
            while not self.over.is_set():
                try:
                    answer = client.post(f"/tasks/{self.task_id}/trigger")
                except httpx.TransportError:
                    self.unreachable += 1
                    return
                with self.lock:
                    self._note(answer)

    def _note(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            self.promised.append(answer.json()["execution_id"])
        elif answer.status_code == 503:
            self.refused.append(answer)
        else:
            self.odd.append(f"{answer.status_code} {answer.text}")


class Listener:
    """A reader of a stream; how it ended, and what it heard."""

    def __init__(self, crowd: Crowd, path: str) -> None:
        self.crowd, self.path = crowd, path
        self.heard, self.ended, self.fault = b"", threading.Event(), ""
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        try:
            with httpx.stream(
                "GET", self.crowd.url + self.path, headers=self.crowd.headers, timeout=30, trust_env=False
            ) as answer:
                for piece in answer.iter_raw():
                    self.heard += piece
                    self.begun.set()
        except httpx.TransportError as exc:
            self.fault = repr(exc)
        self.ended.set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "zquant-flow.toml").write_text("shutdown_grace = 1.0\n")
    made = Server(tmp_path).start()
    yield made
    with contextlib.suppress(Exception):
        made.stop()


def executions_in(server: Server) -> set[int]:
    with sqlite3.connect(next(server.data.glob("*.db*"))) as database:
        return {row[0] for row in database.execute("SELECT id FROM executions")}


def test_a_stop_under_load_keeps_every_promise(server: Server) -> None:
    body = {"name": "pressed", "task_type": "manual_task", "overlap": "allow", "config": {"command": "true"}}
    task_id = server.client.post("/tasks", body, 201)["id"]
    long = {"name": "long", "task_type": "manual_task", "config": {"command": "sleep 60"}}
    waits = server.client.post("/tasks", long, 201)["id"]
    running = server.client.post(f"/tasks/{waits}/trigger")["execution_id"]
    crowd = Crowd(server, task_id)
    listeners = [Listener(crowd, "/events/stream") for _ in range(STREAMS)]
    listeners.append(Listener(crowd, f"/executions/{running}/log/stream"))
    for thread in [*(item.thread for item in listeners), *crowd.threads]:
        thread.start()
    half = Line(server)
    half.send(half.head("POST", "/tasks", "Content-Type: application/json", "Content-Length: 9") + b"{")
    until(lambda: all(item.begun.is_set() for item in listeners[:STREAMS]), "the beginning of all streams")
    until(lambda: len(crowd.promised) > 100, "a crowd that triggers")

    began = time.monotonic()
    assert server.stop() == 0
    took = time.monotonic() - began
    with half:
        assert half.status() == 503
    crowd.over.set()
    for thread in [*crowd.threads, *(item.thread for item in listeners)]:
        thread.join(20)
        assert not thread.is_alive()

    assert crowd.odd == []
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in crowd.refused)
    assert all(answer.json()["code"] for answer in crowd.refused)
    missing = set(crowd.promised) - executions_in(server)
    assert not missing, f"{len(missing)} of {len(crowd.promised)} promised executions are not there"
    assert len(crowd.promised) == len(set(crowd.promised))
    assert [item.fault for item in listeners] == [""] * len(listeners)
    assert took < SECONDS, f"the stop took {took:.1f} s"
    assert "Traceback" not in server.errors(), server.errors()[-3000:]


def test_what_was_promised_before_a_stop_is_finished_after_the_next_start(server: Server) -> None:
    body = {"name": "pressed", "task_type": "manual_task", "overlap": "allow", "config": {"command": "true"}}
    task_id = server.client.post("/tasks", body, 201)["id"]
    crowd = Crowd(server, task_id)
    for thread in crowd.threads:
        thread.start()
    until(lambda: len(crowd.promised) > 50, "a crowd that triggers")
    server.stop()
    for thread in crowd.threads:
        thread.join(20)
    server.start()
    until(lambda: not _open(server, task_id), "the end of what was promised", 30)
    found = _statuses(server, task_id)
    assert all(found[number] == "success" for number in crowd.promised)


SWITCHES = [("POST", f"/tasks/{{id}}/{action}") for action in ("enable", "disable", "pause", "resume")]
CHANGES = [
    *(item for item in BODIES if not item[1].endswith("validate") and item[1] != "/tokens"),
    *SWITCHES,
    *(("POST", f"/executions/1/{action}") for action in ("terminate", "pause", "resume")),
    ("DELETE", "/tasks/{id}"),
]


def test_an_engine_that_answers_no_more_is_503_for_every_change_and_the_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as made:
        task_id = made.pairs[1][0]
        files = {path: path.read_bytes() for path in (tmp_path / "tasks").iterdir()}
        made.scheduler.stop()
        soon = functools.partial(made.scheduler.engine.call, timeout=0.05)
        monkeypatch.setattr(made.scheduler.operations, "_call", soon)
        for method, path in CHANGES:
            body = BODIES[method, path]() if (method, path) in BODIES else None
            url = PREFIX + path.format(id=task_id)
            answer = made.client.request(method, url, json=body, headers=AUTHORIZED)
            assert answer.status_code == 503, (method, path, answer.text)
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["code"] == "unavailable"
            if method != "DELETE":  # tests/fuzz/test_found.py
                assert {path: path.read_bytes() for path in (tmp_path / "tasks").iterdir()} == files
        assert made.client.get("/readyz").status_code == 503


def _open(server: Server, task_id: int) -> int:
    found = server.client.get(f"/tasks/{task_id}/executions", status=["pending", "running"], limit=1)
    return int(found["total"])


def _statuses(server: Server, task_id: int) -> dict[int, str]:
    found: dict[int, str] = {}
    cursor = ""
    while True:
        page = server.client.get(f"/tasks/{task_id}/executions", limit=1000, cursor=cursor)
        found |= {item["id"]: item["status"] for item in page["executions"]}
        if not (cursor := page["next_cursor"]):
            return found
