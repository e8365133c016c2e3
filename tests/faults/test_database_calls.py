"""The n-th call to the database fails, for n = 1, 2, 3, ...: each time nothing is lost, double, stuck or unrecorded.

A whole life is lived each time: fires, a workflow, retries, a pause, a terminate, a restart. The independent checker of the
killed servers looks at the rows and at a ledger that the backend writes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError

from tests.databases import fresh_database
from tests.engine.conftest import retrying
from tests.faults.checker import Checker, Report
from zquant_flow.core.model import Action, Overlap, RetryPolicy, Rule, Schedule, WorkflowType
from zquant_flow.engine.service import Engine
from zquant_flow.errors import Unavailable, WrongState
from zquant_flow.testing import FakeBackend, Frame, Harness, command_node, command_task, workflow_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EVERY = bool(os.environ.get("ZQUANT_FLOW_TEST_EVERY_CALL"))
"""Fail each call in turn with each fault; without it a choice of them."""
FIRST, STEP = 60, 20
"""Each of the first calls, and each so manyth of the others."""
HANG_SECONDS = 60.0
"""SCORECARD A3: no n may hang for longer."""

T = TypeVar("T")


class Judge(Checker):
    """The checker of the killed servers; here some tasks have no schedule."""

    def _cover(self, report: Report, name: str, instants: range, entries: Sequence[Any]) -> None:
        if name in ("i1", "w"):
            super()._cover(report, name, instants, entries)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as long as the machine needs, not as long as people do."""
    monkeypatch.setattr("zquant_flow.engine.service.STORE_PAUSE", 0.005)
    monkeypatch.setattr(Engine.call, "__kwdefaults__", {"timeout": 10.0})


class Calls:
    """Counts what goes to the database, statements and commits, and lets the n-th fail in one way."""

    def __init__(self, fault: str, number: int) -> None:
        self.fault, self.number, self.made = fault, number, 0
        self.commits: list[int] = []
        """Which of the calls were commits."""
        self.struck = ""
        """The statement that failed; empty as long as none has."""

    def watch(self, dialect: Any) -> None:
        """Stand between SQLAlchemy and the driver, on this dialect object only."""
        for name in ("do_execute", "do_executemany", "do_execute_no_params"):
            setattr(dialect, name, self._statement(getattr(dialect, name)))
        dialect.do_commit = self._commit(dialect.do_commit)

    def _statement(self, real: Callable[..., None]) -> Callable[..., None]:
        def execute(cursor: Any, statement: str, *rest: Any, **named: Any) -> None:
            if self._is_it(statement):
                self._fail(cursor.connection)
            real(cursor, statement, *rest, **named)

        return execute

    def _commit(self, real: Callable[[Any], None]) -> Callable[[Any], None]:
        def commit(connection: Any) -> None:
            self.commits.append(self.made + 1)
            if self._is_it("COMMIT"):
                if self.fault == "answer lost":
                    real(connection)
                self._fail(connection)
            real(connection)

        return commit

    def _is_it(self, statement: str) -> bool:
        self.made += 1
        if self.made != self.number:
            return False
        self.struck = " ".join(statement.split())[:80]
        return True

    def _fail(self, connection: Any) -> None:
        if self.fault == "locked":
            raise sqlite3.OperationalError("database is locked")
        if self.fault == "disk":
            raise sqlite3.OperationalError("disk I/O error")
        import psycopg

        driver = getattr(connection, "driver_connection", None) or connection
        driver.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


