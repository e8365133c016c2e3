"""How fast does the control plane answer? A real server, clients on bare sockets so that they cost little themselves."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import seeded
from tests.bench.harness import (
    Figure,
    Server,
    bench,
    median,
    percentile,
    pss_megabytes,
    scratch,
    server,
    until,
)
from zquant_flow.store.database import Database

PREFIX = "/api/v1/scheduler"


class Wire:
    """One connection that is kept open."""

    def __init__(self, made: Server) -> None:
        address = urlsplit(made.url)
        self._token = made.token
        self.socket = socket.create_connection((address.hostname, address.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        self.send(method, path, body, headers)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, data = data.partition(b"\r\n\r\n")
        status = int(head[9:12])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if fields.get(b"transfer-encoding") == b"chunked":
            pieces = [data]
            while not pieces[-1].endswith(b"0\r\n\r\n"):
                pieces.append(self._more())
            return status, b"".join(pieces)
        size = int(fields.get(b"content-length", b"0"))
        while len(data) < size:
            data += self._more()
        return status, data

    def send(self, method: str, path: str, body: bytes = b"", headers: str = "") -> None:
        head = (
            f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def wire(made: Server) -> Iterator[Wire]:
    opened = Wire(made)
    try:
        yield opened
    finally:
        opened.close()


FILTERS = [
    "/executions",
    "/executions?status=failed",
    "/executions?status=failed&status=terminated",
    "/executions?status=running",
    "/executions?trigger_type=backfill",
    "/executions?task_id=1".replace("?task_id=1", "?q=task-7777"),
    "/tasks/1/executions",
    "/tasks/1/executions?status=failed",
    "/tasks/77/executions",
    "/tasks/77/executions?status=terminated",
    "/executions?since={day}",
    "/executions?since={month}&status=failed",
    "/executions?since={month}&until={day}",
    "/tasks/1/executions?since={month}",
    "/executions?tag=g7",
    "/executions?tag=g7&status=failed",
    "/executions?source=group-3&since={month}",
    "/executions?skip=1000",
    "/executions?skip=999000",
    "/tasks",
    "/tasks?q=77",
    "/tasks?tag=g7",
    "/tasks?status=failed",
    "/tasks?order_by=next_run_time",
    "/tasks?order_by=latest_execution_time&order=desc",
    "/tasks?source=group-3",
    "/tasks?skip=5000",
]


@bench
def listings() -> Sequence[Figure]:
    """Every filter of the lists, pages of 100, over 10,000 tasks and a million executions; while 20 triggers a second write."""
    with scratch() as folder:
        _seed(folder, tasks=10_000, executions=1_000_000)
        (folder / "tasks" / "ping.yaml").write_text('name: ping\noverlap: allow\ncommand: "true"\n')
        with server(folder) as made, wire(made) as client:
            _wait_for(made, "ping")
            now = time.time()
            spans = {"day": _instant(now - 86400), "month": _instant(now - 30 * 86400)}
            quiet = _measured(client, spans)
            with _writing(made):
                busy = _measured(client, spans)
    return [
        Figure("lists of 100 with filters, 1,000,000 executions, p50", median(quiet) * 1e3, "ms", 20),
        Figure("the same, p95", percentile(quiet, 0.95) * 1e3, "ms", 20),
        Figure("the same while others write, p95", percentile(busy, 0.95) * 1e3, "ms", 30),
    ]


def _measured(client: Wire, spans: dict[str, str]) -> list[float]:
    found = []
    for _ in range(8):
        for path in FILTERS:
            begin = time.perf_counter()
            status, data = client.request("GET", path.format(**spans))
            found.append(time.perf_counter() - begin)
            assert status == 200, data[:300]
    return found


@contextlib.contextmanager
def _writing(made: Server) -> Iterator[None]:
    over = threading.Event()

    def write() -> None:
        task_id = made.client().get("/tasks", params={"name": "ping"}).json()["tasks"][0]["id"]
        with wire(made) as client:
            while not over.wait(0.05):
                client.request("POST", f"/tasks/{task_id}/trigger", b"{}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@bench
def trigger_rate() -> Sequence[Figure]:
    """16 clients trigger one task as fast as they get answers; its attempts wait for a slot, so that only the trigger is measured."""
    with scratch() as folder:
        (folder / "tasks" / "many.yaml").write_text('name: many\noverlap: allow\ncommand: "sleep 60"\n')
        with server(folder, "--threads", "1") as made:
            task_id = _wait_for(made, "many")
            _triggered(made, task_id, clients=4, each=50)
            seconds, times = _triggered(made, task_id, clients=16, each=250)
            made.client().post(f"/tasks/{task_id}/pause")
    return [
        Figure(
            "triggers by 16 clients over HTTP, each committed", len(times) / seconds, "/s", 800, least=True
        ),
        Figure("the same, p50", median(times) * 1e3, "ms", 40),
        Figure("the same, p95", percentile(times, 0.95) * 1e3, "ms", 40),
    ]


def _triggered(made: Server, task_id: int, *, clients: int, each: int) -> tuple[float, list[float]]:
    times: list[float] = []
    ready = threading.Barrier(clients + 1)

    def run() -> None:
        with wire(made) as client:
            own = []
            ready.wait()
            for _ in range(each):
                begin = time.perf_counter()
                status, data = client.request("POST", f"/tasks/{task_id}/trigger", b"{}")
                own.append(time.perf_counter() - begin)
                assert status == 200, data
            times.extend(own)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, times


@bench
def long_log() -> Sequence[Figure]:
    """The last 100 lines of a log of 100 MB, and all of it, read from a server whose memory is watched."""
    with scratch() as folder:
        (folder / "tasks" / "talk.yaml").write_text("name: talk\ncommand: echo done\n")
        with server(folder) as made, wire(made) as client:
            task_id = _wait_for(made, "talk")
            execution_id = json.loads(client.request("POST", f"/tasks/{task_id}/trigger", b"{}")[1])[
                "execution_id"
            ]
            path = folder / "data" / "logs" / "0" / f"{execution_id}-1.log"
            until(path.exists)
            line = b"2026-01-01 00:00:00 INFO a line of a very long log, number %09d, and some more text\n"
            path.write_bytes(b"".join(line % number for number in range(100_000_000 // len(line % 0))))
            before = pss_megabytes([made.process.pid])
            times = []
            for _ in range(20):
                begin = time.perf_counter()
                status, data = client.request("GET", f"/executions/{execution_id}/log?tail=100")
                times.append(time.perf_counter() - begin)
                assert status == 200
            begin = time.perf_counter()
            status, data = client.request("GET", f"/executions/{execution_id}/log")
            whole = time.perf_counter() - begin
            assert len(data) > 99_000_000
            after = pss_megabytes([made.process.pid])
    return [
        Figure("last 100 lines of a log of 100 MB", median(times) * 1e3, "ms", 10),
        Figure("all of it", whole, "s", 3),
        Figure("memory that this has cost the server", max(0.0, after - before), "MB", 10),
    ]


@bench
def event_streams() -> Sequence[Figure]:
    """500 event streams at once: what they cost the server, and when the last of them hears of a trigger."""
    with scratch() as folder:
        (folder / "tasks" / "ping.yaml").write_text('name: ping\noverlap: allow\ncommand: "true"\n')
        with server(folder) as made:
            task_id = _wait_for(made, "ping")
            with wire(made) as client:
                client.request("POST", f"/tasks/{task_id}/trigger", b"{}")
                before = pss_megabytes([made.process.pid])
                streams = [Wire(made) for _ in range(500)]
                for stream in streams:
                    stream.send("GET", "/events/stream")
                for stream in streams:
                    _hear(stream, b"event: hello")
                during = pss_megabytes([made.process.pid])
                delays = []
                for _ in range(5):
                    _, data = client.request("POST", f"/tasks/{task_id}/trigger", b"{}")
                    begin = time.perf_counter()
                    wanted = b'"id":%d,' % json.loads(data)["execution_id"]
                    for stream in streams:
                        _hear(stream, wanted)
                    delays.append(time.perf_counter() - begin)
                for stream in streams:
                    stream.close()
    return [
        Figure("memory of 500 event streams", during - before, "MB", 100),
        Figure("from the answer of a trigger until the last stream has it", median(delays) * 1e3, "ms", 300),
    ]


def _hear(stream: Wire, wanted: bytes) -> None:
    heard = b""
    while wanted not in heard:
        data = stream.socket.recv(65536)
        assert data
        heard = heard[-4096:] + data


def _seed(folder: Path, *, tasks: int, executions: int) -> None:
    seeded.write_tasks(folder / "tasks", tasks)
    with server(folder):
        pass  # registers the files
    database = Database(f"sqlite:///{folder / 'data' / 'zquant-flow.db'}")
    database.open()
    seeded.seed_executions(database, executions, of_tasks=tasks)
    database.close()


def _wait_for(made: Server, name: str) -> int:
    with made.client() as client:
        found = until(lambda: client.get("/tasks", params={"name": name}).json()["tasks"])
    return int(found[0]["id"])


def _instant(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
