"""How long does a start take after a sudden death with many task files and many live attempts, and is all of it right?"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine, create_engine, text

from tests.faults.world import World

PREFIX = "/api/v1/scheduler"


@dataclass(frozen=True)
class Recovery:
    """Seconds from the start of the next server, and what is wrong; `wrong` is empty where all is well."""

    until_scheduling: float
    until_right: float
    wrong: list[str]


def recovered(root: Path, *, files: int, runs: int, patience: float = 300.0) -> Recovery:
    """A server with so many files and live attempts is killed; half of the attempts end before the next one starts.

    `until_scheduling` is over when a due instant after the start has fired, `until_right` when every attempt is what it
    really is: those that ended a success, the others running.
    """
    world = World(root, seed=1, tasks=0)
    for path in world.tasks.glob("*.yaml"):
        path.unlink()
    _write(world, files, nap=max(0.2, runs / 500))
    many = {"ZQUANT_FLOW_THREAD_POOL_SIZE": str(runs + 10)}
    started: set[int] = set()
    try:
        world.start(**many)
        assert world.wait_ready(patience), "the first server did not come up"
        started = _start(world, runs, patience)
        world.kill()
        ending = set(sorted(started)[::2])
        _let_go(world, ending)
        begin, now = time.monotonic(), time.time()
        world.start(**many)
        with _asked(world) as rows:
            _wait(lambda: rows.fired_since(now), patience, "a fire after the start")
            scheduling = time.monotonic() - begin
            _wait(lambda: rows.are(ending, "success"), patience, "the success of those that ended")
            right = time.monotonic() - begin
            wrong = [] if rows.are(started - ending, "running") else ["one that runs is not shown as running"]
            _let_go(world, started)
            _wait(lambda: rows.are(started, "success"), patience, "the success of all")
        if (code := world.stop()) != 0:
            wrong.append(f"the server ended with {code}")
        return Recovery(scheduling, right, wrong + _wrong(world, started) + world.errors() + world.left())
    finally:
        _let_go(world, started)
        if world.lives():
            world.kill()


def _write(world: World, files: int, nap: float) -> None:
    """Tasks that are never due, one that is due each second, and one that waits until it may end."""
    for number in range(files):
        folder = world.tasks / f"d{number % 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"t{number}.yaml").write_text(
            f'name: t{number}\ncron: "{number % 60} 3 1 1 *"\ncommand: "true"\n'
        )
    (world.tasks / "tick.yaml").write_text('name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    (world.root / "gates").mkdir()
    script = (
        f'echo "$ZQUANT_EXECUTION_ID $ZQUANT_FLOW_ATTEMPT $$" >> {world.ledger}; '
        f"until [ -e {world.root}/gates/$ZQUANT_EXECUTION_ID ]; do sleep {nap:g}; done"
    )
    (world.tasks / "long.yaml").write_text(
        f"name: long\noverlap: allow\ntimeout: none\ncommand: [sh, -c, '{script}']\n"
    )


def _let_go(world: World, executions: set[int]) -> None:
    """These attempts may end."""
    for execution in executions:
        (world.root / "gates" / str(execution)).touch()


def _start(world: World, runs: int, patience: float) -> set[int]:
    """Trigger `long` so often, and wait until all of them have begun."""
    address = json.loads((world.data / "server.json").read_text())
    token = (world.data / "admin.token").read_text().strip()
    with httpx.Client(
        base_url=address["url"] + PREFIX,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    ) as client:
        [task] = client.get("/tasks", params={"q": "long"}).json()["tasks"]
        started = {
            int(client.post(f"/tasks/{task['id']}/trigger", json={}).json()["execution_id"])
            for _ in range(runs)
        }
    _wait(lambda: len(_ran(world)) == runs, patience, "the beginning of all attempts")
    return started


def _ran(world: World) -> list[int]:
    return (
        [int(line.split()[0]) for line in world.ledger.read_text().splitlines()]
        if world.ledger.exists()
        else []
    )


def _wrong(world: World, started: set[int]) -> list[str]:
    """Against the ledger that the attempts write themselves."""
    ran = Counter(_ran(world))
    found = [f"execution {number} started {times} times" for number, times in ran.items() if times != 1]
    return found + [f"execution {number} never ran" for number in started - ran.keys()]


@contextmanager
def _asked(world: World) -> Iterator[_Rows]:
    engine = create_engine(world.database_url)
    try:
        yield _Rows(engine)
    finally:
        engine.dispose()


@dataclass(frozen=True)
class _Rows:
    """Questions to the database, asked beside the server that starts."""

    engine: Engine

    def fired_since(self, instant: float) -> bool:
        """Whether an instant after this one has fired."""
        with self.engine.connect() as connection:
            query = text("SELECT max(logical_time) FROM fires WHERE outcome = 'fired'")
            return (connection.execute(query).scalar() or 0) > instant * 1e6

    def are(self, executions: set[int], status: str) -> bool:
        """Whether all these have that status."""
        with self.engine.connect() as connection:
            query = text("SELECT id FROM executions WHERE status = :status")
            return executions <= set(connection.execute(query, {"status": status}).scalars())


def _wait(condition: Callable[[], bool], patience: float, what: str) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.02)
