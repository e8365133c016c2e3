"""What does it cost to delete a part of a large history while the scheduler works, and to copy all of it?"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select

from tests.bench import seeded
from tests.bench.control_plane import FILTERS, wire
from tests.bench.harness import Figure, bench, percentile, scheduler, scratch, server, until
from zquant_flow.clock import SystemClock
from zquant_flow.engine.housekeeping import DAY, Policy, Sweep, Swept, hidden_tasks
from zquant_flow.store import history
from zquant_flow.store.backup import write_backup
from zquant_flow.store.database import Database
from zquant_flow.store.history import Wanted
from zquant_flow.store.tables import executions

TASKS, EXECUTIONS, DAYS = 1_000, 1_000_000, 60
OLD = DAYS - DAYS // 10
"""Days beyond which a tenth of the history lies; a second tenth lies beyond so many fewer."""
EVERY_SECOND = 'name: second-{number}\ncron: "* * * * * *"\ncommand: "true"\noverlap: allow\n'


@bench
def deletion() -> Sequence[Figure]:
    """100,000 of a million executions go: first by the service beside the engine, then by the command beside a server."""
    with scratch() as folder:
        url = f"sqlite:///{folder / 'data' / 'zquant-flow.db'}"
        _seed(folder, url)
        own, quiet, beside = _by_service(folder, url)
        listed, lag, seconds = _by_command(folder, url)
        backed_up = _backup(url, folder / "b.db")
    return [
        Figure("deleting 100,000 of 1,000,000 executions beside the engine", own.taken, "s", 120),
        Figure("the longest of its transactions", own.swept.longest * 1e3, "ms", 50),
        Figure("95 of 100 of them, at the most", percentile(own.rests, 0.95) * 1e3, "ms", 12),
        Figure("fire lag without it, p95", quiet * 1e3, "ms", 50),
        Figure("fire lag meanwhile, p95", beside * 1e3, "ms", 50),
        Figure("lists of 100 while `db prune` deletes 100,000 beside a server, p95", listed * 1e3, "ms", 50),
        Figure("fire lag meanwhile, p95", lag * 1e3, "ms", 100),
        Figure("the whole of that", seconds, "s", 240),
        Figure("backup of 800,000 executions", backed_up, "s", 60),
    ]


class _Measured:
    def __init__(self) -> None:
        self.swept = Swept()
        self.rests: list[float] = []
        self.taken = 0.0


def _by_service(folder: Path, url: str) -> tuple[_Measured, float, float]:
    with scheduler(folder) as made:
        begin = time.time_ns() // 1000
        time.sleep(15)
        middle = time.time_ns() // 1000
        found = _Measured()
        pause = threading.Event()

        def rest(seconds: float) -> bool:
            found.rests.append(seconds / 2)
            pause.wait(seconds)
            return True

        one = Sweep(
            made.database,
            folder / "data",
            Policy(age=OLD * DAY),
            now=SystemClock().micros(),
            rest=rest,
            delete_tasks=hidden_tasks(made.engine),
        )
        started = time.perf_counter()
        found.swept = one.run()
        found.taken = time.perf_counter() - started
        end = time.time_ns() // 1000
        made.housekeeping.stop()
        quiet, beside = _lag(url, begin, middle), _lag(url, middle, end)
    assert 95_000 < found.swept.executions < 105_000
    return found, quiet, beside


def _by_command(folder: Path, url: str) -> tuple[float, float, float]:
    with server(folder) as made, wire(made) as client:
        begin, started = time.time_ns() // 1000, time.perf_counter()
        command = [str(Path(sys.executable).with_name("zquant-flow")), "db", "prune", "--json"]
        command += ["--data", str(folder / "data"), "--older-than", f"{2 * OLD - DAYS}d"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        spans = {"day": _instant(time.time() - 86_400), "month": _instant(time.time() - 30 * 86_400)}
        times = []
        while process.poll() is None:
            for path in FILTERS:
                at = time.perf_counter()
                status, _data = client.request("GET", path.format(**spans))
                times.append(time.perf_counter() - at)
                assert status == 200
                time.sleep(0.02)
        seconds = time.perf_counter() - started
        assert process.returncode == 0
        return percentile(times, 0.95), _lag(url, begin, time.time_ns() // 1000), seconds


def _backup(url: str, file: Path) -> float:
    begin = time.perf_counter()
    write_backup(url, file)
    return time.perf_counter() - begin


def _lag(url: str, begin: int, end: int) -> float:
    """How long after their instant executions came to be that fired in this time, in seconds."""
    database = Database(url)
    query = select(executions.c.created_time - executions.c.logical_time).where(
        executions.c.trigger_type == "schedule", executions.c.created_time.between(begin + 1_000_000, end)
    )
    with database.read() as connection:
        found = [lag / 1e6 for lag in connection.execute(query).scalars() if lag >= 0]
    database.close()
    assert found
    return percentile(found, 0.95)


def _seed(folder: Path, url: str) -> None:
    seeded.write_tasks(folder / "tasks", TASKS)
    for number in range(20):
        (folder / "tasks" / f"second-{number}.yaml").write_text(EVERY_SECOND.format(number=number))
    with server(folder) as made, made.client() as client:
        until(lambda: client.get("/tasks", params={"name": "second-19"}).json()["tasks"])
    database = Database(url)
    database.open()
    with database.write() as connection:  # what fired meanwhile: ids begin anew
        for table in ("executions", "attempts", "fires", "task_tallies", "hour_tallies"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    seeded.seed_executions(database, EXECUTIONS, of_tasks=TASKS, days=DAYS)
    assert history.page(database, Wanted(), limit=1).total == EXECUTIONS
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(executions)).scalar_one() == EXECUTIONS
    database.close()


def _instant(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
