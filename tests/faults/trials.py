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


def killed_in_turn(
    root: Path,
    *,
    rounds: int,
    seed: int,
    url: str,
    every: float = 5.0,
    tasks: int = 20,
    progress: Callable[[int], None] = lambda number: None,
) -> Report:
    """Two schedulers share a database; one or the other is killed each `every` seconds, and started again at once."""
    pair = [World(root / name, seed=seed, url=url, tasks=tasks) for name in ("one", "two")]
    pair[1].ledger = pair[0].ledger
    for path in pair[1].tasks.glob("*.yaml"):
        path.write_text((pair[0].tasks / path.name).read_text())
    for world in pair:
        world.start(ZQUANT_FLOW_LEASE_SECONDS="2")
        world.wait_ready()
    checker = Checker(pair[0])
    try:
        for number in range(rounds):
            victim = pair[0].chance.choice(pair)
            time.sleep(pair[0].chance.uniform(every / 2, every * 1.5))
            victim.kill()
            victim.start(ZQUANT_FLOW_LEASE_SECONDS="2")
            victim.wait_ready()
            found = checker.at_any_moment()
            if found.faults:
                return found
            progress(number + 1)
        return _pair_at_rest(pair, checker)
    finally:
        checker.close()


def _pair_at_rest(pair: Sequence[World], checker: Checker) -> Report:
    time.sleep(4.0)  # whoever leads by now watches its folder
    for world in pair:
        world.hold_fire()
    report = _settled(checker)
    for world in pair:
        if (code := world.stop()) != 0:
            report.damage.append(f"a server ended with {code}")
    report = _left_over(report, *pair)
    # On a busy machine a live one may be taken for dead: then it has to say so, and end.
    report.damage = [line for line in report.damage if "another engine has taken over" not in line]
    return report


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
    return come_to_rest(world, checker)


def come_to_rest(world: World, checker: Checker) -> Report:
    """Let everything end under the server that runs, and stop it."""
    world.hold_fire()
    report = _settled(checker)
    code = world.stop()
    if code != 0:
        report.damage.append(f"the last server ended with {code}")
    return _left_over(report, world)


def _settled(checker: Checker) -> Report:
    deadline = time.monotonic() + REST_SECONDS
    while True:
        report = checker.at_rest()
        if not report.faults or time.monotonic() > deadline:
            return report
        time.sleep(0.2)


def _left_over(report: Report, *worlds: World) -> Report:
    """What lives on, and what was logged that should not have to be, once all servers have been stopped."""
    deadline = time.monotonic() + 10
    while any(world.left() for world in worlds) and time.monotonic() < deadline:
        time.sleep(0.1)
    for world in worlds:
        report.orphans += world.left()
        report.damage += world.errors()
    return report
