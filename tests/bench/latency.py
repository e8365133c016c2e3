"""How long does one wait? For a due instant, for a trigger, for the server itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from tests.bench.harness import (
    Figure,
    bench,
    cpu_seconds,
    median,
    percentile,
    pss_megabytes,
    scratch,
    server,
    until,
)

_NOOP = """
from zquant_flow import task

@task(isolation="thread")
def noop():
    pass
"""


def _lags(client: httpx.Client, skip_first: int = 0) -> list[float]:
    """Milliseconds from the logical time to the start of the attempt, of all scheduled executions."""
    page = client.get("/executions", params={"limit": 1000}).json()["executions"]
    lags = []
    for item in reversed(page):
        attempts = client.get(f"/executions/{item['id']}", params={"include": "attempts"}).json()["attempts"]
        lags.append(1000 * (_seconds(attempts[0]["start_time"]) - _seconds(item["logical_time"])))
    return lags[skip_first:]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@bench
def fire_lag() -> Sequence[Figure]:
    with scratch() as folder:
        (folder / "tasks" / "tick.py").write_text(
            _NOOP.replace("@task(", "@task(interval=1, misfire_grace_time=5, ")
        )
        with server(folder) as made, made.client() as client:
            until(lambda: _ended(client) >= 42, seconds=60, pause=0.2)
            lags = _lags(client, skip_first=2)
    return [
        Figure("fire time to start of the attempt, p99", percentile(lags, 0.99), "ms", 15),
        Figure("fire time to start of the attempt, earliest", min(lags), "ms", 0, True),
    ]


def _ended(client: httpx.Client) -> int:
    return int(client.get("/executions", params={"status": "success", "limit": 1}).json()["total"])


@bench
def thousand_at_once() -> Sequence[Figure]:
    with scratch() as folder:
        (folder / "tasks" / "noop.py").write_text("def noop():\n    pass\n")
        at = int(time.time()) + 8
        when = datetime.fromtimestamp(at).astimezone().isoformat()
        text = "\n---\n".join(
            f'name: t{number}\nrun_at: "{when}"\npython: noop:noop\nisolation: thread'
            for number in range(1000)
        )
        (folder / "tasks" / "all.yaml").write_text(text)
        with server(folder, "--threads", "64") as made, made.client() as client:
            until(lambda: _ended(client) >= 1000, seconds=60, pause=0.2)
            lags = _lags(client)
    return [
        Figure("1,000 tasks due in one second, the last starts after", max(lags) / 1000, "s", 0.5),
        Figure("1,000 tasks due in one second, earliest", min(lags), "ms", 0, True),
    ]


@bench
def trigger() -> Sequence[Figure]:
    with scratch() as folder:
        (folder / "tasks" / "noop.py").write_text(_NOOP)
        with server(folder) as made, made.client() as client:
            task = client.get("/tasks").json()["tasks"][0]["id"]
            milliseconds = []
            for _ in range(110):
                begin = time.time()
                execution = client.post(f"/tasks/{task}/trigger").json()["execution_id"]
                found = until(lambda execution=execution: _first_attempt(client, execution))
                milliseconds.append(1000 * (_seconds(found["start_time"]) - begin))
            milliseconds = milliseconds[10:]
    return [
        Figure("REST trigger until the attempt runs, p50", median(milliseconds), "ms", 8),
        Figure("REST trigger until the attempt runs, p95", percentile(milliseconds, 0.95), "ms", 20),
    ]


def _first_attempt(client: httpx.Client, execution: int) -> Any:
    found = client.get(f"/executions/{execution}", params={"include": "attempts"}).json()
    return found["attempts"][0] if found["status"] == "success" else None


@bench
def idle() -> Sequence[Figure]:
    ready = []
    for _ in range(5):
        with scratch() as folder:
            (folder / "tasks" / "a.yaml").write_text('name: a\ncron: "0 18 * * *"\ncommand: echo\n')
            with server(folder) as made:
                ready.append(made.seconds_to_ready)
    with scratch() as folder:
        (folder / "tasks" / "a.yaml").write_text('name: a\ncron: "0 18 * * *"\ncommand: echo\n')
        (folder / "tasks" / "b.py").write_text(_NOOP)
        with server(folder) as made:
            time.sleep(3)
            pids = made.processes()
            before = cpu_seconds(pids)
            time.sleep(20)
            share = 100 * (cpu_seconds(pids) - before) / 20
            memory = pss_megabytes(pids)
    return [
        Figure("serve until ready", median(ready), "s", 1.0),
        Figure("memory of all processes, idle (PSS)", memory, "MB", 140),
        Figure("processor of all processes, idle", share, "%", 0.3),
    ]
