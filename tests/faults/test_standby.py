"""Several schedulers on one database: one drives it; when it dies or stalls another takes over, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import fresh_database
from tests.e2e.serving import until
from tests.engine.conftest import EVERY_MINUTE
from tests.faults.checker import Checker
from tests.faults.world import World
from zquant_flow.store.terms import Busy, Term, begin_term
from zquant_flow.testing import Harness, command_task

TAKEOVER_SECONDS = 10.0
LEASE = {"ZQUANT_FLOW_LEASE_SECONDS": "2"}
SECOND = 1_000_000


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two machines, as it were: the same files, folders of their own, one database."""
    with fresh_database("postgresql", tmp_path) as url:
        first, second = (World(tmp_path / name, seed=5, url=url, tasks=6) for name in ("one", "two"))
        second.ledger = first.ledger
        for path in second.tasks.glob("*.yaml"):
            path.write_text((first.tasks / path.name).read_text())
        try:
            yield first, second
        finally:
            for world in (first, second):
                if world._process is not None and world._process.poll() is None:
                    world._process.send_signal(signal.SIGCONT)
                    world._process.kill()
                    world._process.wait()


def serves(world: World) -> bool:
    return (world.data / "server.json").exists()


def at_rest(first: World, second: World, checker: Checker, driver: World) -> dict[str, list[str]]:
    for world in (first, second):
        for path in world.tasks.glob("*.yaml"):
            path.unlink()
    until(lambda: not checker.at_rest().faults, "rest", 30)
    found = checker.at_rest().faults
    assert driver.stop() == 0
    return found


def test_a_second_scheduler_stands_by_and_takes_over_from_one_that_was_killed(
    pair: tuple[World, World],
) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    until(lambda: "stands by" in (second.root / "stderr").read_text(), "the word that it stands by")
    checker = Checker(first)
    until(lambda: checker.at_any_moment() and len(checker._ran()) > 5, "some attempts")
    assert not serves(second)
    first.kill()
    begin = time.monotonic()
    second.wait_ready()
    assert time.monotonic() - begin < TAKEOVER_SECONDS
    before = len(checker._ran())
    until(lambda: len(checker._ran()) > before + 5, "attempts under the second")
    assert checker.at_any_moment().faults == {}
    assert at_rest(first, second, checker, second) == {}
    checker.close()


def test_a_scheduler_that_stalled_is_fenced_notices_and_ends(pair: tuple[World, World]) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    until(lambda: "stands by" in (second.root / "stderr").read_text(), "the word that it stands by")
    assert first._process is not None
    os.kill(first._process.pid, signal.SIGSTOP)
    second.wait_ready()
    os.kill(first._process.pid, signal.SIGCONT)
    assert first._process.wait(30) is not None
    assert "another engine has taken over" in (first.root / "stderr").read_text()
    checker = Checker(second)
    before = len(checker._ran())
    until(lambda: len(checker._ran()) > before + 5, "attempts under the second")
    assert checker.at_any_moment().faults == {}
    assert at_rest(first, second, checker, second) == {}
    checker.close()


def test_one_that_stands_by_stops_at_once_and_leaves_nothing(pair: tuple[World, World]) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    until(lambda: "stands by" in (second.root / "stderr").read_text(), "the word that it stands by")
    begin = time.monotonic()
    assert second.stop() == 0
    assert time.monotonic() - begin < 5
    until(lambda: not second.left(), "the end of its runner and loader")
    assert first.stop() == 0


def test_one_that_stalls_inside_a_transaction_does_not_hold_the_next_up(tmp_path: Path, h: Harness) -> None:
    """It holds the lock of its own row; the database ends its connection, and the row can be taken."""
    if h.database.is_sqlite:
        pytest.skip("one process at a time has an SQLite file")
    from sqlalchemy import text

    from zquant_flow.store.database import IDLE_SECONDS, Database

    stalled = Database(h.database.url)
    with stalled.engine.connect() as connection:
        connection.execute(text("UPDATE engines SET heartbeat = heartbeat"))
        begin = time.monotonic()
        assert isinstance(begin_term(h.database, now=h.clock.micros(), owner="other"), Term)
        assert time.monotonic() - begin < IDLE_SECONDS + 3
        connection.invalidate()
    stalled.close()


def test_the_same_data_folder_needs_not_wait_for_its_own_lease(pair: tuple[World, World]) -> None:
    first, _ = pair
    first.start(ZQUANT_FLOW_LEASE_SECONDS="60")
    first.wait_ready()
    first.kill()
    begin = time.monotonic()
    first.start(ZQUANT_FLOW_LEASE_SECONDS="60")
    first.wait_ready()
    assert time.monotonic() - begin < TAKEOVER_SECONDS
    assert first.stop() == 0


# ── terms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lease_that_holds_is_respected_and_one_that_is_over_is_taken(h: Harness) -> None:
    database = h.database
    now = h.clock.micros() + 3600 * SECOND
    first = begin_term(database, now=now, owner="a", lease=6 * SECOND)
    assert isinstance(first, Term)
    assert isinstance(begin_term(database, now=now + 5 * SECOND, owner="b", lease=6 * SECOND), Busy)
    again = begin_term(database, now=now + 5 * SECOND, owner="a", lease=6 * SECOND)
    assert isinstance(again, Term)
    assert again.epoch == first.epoch + 1
    other = begin_term(database, now=now + 12 * SECOND, owner="b", lease=6 * SECOND)
    assert other == Term(again.epoch + 1, now + 5 * SECOND)


def test_a_fenced_engine_writes_nothing_more_and_says_so(tmp_path: Path, url: str) -> None:
    import threading

    with Harness(tmp_path, url=url) as h:
        [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
        running = h.operations.trigger(task_id, actor="me")
        fenced = threading.Event()
        h.engine.on_fenced = fenced.set
        assert isinstance(begin_term(h.database, now=h.clock.micros(), owner="other"), Term)
        h.clock.advance(60)
        h.engine.ring()
        assert fenced.wait(10)
        begin = time.monotonic()
        h.engine.stop()
        assert time.monotonic() - begin < 5, "it waits for no attempt: they are not its own any more"
        assert (running, "terminated") in h.backend.terminated
        with h.database.read() as connection:
            from sqlalchemy import text

            assert connection.execute(text("SELECT count(*) FROM fires")).scalar() == 0
            assert (
                connection.execute(
                    text("SELECT status FROM executions WHERE id = :id"), {"id": running}
                ).scalar()
                == "running"
            )
