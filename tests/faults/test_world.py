"""The world around it misbehaves: clocks jump, processes are stopped, logs vanish, whole folders are replaced."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.e2e.conftest import start_server  # noqa: F401  (fixture)
from tests.e2e.serving import drop, until
from zquant_flow.core.model import Catchup, Overlap, Rule, Schedule
from zquant_flow.testing import Harness, command_task

HOUR, DAY = 3600, 86400
MICRO = 1_000_000


def fired(h: Harness, task_id: int) -> list[int]:
    with h.database.read() as connection:
        return list(
            connection.execute(
                text("SELECT logical_time FROM fires WHERE outcome = 'fired' AND task_id = :id ORDER BY id"),
                {"id": task_id},
            ).scalars()
        )


def uncovered(h: Harness, task_id: int, start: int, end: int) -> list[int]:
    """The whole minutes of (start, end] that no entry of the ledger covers."""
    with h.database.read() as connection:
        spans = connection.execute(
            text("SELECT logical_time, until FROM fires WHERE task_id = :id"), {"id": task_id}
        ).all()
    first = (start // (60 * MICRO) + 1) * 60 * MICRO
    return [
        moment
        for moment in range(first, end + 1, 60 * MICRO)
        if not any(from_ <= moment <= to for from_, to in spans)
    ]


# ── clocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seconds", [HOUR, DAY, 10 * 365 * DAY], ids=["an hour", "a day", "ten years"])
@pytest.mark.parametrize(
    ("catchup", "most"),
    [(Catchup.NONE, 6), (Catchup.LATEST, 6), (Catchup.ALL, 106)],
    ids=["none", "latest", "all"],
)
def test_a_clock_that_jumps_forward_brings_no_storm_and_leaves_no_gap(
    tmp_path: Path, seconds: int, catchup: Catchup, most: int
) -> None:
    """Five minutes are on time (`misfire_grace_time`); of the rest the policy says what is caught up."""
    schedule = Schedule(rules=(Rule(cron="* * * * *"),), catchup=catchup)
    with Harness(tmp_path) as h:
        [task_id] = h.define(command_task("one", schedule=schedule, overlap=Overlap.ALLOW))
        begin = h.clock.micros()
        h.tick(60)
        h.clock.step(seconds)
        h.tick(0)
        after = fired(h, task_id)
        assert len(set(after)) == len(after) <= 1 + most
        h.tick(60)
        assert len(fired(h, task_id)) == len(after) + 1
        assert uncovered(h, task_id, begin, h.clock.micros()) == [] if seconds <= DAY else True


@pytest.mark.parametrize("seconds", [HOUR, DAY], ids=["an hour", "a day"])
def test_a_clock_that_jumps_back_fires_nothing_twice_and_what_is_due_when_it_comes(
    tmp_path: Path, seconds: int
) -> None:
    schedule = Schedule(rules=(Rule(cron="*/10 * * * *"),))
    with Harness(tmp_path) as h:
        [task_id] = h.define(command_task("one", schedule=schedule, overlap=Overlap.ALLOW))
        for _ in range(12):
            h.tick(600)
        before = fired(h, task_id)
        h.clock.step(-seconds)
        h.tick(0)
        for _ in range(seconds // 600 + 3):
            h.tick(600)
        after = fired(h, task_id)
        assert len(set(after)) == len(after)
        assert set(before) < set(after)
        earliest, latest = min(before) - seconds * MICRO, max(after)
        assert latest > max(before)
        assert sorted(after) == list(range(max(min(after), earliest), latest + 1, 600 * MICRO))


def test_timeouts_and_durations_do_not_follow_the_wall_clock(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        [task_id] = h.define(command_task("one"))
        execution = h.operations.trigger(task_id, actor="me")
        h.clock.step(DAY)
        h.tick(7)
        h.end(execution)
        with h.database.read() as connection:
            seconds = connection.execute(
                text("SELECT duration_seconds FROM executions WHERE id = :id"), {"id": execution}
            ).scalar_one()
        assert seconds == pytest.approx(7)


# ── processes and files, for real ───────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_is_stopped_for_a_while_fires_each_instant_once(start_server) -> None:  # noqa: F811
    server = start_server()
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    task = until(lambda: server.client.find("tick"), "the task in the list")
    path = f"/tasks/{task['id']}/fires"
    until(lambda: server.client.get(path)["fires"], "the first fire")
    os.kill(server._process.pid, signal.SIGSTOP)
    stopped = psutil.Process(server._process.pid)
    until(lambda: stopped.status() == psutil.STATUS_STOPPED, "the stop")
    begin = time.monotonic()
    until(lambda: time.monotonic() - begin > 2.5, "two instants to pass")
    os.kill(server._process.pid, signal.SIGCONT)
    until(lambda: len(server.client.get(path)["fires"]) >= 5, "five fires")
    moments = [fire["logical_time"] for fire in server.client.get(path)["fires"]]
    assert len(set(moments)) == len(moments)
    seconds = [int(moment[17:19]) for moment in moments]
    assert [(later - earlier) % 60 for earlier, later in pairwise(seconds)] == [1] * (len(seconds) - 1)


def test_a_log_that_is_deleted_under_its_attempt_costs_lines_and_nothing_else(start_server) -> None:  # noqa: F811
    server = start_server()
    script = "echo before; touch began; until [ -e go ]; do sleep 0.02; done; echo after"
    drop(server.tasks / "talk.yaml", f'name: talk\ncommand: "{script}"\n')
    until(lambda: server.client.find("talk"), "the task in the list")
    running = server.client.trigger("talk")
    until((server.tasks / "began").exists, "the first line")
    for path in (server.data / "logs").rglob("*.log"):
        path.unlink()
    (server.tasks / "go").touch()
    assert server.client.ended(running)["status"] == "success"
    assert server.client.log(running) in ("", "after\n")


def test_a_worker_that_is_killed_from_outside_fails_its_attempt_with_that_reason(start_server) -> None:  # noqa: F811
    """What the system's OOM killer does: SIGKILL, from nobody we know."""
    server = start_server()
    drop(
        server.tasks / "eat.py",
        "import os, signal\nfrom zquant_flow import task\n\n@task\ndef eat():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n\n@task\ndef well():\n    return 1\n",
    )
    until(lambda: server.client.find("eat"), "the task in the list")
    found = server.client.ended(server.client.trigger("eat"))
    assert found["status"] == "failed"
    assert "SIGKILL" in found["error_message"]
    assert "memory" in found["error_message"]
    assert server.client.succeeded("well")["result"] == 1


def test_a_tasks_folder_that_vanishes_archives_nothing_and_is_told(start_server) -> None:  # noqa: F811
    server = start_server()
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    task = until(lambda: server.client.find("tick"), "the task in the list")
    hidden = server.tasks.with_name("hidden")
    server.tasks.rename(hidden)
    path = f"/tasks/{task['id']}/fires"
    before = len(server.client.get(path)["fires"])
    until(lambda: len(server.client.get(path)["fires"]) >= before + 2, "fires that go on")
    assert server.client.find("tick") is not None
    ready = server.client.http.get(server.client.url + "/readyz").json()
    assert ready["status"] == "degraded"
    hidden.rename(server.tasks)
    until(
        lambda: server.client.http.get(server.client.url + "/readyz").json()["status"] == "ok",
        "the folder again",
    )
