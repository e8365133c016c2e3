"""A server that is asked to go while attempts run: SIGTERM, Ctrl-C once and twice; and one whose terminal goes, and that stays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.serving import Server, drop, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SLACK = 15.0
"""Seconds beyond the grace: five are promised, and the machine may be busy."""


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], Server]]:
    """A server with this grace in seconds, in whose folder an attempt runs that would never end."""
    made: list[Server] = []

    def start(grace: float) -> Server:
        (tmp_path / "zquant-flow.toml").write_text(f"shutdown_grace = {grace}\n")
        server = Server(tmp_path)
        made.append(server)
        server.start()
        drop(server.tasks / "long.yaml", "name: long\ncommand: [sh, -c, 'touch began; exec sleep 600']\n")
        until(lambda: server.client.find("long"), "the task in the list")
        server.client.trigger("long")
        until((server.tasks / "began").exists, "an attempt that runs")
        return server

    yield start
    for server in made:
        server.stop()


def ended(server: Server, *signals: int) -> float:
    """Send these; the seconds until it has gone, with all that it had started."""
    assert server._process is not None
    process, begin = server._process, time.monotonic()
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(0.2)  # two of one kind would join
    code = process.wait(60)
    took = time.monotonic() - begin
    server._release()
    assert code == 0, server.errors()
    until(lambda: not server.processes(), "the end of all that it had started")
    return took


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_what_runs_after_the_grace_and_says_why(
    serving: Callable[[float], Server], number: int
) -> None:
    server = serving(1.0)
    assert ended(server, number) < 1.0 + SLACK
    assert "Traceback" not in server.errors()
    server.start()
    [found] = server.client.get("/executions", q="long")["executions"]
    assert found["status"] == "terminated"
    [attempt] = server.client.execution(found["id"])["attempts"]
    assert attempt["outcome"] == "shutdown"


def test_a_second_ctrl_c_does_not_wait_for_the_grace(serving: Callable[[float], Server]) -> None:
    server = serving(600.0)
    assert ended(server, signal.SIGINT, signal.SIGINT) < SLACK


def test_a_terminal_that_goes_takes_nothing_along(serving: Callable[[float], Server]) -> None:
    server = serving(0.0)
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGHUP)
    drop(server.tasks / "after.yaml", 'name: after\ncommand: "true"\n')
    until(lambda: server.client.find("after"), "a file that is read afterwards")
    assert server.client.succeeded("after")["status"] == "success"
    [found] = server.client.get("/executions", q="long")["executions"]
    assert found["status"] == "running"
