"""Rounds of start and sudden death over one world, checked after each, and at rest at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.checker import Checker, Report
from tests.faults.world import World

REST_SECONDS = 60.0


def killed_at_random(
    root: Path,
    *,
    rounds: int,
    seed: int,
    url: str | None = None,
    points: Sequence[str] = (),
    progress: Callable[[int], None] = lambda number: None,
) -> Report:
    """Kill a server under load `rounds` times at random moments, or at these failpoints in turn; what is wrong in the end."""
    world = World(root, seed=seed, url=url)
    checker: Checker | None = None
    try:
        for number in range(rounds):
            point = points[number % len(points)] if points else None
            if point is None:
                _killed(world)
            else:
                _dies_at(world, point)
            checker = checker or Checker(world)
            found = checker.at_any_moment()
            if found.faults:
                return found
            progress(number + 1)
        return _at_rest(world, checker or Checker(world))
    finally:
        if checker is not None:
            checker.close()


def _killed(world: World) -> None:
    world.start()
    if world.chance.random() < 0.2:
        time.sleep(world.chance.uniform(0.05, 1.0))  # also while it starts
    else:
        world.wait_ready()
        time.sleep(world.chance.uniform(0.0, 1.2))
    world.kill()


def _dies_at(world: World, point: str) -> None:
    """The n-th time that it comes to this point; one that it does not come to is no fault of it."""
    world.start(ZQUANT_FLOW_FAILPOINT=f"{point}:{world.chance.randint(1, 30)}")
    if not world.wait_death(world.chance.uniform(3.0, 5.0)):
        world.kill()


def _at_rest(world: World, checker: Checker) -> Report:
    """Start once more, let everything end, stop; nothing may be left over."""
    world.start()
    world.wait_ready()
    time.sleep(2.5)
    world.hold_fire()
    deadline = time.monotonic() + REST_SECONDS
    while True:
        report = checker.at_rest()
        if not report.faults or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    code = world.stop()
    if code != 0:
        report.damage.append(f"the last server ended with {code}")
    deadline = time.monotonic() + 10
    while world.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    report.orphans = world.left()
    report.damage += world.errors()
    return report
