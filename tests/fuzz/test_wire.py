"""Clients that break off, dawdle or lie on the wire hurt nobody else."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e.serving import PREFIX, Server, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("wire")).start()
    made.client.post(
        "/tasks", {"name": "wire", "task_type": "manual_task", "config": {"command": "true"}}, 201
    )
    yield made
    made.stop()
    assert "Traceback" not in made.errors(), made.errors()


class Line:
    """A raw connection."""

    def __init__(self, server: Server) -> None:
        where = urlsplit(server.client.url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=10)
        self.token = server.client.http.headers["Authorization"]

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def head(self, method: str, path: str, *more: str) -> bytes:
        lines = [f"{method} {PREFIX}{path} HTTP/1.1", "Host: here", f"Authorization: {self.token}", *more]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """All that comes until the other side closes, or is silent."""
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := self.socket.recv(65536):
                found += piece
        return found

    def status(self) -> int:
        """The status of the answer; 0 where the connection was closed without one."""
        with contextlib.suppress(ConnectionResetError):
            line = self.socket.recv(65536).split(b"\r\n")[0]
            return int(line.split(b" ")[1]) if line else 0
        return 0

    def drop(self) -> None:
        """Away at once, with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()


BODY = json.dumps({"name": "half-sent", "task_type": "manual_task", "config": {"command": "true"}}).encode()


def is_well(server: Server) -> bool:
    started = time.monotonic()
    found = server.client.succeeded("wire")
    return found["status"] == "success" and time.monotonic() - started < 10


def test_a_body_that_is_half_sent_makes_nothing_and_holds_up_nobody(server: Server) -> None:
    lines = [Line(server) for _ in range(40)]
    for line in lines:
        kind = "Content-Type: application/json"
        line.send(line.head("POST", "/tasks", kind, f"Content-Length: {len(BODY)}") + BODY[:-5])
    assert is_well(server)
    for number, line in enumerate(lines):
        line.drop() if number % 2 else line.socket.close()
    assert is_well(server)
    assert server.client.find("half-sent") is None


def test_chunks_that_stop_in_the_middle_make_nothing(server: Server) -> None:
    line = Line(server)
    more = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    line.send(line.head("POST", "/tasks", *more) + b"%x\r\n" % len(BODY) + BODY + b"\r\n")
    assert is_well(server)
    line.drop()
    assert server.client.find("half-sent") is None


def test_headers_that_come_letter_by_letter_hold_up_nobody(server: Server) -> None:
    lines = [Line(server) for _ in range(100)]
    for letter in b"GET / HT":
        for line in lines:
            line.send(bytes([letter]))
    assert is_well(server)
    for line in lines:
        line.socket.close()


def test_an_answer_that_nobody_waits_for_is_dropped(server: Server) -> None:
    for _ in range(60):
        line = Line(server)
        line.send(line.head("GET", "/tasks?limit=1000"))
        line.drop()
    assert is_well(server)


def test_a_trigger_whose_sender_is_gone_happens_once_or_not_at_all(server: Server) -> None:
    task = server.client.post(
        "/tasks",
        {"name": "gone", "task_type": "manual_task", "overlap": "allow", "config": {"command": "true"}},
        201,
    )
    for _ in range(20):
        line = Line(server)
        line.send(line.head("POST", f"/tasks/{task['id']}/trigger", "Content-Length: 0"))
        line.drop()
    assert is_well(server)
    total = server.client.get(f"/tasks/{task['id']}/executions")["total"]
    assert 0 <= total <= 20


@pytest.mark.parametrize(
    "more",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: x",),
        ("Content-Length: 9999999999999999999999",),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip",),
        ("X: " + "a" * 200_000,),
        *[("A\x00B: 1",)],
        ("No colon",),
        (" folded: 1",),
        ("Expect: nonsense",),
    ],
    ids=lambda more: more[0][:24],
)
def test_heads_that_lie_are_refused_or_the_line_is_cut(server: Server, more: tuple[str, ...]) -> None:
    with Line(server) as line:
        with contextlib.suppress(OSError):
            line.send(line.head("POST", "/tasks", "Content-Type: application/json", *more))
            line.send(b"{}")
            line.socket.shutdown(socket.SHUT_WR)
        assert line.status() in (0, 400, 401, 413, 422, 431, 501)
    assert is_well(server)


@pytest.mark.parametrize(
    "text",
    [b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n", b"GET\r\n\r\n", b"\xff" * 5_000, b"GET / HTTP/9.9\r\n\r\n"],
)
def test_what_is_no_http_is_refused(server: Server, text: bytes) -> None:
    with Line(server) as line:
        with contextlib.suppress(OSError):
            line.send(text)
            line.socket.shutdown(socket.SHUT_WR)
        assert line.status() in (0, 400)
    assert is_well(server)


def test_what_follows_a_body_is_not_taken_as_part_of_it(server: Server) -> None:
    body = BODY.replace(b"half-sent", b"followed!")
    kind = "Content-Type: application/json"
    with Line(server) as line:
        line.send(
            line.head("POST", "/tasks", kind, f"Content-Length: {len(body)}") + body + b"GARBAGE\r\n\r\n"
        )
        line.socket.settimeout(2)
        found = line.answer()
    assert found.startswith(b"HTTP/1.1 201")
    assert server.client.find("followed!") is not None


def test_readers_that_go_leave_no_connection_and_no_file_behind(server: Server) -> None:
    [process] = [item for item in psutil.process_iter() if item.is_running() and _serves(item, server)]
    before = process.num_fds()
    lines = [Line(server) for _ in range(50)]
    for line in lines:
        line.send(line.head("GET", "/events/stream"))
    for line in lines:
        assert line.status() == 200
        line.drop()
    until(lambda: process.num_fds() <= before + 5, "the end of the streams' connections")
    assert is_well(server)


def _serves(process: psutil.Process, server: Server) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "serve" in words and str(server.data) in words
