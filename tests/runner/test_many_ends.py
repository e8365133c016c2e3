"""Hundreds of trees of processes that are ended, whatever they do against it: none is left, and each is told as what it was."""

from __future__ import annotations

import os
from pathlib import Path

from tests.runner.client import Client, Runner
from tests.runner.waiting import is_running, until, zombies_of

TREES = int(os.environ.get("ZQUANT_FLOW_TEST_TREES", "40"))
"""SCORECARD E2 has 1,000."""

SHAPES = (
    "sh -c 'echo $$ >> PIDS; sleep 600' & sleep 600 & wait",
    "trap '' TERM; sh -c \"trap '' TERM; echo \\$\\$ >> PIDS; while :; do sleep 1; done\" & while :; do sleep 1; done",
    "setsid sh -c 'echo $$ >> PIDS; sleep 600' & sleep 600",
    "(setsid sh -c 'sh -c \"echo \\$\\$ >> PIDS; sleep 600\" & exec sleep 600' &); sleep 600",
    "sleep 600 & echo $! >> PIDS; kill -STOP $$; sleep 600",
)


def test_trees_that_resist_in_five_ways_are_all_ended_and_told_as_terminated(
    client: Client, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    pids.touch()
    for number in range(1, TREES + 1):
        shape = SHAPES[number % len(SHAPES)].replace("PIDS", str(pids))
        client.start(number, ["/bin/sh", "-c", shape])
    until(lambda: len(pids.read_text().split()) == TREES, what="the beginning of all trees")
    for number in range(1, TREES + 1):
        client.send(op="terminate", id=number, attempt=1, kind="terminated", grace=0.2)
    kinds = {client.wait(number)["kind"] for number in range(1, TREES + 1)}
    assert kinds == {"terminated"}
    left = [int(pid) for pid in pids.read_text().split()]
    until(lambda: not any(map(is_running, left)), what="the end of all that they had started")


def test_two_hundred_dead_children_of_one_command_leave_no_zombie(runner: Runner, client: Client) -> None:
    """SCORECARD E3: their parent is gone before they are, so that nobody but the runner can bury them."""
    script = "for number in $(seq 200); do (setsid true &); done"
    assert client.run(1, ["/bin/sh", "-c", script])["kind"] == "success"
    until(lambda: not zombies_of(runner.process.pid), what="no zombies")