class Recorder(FakeBackend):
    """Refuses a number that it knows, as the runner does, and writes a ledger of what it starts."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self._ledger = ledger

    def start_attempts(self, orders: Sequence[Frame], acknowledged: Sequence[tuple[int, int]]) -> None:
        kept = {(outcome["id"], outcome["attempt"]) for outcome in self.kept}
        running = {(order["id"], order["attempt"]) for order in self.active.values()}
        new = [order for order in orders if (order["id"], order["attempt"]) not in kept | running]
        super().start_attempts(new, acknowledged)
        with self._ledger.open("a") as file:
            file.writelines(f"{order['id']} {order['attempt']} 0\n" for order in new)


class Life(Harness):
    """A harness whose database fails once; a client that is refused tries again, as clients do."""

    def __init__(self, folder: Path, calls: Calls, *, url: str | None) -> None:
        self._calls = calls
        self.ledger = folder / "ledger"
        super().__init__(folder, url=url)
        self.backend = Recorder(self.ledger)
        self._make()

    def _make(self) -> None:
        super()._make()
        self._calls.watch(self.database.engine.dialect)
        if self.database.is_sqlite:  # no power is cut here: the disk need not be waited for
            event.listen(
                self.database.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF")
            )

    def insist(self, what: Callable[[], T]) -> T:
        for _ in range(5):
            try:
                return what()
            except (Unavailable, DBAPIError):
                assert self.engine.running, "the engine has stopped"
        raise AssertionError("refused again and again")

    def begin(self) -> None:
        """Start, and where that is refused start anew, as a service manager does."""
        for _ in range(3):
            try:
                return self.engine.start()
            except (Unavailable, DBAPIError):
                self.engine.stop(keep_attempts=True)
                self.database.close()
                self._make()
        raise AssertionError("it does not start")

    def crash(self) -> None:
        self.engine.stop(keep_attempts=True)
        self.database.close()
        self._make()
        self.begin()

    def beat(self, seconds: float = 1.0) -> None:
        """Time passes, and every attempt but `long` ends: the first of each fourth execution, and of `flaky`, in vain."""
        self.clock.advance(seconds)
        self.engine.ring()
        self.insist(self.settle)
        for number, order in list(self.backend.active.items()):
            if order["task"] == "long":
                continue
            fails = order["attempt"] == 1 and (number % 4 == 0 or order["task"] == "flaky")
            self.backend.end(number, "failed" if fails else "success")
        self.insist(self.settle)


def second(count: int, **keys: Any) -> Schedule:
    return Schedule(rules=(Rule(interval=timedelta(seconds=count)),), **keys)


def once_more() -> Action:
    return retrying(1, 1)


def live(h: Life) -> list[int]:
    """All that a scheduler does, in some seconds; the executions that a client was promised."""
    h.begin()
    nodes = [
        command_node("n0", action=once_more()),
        command_node("n1", "n0", action=once_more()),
        command_node("n2", action=once_more()),
    ]
    flow = workflow_task(
        "w", nodes, workflow_type=WorkflowType.PARALLEL, schedule=second(3), overlap=Overlap.ALLOW
    )
    tick = command_task("i1", schedule=second(1), action=once_more(), overlap=Overlap.ALLOW)
    flaky = command_task(
        "flaky",
        action=Action(
            executor="command",
            config={"command": "x"},
            retry=RetryPolicy(max_retries=2, interval=timedelta(seconds=1)),
        ),
    )
    names = ("i1", "w", "flaky", "long")
    h.insist(lambda: h.define(tick, flow, flaky, command_task("long"), path="all.yaml"))
    ids = {name: h.operations.registry.by_name[name].id for name in names}
    promised = [h.insist(lambda: h.operations.trigger(ids["flaky"], actor="me"))]
    h.beat()
    h.beat()
    h.insist(lambda: h.operations.pause(ids["i1"], actor="me"))
    promised.append(h.insist(lambda: h.operations.trigger(ids["long"], actor="me")))
    h.beat()
    h.insist(lambda: h.operations.resume(ids["i1"], actor="me"))
    h.insist(lambda: h.operations.pause_execution(promised[1], actor="me"))
    h.beat()
    h.crash()
    h.insist(lambda: h.operations.resume_execution(promised[1], actor="me"))
    h.beat()
    with suppress(WrongState):  # it was done, and the answer lost
        h.insist(lambda: h.operations.terminate(promised[1], actor="me"))
    h.beat()
    h.beat()
    h.insist(lambda: h.operations.register([], ["all.yaml"]))
    for _ in range(5):
        h.beat()
    return promised


def after_a_fault(folder: Path, fault: str, number: int, *, url: str | None = None) -> Calls:
    """One life in which that call fails; checked from outside."""
    folder.mkdir()
    calls = Calls(fault, number)
    begin = time.monotonic()
    with_url = url or f"sqlite:///{folder / 'test.db'}"
    h = Life(folder, calls, url=with_url)
    try:
        promised = live(h)
    except BaseException as exc:
        exc.add_note(f"n = {number}, {fault}: {calls.struck}")
        raise
    finally:
        h.engine.stop(keep_attempts=True)
        h.database.close()
    took = time.monotonic() - begin
    where = f"n = {number}, {fault}: {calls.struck}"
    assert took < HANG_SECONDS, where
    checker = Judge(SimpleNamespace(database_url=with_url, ledger=h.ledger))  # type: ignore[arg-type]
    try:
        report = checker.at_rest()
    finally:
        checker.close()
    assert report.faults == {}, where
    assert report.instants > 5, where
    assert answers_hold(with_url, promised) == [], where
    return calls


def answers_hold(url: str, promised: list[int]) -> list[str]:
    """Each promised execution is there, and no other that a client has asked for."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT id, status FROM executions WHERE trigger_type = 'manual' ORDER BY id")
        ).all()
    engine.dispose()
    wrong = [f"{row.id} was not promised" for row in found if row.id not in promised]
    wrong += [f"{number} is not there" for number in promised if number not in {row.id for row in found}]
    ends = dict(zip(promised, ("success", "terminated"), strict=True))
    return wrong + [
        f"{row.id} is {row.status}" for row in found if row.id in ends and row.status != ends[row.id]
    ]


def numbers(total: int) -> list[int]:
    if EVERY:
        return list(range(1, total + 1))
    return [*range(1, min(FIRST, total) + 1), *range(FIRST + 1, total + 1, STEP)]


def test_whichever_call_to_an_sqlite_file_fails_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """It is locked by another, or the disk refuses: in turn, and each call with both where all are asked for."""
    faults = ("locked", "disk")
    total = after_a_fault(tmp_path / "none", "locked", 0).made
    assert total > 200
    for number in numbers(total):
        for fault in faults if EVERY else [faults[number % 2]]:
            assert after_a_fault(tmp_path / f"{fault}{number}", fault, number).struck


def on_postgres(folder: Path, fault: str, number: int) -> Calls:
    with fresh_database("postgresql", folder) as url:
        return after_a_fault(folder / f"{fault}{number}", fault, number, url=url)


def test_whichever_call_to_postgresql_meets_a_dropped_connection_nothing_is_lost_or_done_twice(
    tmp_path: Path,
) -> None:
    total = on_postgres(tmp_path, "gone", 0).made
    assert total > 200
    for number in numbers(total) if EVERY else numbers(total)[::6]:
        assert on_postgres(tmp_path, "gone", number).struck


def test_whichever_commit_on_postgresql_loses_its_answer_nothing_is_lost_or_done_twice(
    tmp_path: Path,
) -> None:
    """It is in the database, and nobody here knows: SCORECARD C3."""
    commits = on_postgres(tmp_path, "answer lost", 0).commits
    assert len(commits) > 20
    for number in commits if EVERY else commits[::6]:
        assert on_postgres(tmp_path, "answer lost", number).struck == "COMMIT"
