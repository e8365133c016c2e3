"""Another process holds the database file, for as long as one likes: what does a server do meanwhile, and afterwards?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.faults.checker import Checker, Report
from tests.faults.trials import come_to_rest
from tests.faults.world import World

HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
"""


@contextmanager
def held_by_another(file: Path) -> Iterator[None]:
    """A process of its own has the file to itself as long as the block lasts."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(60)
        holder.stdout.close()


@dataclass(frozen=True)
class Held:
    """What was seen of one lock."""

    report: Report
    told_after: float | None
    """Seconds until `/readyz` named the fault; None where the lock was gone before."""


def served_while_held(root: Path, *, seconds: float, seed: int = 1, tasks: int = 3) -> Held:
    """A server fires each second; its file is held for so long; what the checker finds, once all has been made up for."""
    world = World(root, seed=seed, tasks=tasks)
    world.start()
    world.wait_ready()
    time.sleep(1.5)
    with held_by_another(world.data / "zquant-flow.db"):
        told = _told_within(world, seconds)
    checker = Checker(world)
    try:
        time.sleep(2.0)
        if not world.lives():
            return Held(Report(damage=["the server has died"]), told)
        return Held(come_to_rest(world, checker), told)
    finally:
        checker.close()


def _told_within(world: World, seconds: float) -> float | None:
    """When `/readyz` first said that something is wrong; returns when the seconds are over."""
    url = json.loads((world.data / "server.json").read_text())["url"]
    begin, told = time.monotonic(), None
    while (now := time.monotonic() - begin) < seconds:
        if told is None and httpx.get(f"{url}/readyz", trust_env=False).json()["status"] == "degraded":
            told = now
        time.sleep(0.05)
    return told
