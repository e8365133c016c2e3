"""Are two schedulers on one database faster than one?

Only where there are cores for both: on two, one scheduler with its runner, its workers and PostgreSQL fills the machine, and
a second takes from the first what it brings. There the figure is shown, and not judged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.harness import Figure, Server, bench, scratch, server, until
from tests.databases import fresh_database

SECONDS = 20.0
CORES = 6
"""For two schedulers, two runners with a busy worker each, PostgreSQL, and who looks on."""
_WORK = """
from zquant_flow import task
{functions}
"""
_FUNCTION = """
@task(name="work-{number}", interval="1s", overlap="queue")
def work_{number}():
    return sum(range(1_500_000))
"""


@bench
def two_schedulers() -> Sequence[Figure]:
    """Python tasks that take a core for some hundredths of a second each, more of them than one scheduler gets done."""
    share = _rate(2) / _rate(1)
    cores = os.cpu_count() or 1
    if cores < CORES:
        what = f"two schedulers beside one (not judged: {cores} cores, it takes {CORES})"
        return [Figure(what, share, "times", 0.0, True)]
    return [Figure("two schedulers beside one, executions a second", share, "times", 1.5, True)]


def _rate(count: int) -> float:
    """Successes a second of so many schedulers together."""
    with scratch() as root, fresh_database("postgresql", root) as url, ExitStack() as stack:
        servers = [_started(stack, root / str(number), url) for number in range(count)]
        until(lambda: _successes(servers[0]) > 20, pause=0.1)
        before, begin = _successes(servers[0]), time.monotonic()
        time.sleep(SECONDS)
        return (_successes(servers[0]) - before) / (time.monotonic() - begin)


def _started(stack: ExitStack, folder: Path, url: str) -> Server:
    (folder / "tasks").mkdir(parents=True)
    functions = "".join(_FUNCTION.format(number=number) for number in range(80))
    (folder / "tasks" / "work.py").write_text(_WORK.format(functions=functions))
    return stack.enter_context(server(folder, "--database", url, "--threads", "1"))


def _successes(live: Server) -> int:
    with live.client() as client:
        return int(client.get("/executions", params={"status": "success", "limit": 1}).json()["total"])
