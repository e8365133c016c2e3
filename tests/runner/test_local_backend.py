"""The engine's side: reaching a runner, leaving it, losing it."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zquant_flow.backends.local import LocalBackend
from zquant_flow.errors import RunnerUnavailable

PATIENCE = 15.0


class Engine:
    """A backend and the frames that came."""

    def __init__(self, data_dir: Path) -> None:
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.lost = threading.Event()
        self.backend = LocalBackend(data_dir, self.frames.put, self.lost.set)
        self.data_dir = data_dir

    def start(self, number: int, command: Any) -> None:
        log = str(self.data_dir / f"{number}.log")
        order = {
            "id": number,
            "attempt": 1,
            "executor": "command",
            "config": {"command": command},
            "log": log,
        }
        self.backend.start_attempts([order])

    def outcome(self) -> dict[str, Any]:
        while True:
            frame = self.frames.get(timeout=PATIENCE)
            if frame["op"] == "outcomes":
                return frame["items"][0]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.backend.stop()


def test_a_runner_is_started_and_carries_attempts(engine: Engine) -> None:
    hello = engine.backend.start()
    assert (hello["attempts"], hello["outcomes"]) == ([], [])
    engine.start(1, ["true"])
    assert engine.outcome()["kind"] == "success"
    engine.backend.start_attempts([], [[1, 1]])


def test_a_long_data_folder_works(tmp_path: Path) -> None:
    engine = Engine(tmp_path / ("x" * 60) / ("y" * 60))
    engine.backend.start()
    engine.start(1, ["true"])
    assert engine.outcome()["kind"] == "success"
    engine.backend.stop()


def test_another_engine_attaches_to_the_runner_that_was_left(engine: Engine, tmp_path: Path) -> None:
    pid = engine.backend.start()["pid"]
    gate = tmp_path / "gate"
    engine.start(1, f"until [ -e {gate} ]; do sleep 0.01; done")
    engine.start(2, ["true"])
    assert engine.outcome()["id"] == 2
    engine.backend.stop(keep_attempts=True)
    follower = Engine(tmp_path)
    hello = follower.backend.start()
    assert (hello["pid"], hello["attempts"]) == (pid, [[1, 1]])
    assert [outcome["id"] for outcome in hello["outcomes"]] == [2]
    gate.touch()
    assert follower.outcome()["kind"] == "success"
    follower.backend.start_attempts([], [[1, 1], [2, 1]])
    follower.backend.stop()


def test_spooled_outcomes_come_with_the_hello_until_they_are_forgotten(
    engine: Engine, tmp_path: Path
) -> None:
    spool = tmp_path / "runner.outcomes"
    spool.write_text(json.dumps({"id": 7, "attempt": 1, "kind": "success"}) + '\n{"id": 8, "att')
    assert [outcome["id"] for outcome in engine.backend.start()["outcomes"]] == [7]
    assert spool.exists()
    engine.backend.forget_spool()
    assert not spool.exists()
    engine.backend.forget_spool()


def test_a_killed_runner_is_noticed_and_can_be_started_anew(engine: Engine) -> None:
    pid = engine.backend.start()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert engine.lost.wait(PATIENCE)
    with pytest.raises(RunnerUnavailable):
        engine.start(1, ["true"])
    assert engine.backend.start()["pid"] != pid
    engine.start(1, ["true"])
    assert engine.outcome()["kind"] == "success"


def test_stop_comes_before_start_and_twice_without_harm(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.backend.stop()
    engine.backend.start()
    engine.backend.stop()
    engine.backend.stop()
    assert not engine.lost.is_set()
    with pytest.raises(RunnerUnavailable):
        engine.start(1, ["true"])


def test_terminate_pause_and_resume_reach_the_attempt(engine: Engine) -> None:
    engine.backend.start()
    engine.start(1, ["sleep", "60"])
    engine.backend.pause(1, 1)
    assert engine.frames.get(timeout=PATIENCE) == {"op": "paused", "items": [[1, 1]]}
    engine.backend.resume(1, 1)
    assert engine.frames.get(timeout=PATIENCE) == {"op": "resumed", "items": [[1, 1]]}
    engine.backend.terminate(1, 1, "shutdown", grace=1.0)
    assert engine.outcome()["kind"] == "shutdown"
