"""All ways in which a process can end are stored as they are, and no signal ever meets a process that only has its pid."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.runner.client import Client
from zquant_flow.runner.strays import inspect, is_alive, send

HARMLESS = {
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
"""Signals that end nobody who has not asked for them: ignored, or a stop."""


def test_every_exit_code_is_stored(client: Client) -> None:
    for code in range(256):
        client.start(code + 1, ["/bin/sh", "-c", f"exit {code}"])
    for code in range(256):
        outcome = client.wait(code + 1)
        assert (outcome["exit_code"], outcome["kind"]) == (code, "failed" if code else "success")


def test_every_signal_that_ends_a_process_is_stored(client: Client) -> None:
    numbers = sorted(signal.valid_signals() - HARMLESS)
    assert len(numbers) > 20
    for number in numbers:
        client.start(number, ["/bin/sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"])
    for number in numbers:
        outcome = client.wait(number)
        assert (outcome["kind"], outcome["signal"]) == ("failed", number), outcome


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="start times as /proc has them")
def test_a_signal_for_an_earlier_process_of_the_same_pid_meets_nobody(
    sleeper: subprocess.Popen[bytes],
) -> None:
    """SCORECARD E6: a pid is no name; with its start time it is one."""
    now = inspect(sleeper.pid)
    assert now is not None
    earlier = now._replace(start=now.start - 1)
    assert not is_alive(earlier)
    send(earlier, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.3)
    send(now, signal.SIGKILL)
    assert sleeper.wait(10) == -signal.SIGKILL
