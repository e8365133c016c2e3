"""The runner's life: who may speak to it, what outlives a client, what is kept for the next one."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner.client import Client, Runner
from tests.runner.waiting import is_running, pid_in, until


def test_an_attempt_outlives_its_client_and_the_next_gets_the_outcome(runner: Runner, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = runner.client()
    first.start(1, f"echo $$ > {tmp_path}/pid; until [ -e {gate} ]; do sleep 0.01; done")
    pid_in(tmp_path / "pid")
    first.close()
    second = runner.client()
    assert second.hello["attempts"] == [[1, 1]]
    gate.touch()
    assert second.wait(1)["kind"] == "success"
    second.close()


def test_outcomes_stay_until_they_are_acknowledged(runner: Runner) -> None:
    keeper = runner.client()
    keeper.start(9, ["sleep", "60"])
    keeper.run(1, ["true"])
    keeper.run(2, ["true"])
    keeper.send(op="ack", items=[[1, 1]])
    second = runner.client()
    assert [outcome["id"] for outcome in second.hello["outcomes"]] == [2]
    second.send(op="ack", items=[[2, 1]])
    second.send(op="terminate", id=9, attempt=1, kind="terminated")
    second.wait(9)
    second.close()
    keeper.close()


def test_only_the_newest_connection_is_obeyed(runner: Runner) -> None:
    old = runner.client()
    new = runner.client()
    with contextlib.suppress(OSError):
        old.start(1, ["true"])
    with pytest.raises((EOFError, OSError)):
        old.frame()
    assert new.run(2, ["true"])["kind"] == "success"
    assert (1, 1) not in new.outcomes
    old.close()
    new.close()


def test_what_is_known_is_not_started_again(client: Client, tmp_path: Path) -> None:
    for _ in range(3):
        client.start(1, f"echo x >> {tmp_path}/runs")
    client.wait(1)
    client.start(1, f"echo x >> {tmp_path}/runs")
    client.run(2, ["true"])
    assert (tmp_path / "runs").read_text() == "x\n"


def test_left_alone_it_spools_the_outcomes_and_ends(runner: Runner, tmp_path: Path) -> None:
    client = runner.client()
    client.start(1, "echo hello; exit 3")
    client.start(2, f"echo $$ > {tmp_path}/pid; sleep 0.2")
    pid_in(tmp_path / "pid")
    client.close()
    assert runner.process.wait(10) == 0
    lines = (tmp_path / "runner.outcomes").read_text().splitlines()
    outcomes = {outcome["id"]: outcome for outcome in map(json.loads, lines)}
    assert outcomes[1]["exit_code"] == 3
    assert outcomes[2]["kind"] == "success"
    assert not (tmp_path / "runner.sock").exists()


def test_it_ends_at_once_when_it_has_nothing_to_do(runner: Runner, bundle: Path) -> None:
    client = runner.client()
    config = {"module": "tasks_module", "function": "nothing", "folder": ""}
    client.run(1, executor="python", config=config, bundle=str(bundle))
    client.send(op="ack", items=[[1, 1]])
    client.close()
    assert runner.process.wait(10) == 0
    assert not (runner.data_dir / "runner.outcomes").exists()


def test_stop_ends_it_when_its_last_attempt_has(runner: Runner) -> None:
    client = runner.client()
    client.start(1, "sleep 0.2")
    client.send(op="stop")
    assert client.wait(1)["kind"] == "success"
    client.send(op="ack", items=[[1, 1]])
    assert runner.process.wait(10) == 0
    client.close()


def test_a_second_runner_of_the_folder_leaves(runner: Runner, client: Client) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "zquant_flow.runner", str(runner.data_dir)], capture_output=True, text=True
    )
    assert second.returncode == 0
    assert "another runner" in second.stderr
    assert client.run(1, ["true"])["kind"] == "success"


def test_sigterm_ends_the_attempts_as_a_shutdown(runner: Runner, client: Client, tmp_path: Path) -> None:
    client.start(1, f"echo $$ > {tmp_path}/pid; sleep 60")
    pid_in(tmp_path / "pid")
    runner.process.send_signal(signal.SIGTERM)
    assert client.wait(1)["kind"] == "shutdown"
    assert runner.process.wait(10) == 0


def test_another_protocol_version_is_told(runner: Runner, client: Client) -> None:
    stranger = Client(runner.data_dir, version=99)
    assert stranger.hello["error"] == "version"
    stranger.close()
    assert client.run(1, ["true"])["kind"] == "success"


def test_what_a_killed_runner_left_is_ended_by_the_next(runner: Runner, tmp_path: Path) -> None:
    client = runner.client()
    client.start(1, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    pid = pid_in(tmp_path / "pid")
    runner.kill()
    client.close()
    assert is_running(pid)
    follower = Runner(tmp_path)
    after = follower.client()
    until(lambda: not is_running(pid), what="the end of what was left")
    after.close()
    follower.end()


def test_garbage_costs_the_one_who_sent_it_the_connection(runner: Runner) -> None:
    bad = runner.client()
    bad.sock.sendall(b"[1, 2]\nnot json\n")
    with pytest.raises(EOFError):
        bad.frame()
    bad.close()


def test_unknown_and_broken_orders_cost_nobody_else_anything(client: Client) -> None:
    client.send(op="dance")
    client.start(1, executor="no_such", entry="no_such_module:Thing")
    assert client.wait(1)["kind"] == "failed"
    assert client.run(2, ["true"])["kind"] == "success"
