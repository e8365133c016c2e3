"""Several schedulers on one database: they share the work; when one dies or stalls another takes over, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.databases import fresh_database
from tests.e2e.serving import until
from tests.engine.conftest import EVERY_MINUTE
from tests.faults.checker import Checker
from tests.faults.trials import killed_in_turn
from tests.faults.world import World
from zquant_flow.store.terms import Fenced, beat, begin_term, lead
from zquant_flow.testing import Harness, command_task

TAKEOVER_SECONDS = 10.0
LEASE = {"ZQUANT_FLOW_LEASE_SECONDS": "4"}
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
    until(
        lambda: f"folder {driver.tasks} counts" in (driver.root / "stderr").read_text(), "its folder's turn"
    )
    for world in (first, second):
        for path in world.tasks.glob("*.yaml"):
            path.unlink()
    deadline = time.monotonic() + 30
    while (found := checker.at_rest().faults) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert driver.stop() == 0
    return found


def joined(world: World) -> bool:
    return "another scheduler leads" in (world.root / "stderr").read_text()


def drivers(world: World) -> set[int]:
    """The engines that have driven executions which have ended."""
    engine = create_engine(world.database_url)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT DISTINCT owner FROM executions WHERE status = 'success' AND owner IS NOT NULL")
        )
        owners = set(found.scalars())
    engine.dispose()
    return owners


def test_two_share_the_work_and_one_takes_over_from_the_other_that_was_killed(
    pair: tuple[World, World],
) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    second.wait_ready()
    assert joined(second)
    checker = Checker(first)
    until(lambda: checker.at_any_moment() and len(drivers(first)) == 2, "executions of both", 30)
    first.kill()
    begin = time.monotonic()
    until(lambda: "leads from now on" in (second.root / "stderr").read_text(), "the second one's lead")
    assert time.monotonic() - begin < TAKEOVER_SECONDS
    before = len(checker._ran())
    until(lambda: len(checker._ran()) > before + 5, "attempts under the second")
    assert checker.at_any_moment().faults == {}
    assert at_rest(first, second, checker, second) == {}
    checker.close()


def test_what_a_killed_follower_drove_is_taken_over(pair: tuple[World, World]) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    second.wait_ready()
    checker = Checker(first)
    until(lambda: len(drivers(first)) == 2, "executions of both", 30)
    second.kill()
    begin = time.monotonic()
    until(lambda: "is taken over" in (first.root / "stderr").read_text(), "the takeover")
    assert time.monotonic() - begin < TAKEOVER_SECONDS
    assert checker.at_any_moment().faults == {}
    assert at_rest(first, second, checker, first) == {}
    checker.close()


@pytest.mark.parametrize("stalled", [0, 1], ids=["leader", "follower"])
def test_a_scheduler_that_stalled_is_fenced_notices_and_ends(pair: tuple[World, World], stalled: int) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    second.wait_ready()
    checker = Checker(first)
    until(lambda: len(drivers(first)) == 2, "executions of both", 30)
    victim, other = pair[stalled], pair[1 - stalled]
    assert victim._process is not None
    os.kill(victim._process.pid, signal.SIGSTOP)
    word = "is taken over" if stalled else "leads from now on"
    until(lambda: word in (other.root / "stderr").read_text(), "the takeover", 30)
    os.kill(victim._process.pid, signal.SIGCONT)
    assert victim._process.wait(30) is not None
    assert "another engine has" in (victim.root / "stderr").read_text()
    before = len(checker._ran())
    until(lambda: len(checker._ran()) > before + 5, "attempts under the other")
    assert checker.at_any_moment().faults == {}
    assert at_rest(first, second, checker, other) == {}
    checker.close()


def test_a_follower_stops_at_once_and_leaves_nothing(pair: tuple[World, World]) -> None:
    first, second = pair
    first.start(**LEASE)
    first.wait_ready()
    second.start(**LEASE)
    second.wait_ready()
    begin = time.monotonic()
    assert second.stop() == 0
    assert time.monotonic() - begin < 5
    until(lambda: not second.left(), "the end of its runner and loader")
    assert first.stop() == 0


def test_a_leader_that_stops_hands_the_lead_over_without_a_wait_for_its_lease(
    pair: tuple[World, World],
) -> None:
    first, second = pair
    first.start(ZQUANT_FLOW_LEASE_SECONDS="8")
    first.wait_ready()
    second.start(ZQUANT_FLOW_LEASE_SECONDS="8")
    second.wait_ready()
    checker = Checker(first)
    assert first.stop() == 0
    begin = time.monotonic()
    until(lambda: "leads from now on" in (second.root / "stderr").read_text(), "the second one's lead")
    assert time.monotonic() - begin < 6
    assert at_rest(first, second, checker, second) == {}
    checker.close()


def test_one_that_stalls_inside_a_transaction_does_not_hold_the_next_up(tmp_path: Path, h: Harness) -> None:
    """It holds the lock of its own row; the database ends its connection, and the row can be taken."""
    if h.database.is_sqlite:
        pytest.skip("one process at a time has an SQLite file")
    from zquant_flow.store.database import IDLE_SECONDS, Database

    stalled = Database(h.database.url)
    with stalled.engine.connect() as connection:
        connection.execute(text("UPDATE engines SET heartbeat = heartbeat"))
        begin = time.monotonic()
        begin_term(h.database, now=h.clock.micros(), owner="other")
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


def test_one_leads_until_it_is_silent_for_longer_than_its_lease(h: Harness) -> None:
    database = h.database
    now = h.clock.micros() + 3600 * SECOND
    lease = 6 * SECOND
    a, b = (begin_term(database, now=now, owner=name, shared=True) for name in "ab")
    assert lead(database, engine_id=a.engine_id, epoch=a.epoch, now=now, lease=lease)
    assert not lead(database, engine_id=b.engine_id, epoch=b.epoch, now=now + 5 * SECOND, lease=lease)
    again = begin_term(database, now=now + 5 * SECOND, owner="a", shared=True)
    assert (again.engine_id, again.epoch) == (a.engine_id, a.epoch + 1)
    assert lead(database, engine_id=again.engine_id, epoch=again.epoch, now=now + 5 * SECOND, lease=lease)
    assert lead(database, engine_id=b.engine_id, epoch=b.epoch, now=now + 12 * SECOND, lease=lease)
    with pytest.raises(Fenced):
        beat(database, engine_id=again.engine_id, epoch=again.epoch, now=now, slots=1, drift=0)


def test_a_fenced_engine_writes_nothing_more_and_says_so(tmp_path: Path, url: str) -> None:
    with Harness(tmp_path, url=url) as h:
        [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
        running = h.operations.trigger(task_id, actor="me")
        fenced = threading.Event()
        h.engine.on_fenced = fenced.set
        begin_term(h.database, now=h.clock.micros(), owner="other")
        h.clock.advance(60)
        h.engine.ring()
        assert fenced.wait(10)
        begin = time.monotonic()
        h.engine.stop()
        assert time.monotonic() - begin < 5, "it waits for no attempt: they are not its own any more"
        assert (running, "terminated") in h.backend.terminated
        with h.database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM fires")).scalar() == 0
            found = connection.execute(text("SELECT status FROM executions WHERE id = :id"), {"id": running})
            assert found.scalar() == "running"


def test_a_fenced_engine_registers_no_file(tmp_path: Path, url: str) -> None:
    with Harness(tmp_path, url=url) as h:
        h.define(command_task("one"))
        begin_term(h.database, now=h.clock.micros(), owner="other")
        with pytest.raises(Fenced):
            h.define(command_task("two"))
        with h.database.read() as connection:
            assert connection.execute(text("SELECT name FROM tasks")).scalars().all() == ["one"]


def test_two_schedulers_of_which_one_is_killed_again_and_again_lose_nothing(tmp_path: Path) -> None:
    with fresh_database("postgresql", tmp_path) as url:
        report = killed_in_turn(tmp_path / "pair", rounds=2, seed=9, url=url, every=3.0, tasks=8)
    assert report.faults == {}
    assert report.executions > 20
