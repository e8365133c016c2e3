"""The engine lives through clock changes, turned clocks, restarts and edits at the wrong moment; the ledger is the judge.

What should have fired is said by the slow model of Debian's cron, and by arithmetic by hand.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, text

from tests.core.debian_cron_oracle import fires as modelled
from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.model import Catchup, Overlap, Rule, Schedule, TaskDef
from zquant_flow.testing import Harness, command_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HOUR, DAY = 3600, 86_400
MICRO = 1_000_000


class Swift(Harness):
    """A harness whose database does not wait for the disk: these tests cut no power."""

    def _make(self) -> None:
        super()._make()
        event.listen(self.database.engine, "connect", _wait_for_no_disk)


def _wait_for_no_disk(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Swift]:
    made = Swift(tmp_path, slots=1000)
    with made:
        yield made


def entries(h: Harness, task_id: int, outcome: str = "fired") -> list[int]:
    """The logical times of the entries of one kind, in the order in which they were written."""
    with h.database.read() as connection:
        query = text("SELECT logical_time FROM fires WHERE outcome = :outcome AND task_id = :id ORDER BY id")
        return list(connection.execute(query, {"id": task_id, "outcome": outcome}).scalars())


def moments(found: Sequence[int]) -> list[datetime]:
    return [datetime.fromtimestamp(moment // MICRO, UTC) for moment in found]


# ── B4: clock changes, lived through ────────────────────────────────────────────────────────────────────────────────

RULES = (
    "30 2 * * *",
    "15 0,1,2,3 * * *",
    "0 0 * * *",
    "45 1 * * 0",
    "*/20 * * * *",
    "10 */2 * * *",
    "5-55/25 1-3 * * *",
    "0 2,3 29-31 * 0",
)


def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants of a year at which the offset of a zone is another than ten minutes before."""
    moment, found = datetime(year, 1, 1, tzinfo=UTC), []
    while moment.year == year:
        before = moment - timedelta(minutes=10)
        if moment.astimezone(zone).utcoffset() != before.astimezone(zone).utcoffset():
            found.append(moment)
        moment += timedelta(minutes=10)
    return found


@pytest.mark.parametrize(
    "name",
    ["America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Havana", "Antarctica/Troll"],
)
def test_an_engine_that_lives_through_a_clock_change_fires_what_debians_cron_would(
    tmp_path: Path, name: str
) -> None:
    """A day before and a day after each change, ringing when the bell would; a crash in the middle of the change."""
    zone = ZoneInfo(name)
    found = changes(zone, 2026)
    assert len(found) == 2
    for number, change in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        lived_through(folder, name, change)


def lived_through(folder: Path, name: str, change: datetime) -> None:
    begin, end = change - timedelta(days=1), change + timedelta(days=1)
    h = Swift(folder, slots=1)
    h.clock.step((begin - h.clock.now()).total_seconds())
    with h:
        ids = h.define(
            *(
                command_task(
                    rule, overlap=Overlap.ALLOW, schedule=Schedule(rules=(Rule(cron=rule),), timezone=name)
                )
                for rule in RULES
            ),
            path="all.yaml",
        )
        crashed = False
        while (wake := h.engine.next_wake or end) < end:
            h.tick((wake - h.clock.now()).total_seconds())
            if not crashed and wake >= change:
                crashed = True
                h.restart()
                h.tick(0)
        for task_id, rule in zip(ids, RULES, strict=True):
            expected = [moment for moment in modelled(rule, ZoneInfo(name), begin, end) if moment > begin]
            assert moments(entries(h, task_id)) == expected, (name, rule, change)


# ── B5: clocks that are turned ──────────────────────────────────────────────────────────────────────────────────────

STEPS = [HOUR, -HOUR, DAY, -DAY, 10 * 365 * DAY]


def to_1970(h: Harness) -> float:
    return -(h.clock.micros() / MICRO - 60)


@pytest.mark.parametrize(
    "seconds", [*STEPS, None], ids=["+1 h", "-1 h", "+1 day", "-1 day", "+10 years", "1970"]
)
def test_retries_and_running_attempts_do_not_follow_a_clock_that_is_turned(
    h: Swift, seconds: int | None
) -> None:
    """A minute until the retry is a minute; what runs goes on and has lasted as long as it has."""
    waits, runs = h.define(
        command_task("waits", action=retrying(1, 60)), command_task("runs"), path="two.yaml"
    )
    waiting = h.operations.trigger(waits, actor="me")
    h.end(waiting, "failed")
    running = h.operations.trigger(runs, actor="me")
    h.tick(30)
    h.clock.step(to_1970(h) if seconds is None else seconds)
    h.tick(0)
    assert h.status(waiting) == "pending"
    h.tick(29)
    assert h.status(waiting) == "pending", "the minute is not over"
    h.tick(2)
    assert h.status(waiting) == "running"
    assert h.status(running) == "running"
    h.end(running)
    h.end(waiting)
    assert (h.status(running), h.status(waiting)) == ("success", "success")
    with h.database.read() as connection:
        query = text("SELECT duration_seconds FROM executions WHERE id = :id")
        assert connection.execute(query, {"id": running}).scalar_one() == pytest.approx(61)


def test_a_clock_that_stands_at_1970_and_is_set_right_fires_nothing_twice_and_goes_on(h: Swift) -> None:
    """A machine without a battery: it starts in 1970 until it has found the time."""
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.tick(60)
    h.tick(60)
    before = entries(h, task_id)
    away = to_1970(h)
    h.clock.step(away)
    h.tick(0)
    h.tick(60)
    in_1970 = entries(h, task_id)[len(before) :]
    assert [moment < HOUR * MICRO for moment in in_1970] == [True]
    h.clock.step(-away)
    h.tick(0)
    h.tick(60)
    after = entries(h, task_id)
    assert len(set(after)) == len(after)
    assert set(before) <= set(after)
    assert max(after) == h.clock.micros() // (60 * MICRO) * 60 * MICRO, "it fires in the present again"
    assert len(after) <= len(before) + 1 + 6 + 1, "no storm: the grace of five minutes at most"


@pytest.mark.parametrize("step", [-1.0, -0.999], ids=["a second", "less than a second"])
def test_a_leap_second_that_is_lived_twice_fires_once(h: Swift, step: float) -> None:
    """What the kernel does at 23:59:60: the last second of the day comes again."""
    [task_id] = h.define(
        command_task(
            "one", overlap=Overlap.ALLOW, schedule=Schedule(rules=(Rule(interval=timedelta(seconds=1)),))
        )
    )
    for _ in range(5):
        h.tick(1)
    h.clock.step(step)
    for _ in range(12):
        h.tick(0.5)
    found = entries(h, task_id)
    last = h.clock.micros() // MICRO * MICRO
    assert found == [last - (len(found) - 1 - number) * MICRO for number in range(len(found))]
    assert len(found) >= 10


def test_a_clock_that_is_slewed_by_500_ppm_misses_and_repeats_no_second(h: Swift) -> None:
    """As NTP does it: an hour in which the wall gains, and one in which it loses, half a millisecond each second."""
    [task_id] = h.define(
        command_task(
            "one", overlap=Overlap.ALLOW, schedule=Schedule(rules=(Rule(interval=timedelta(seconds=30)),))
        )
    )
    begin = h.clock.micros()
    for slew in (0.0005, -0.0005):
        for _ in range(360):
            h.clock.step(10 * slew)
            h.tick(10)
    found = entries(h, task_id)
    expected = list(range(begin + 30 * MICRO, h.clock.micros() + 1, 30 * MICRO))
    assert found == expected


# ── B6: down for long ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "away", [60, 3 * HOUR, 30 * DAY, 730 * DAY], ids=["a minute", "3 hours", "30 days", "2 years"]
)
@pytest.mark.parametrize(
    ("catchup", "late", "reason"),
    [(Catchup.NONE, 0, "misfire"), (Catchup.LATEST, 0, "coalesced"), (Catchup.ALL, 100, "misfire")],
)
def test_what_was_missed_while_nobody_looked_is_run_or_recorded_as_the_policy_says_and_the_start_is_quick(
    h: Swift, away: int, catchup: Catchup, late: int, reason: str
) -> None:
    """Up to five minutes late is on time, the newest among them; of what is older none, or the oldest hundred run."""
    schedule = replace(EVERY_MINUTE, catchup=catchup)
    [task_id] = h.define(command_task("one", schedule=schedule, overlap=Overlap.ALLOW))
    begin = h.clock.micros()
    h.engine.stop(keep_attempts=True)
    h.clock.advance(away)
    clock = time.monotonic()
    h.restart()
    h.settle()
    assert time.monotonic() - clock < 5
    due, on_time = away // 60, min(away // 60, 6)
    assert len(entries(h, task_id)) == on_time + min(late, due - on_time)
    with h.database.read() as connection:
        query = text("SELECT logical_time, until FROM fires WHERE task_id = :id ORDER BY logical_time")
        spans = connection.execute(query, {"id": task_id}).all()
    covered = [(until - start) // (60 * MICRO) + 1 for start, until in spans]
    assert sum(covered) == due, "each instant has one entry"
    assert all(before.until < after.logical_time for before, after in pairwise(spans))
    skipped = due - on_time - late
    assert len(entries(h, task_id, reason)) == (1 if skipped > 0 else 0)
    assert (spans[0].logical_time, spans[-1].until) == (begin + 60 * MICRO, begin + away * MICRO)


# ── A10: restarted more often than it is due ────────────────────────────────────────────────────────────────────────


def test_a_hundred_restarts_in_an_hour_do_not_put_off_what_is_due_each_two_hours(tmp_path: Path) -> None:
    every_two = timedelta(hours=2)
    with Swift(tmp_path) as h:
        by_interval, by_cron = h.define(
            command_task("i", overlap=Overlap.ALLOW, schedule=Schedule(rules=(Rule(interval=every_two),))),
            command_task("c", overlap=Overlap.ALLOW, schedule=Schedule(rules=(Rule(cron="0 */2 * * *"),))),
            path="two.yaml",
        )
        begin = h.clock.now()
        h.tick(90 * 60)
        for number in range(100):
            h.restart(kill=bool(number % 2))
            h.tick(36)
        due = begin + every_two
        assert moments(entries(h, by_interval)) == [due]
        assert moments(entries(h, by_cron)) == [due]
        with h.database.read() as connection:
            late = connection.execute(text("SELECT created_time - logical_time FROM executions")).scalars()
            assert all(0 <= micros <= 36 * MICRO for micros in late), "at the first look after it was due"


# ── B7: runs that last longer than the interval ─────────────────────────────────────────────────────────────────────


def test_a_thousand_fires_that_overlap_keep_the_limit_of_each_policy_and_are_all_recorded(h: Swift) -> None:
    """Each second one is due, each run lasts 3 to 5: `skip`, `queue` and `replace` have one at a time, `queue` 100 waiting."""
    count, chance = 1000, random.Random(7)
    ids = dict(
        zip(
            Overlap,
            h.define(
                *(
                    command_task(
                        policy.value,
                        overlap=policy,
                        schedule=Schedule(rules=(Rule(interval=timedelta(seconds=1)),)),
                    )
                    for policy in Overlap
                ),
                path="all.yaml",
            ),
            strict=True,
        )
    )
    begin = h.clock.micros()
    ends: dict[int, int] = {}
    for second in range(count):
        h.tick(1)
        active = Counter(order["task"] for order in h.backend.active.values())
        for policy in (Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE):
            assert active[policy.value] <= 1, (second, policy)
        waiting = len(h.engine.memory.tasks[ids[Overlap.QUEUE]].queue)
        assert waiting <= 100, second
        for number in list(h.backend.active):
            if second >= ends.setdefault(number, second + chance.randint(3, 5)):
                h.backend.end(number)
        h.settle()
    instants = [begin + (number + 1) * MICRO for number in range(count)]
    for policy, task_id in ids.items():
        fired, overlapped = entries(h, task_id), entries(h, task_id, "overlap")
        assert sorted(fired + overlapped) == instants, policy
        assert fired, policy
        if policy in (Overlap.ALLOW, Overlap.REPLACE):
            assert overlapped == [], policy
        else:
            assert len(overlapped) > 500, policy


# ── B10: changed within the second in which it is due ───────────────────────────────────────────────────────────────


CHANGES = int(os.environ.get("ZQUANT_FLOW_TEST_CHANGES", "200"))
"""SCORECARD B10 has 1,000."""


def test_changes_in_the_second_that_is_due_fire_nothing_twice_and_nothing_that_is_gone(
    h: Swift,
) -> None:
    """Edited, disabled, renamed, deleted and put back, just before the bell or just after it."""
    chance = random.Random(11)
    task = command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW)
    [task_id] = h.define(task, path="one.yaml")
    for turn in range(CHANGES):
        h.clock.advance(60 - h.clock.now().second - h.clock.now().microsecond / MICRO)
        due = h.clock.micros()  # and nobody has rung yet
        early = chance.random() < 0.5
        if not early:
            h.tick(0)
            assert entries(h, task_id).count(due) == 1
        action = chance.choice([edited, rescheduled, disabled, renamed, deleted, put_back_twice])
        task = action(h, task_id, task, f"of turn {turn}")
        h.tick(chance.random())
        times = entries(h, task_id).count(due)
        assert times == 1 if not early or action in (edited, renamed) else times <= 1, (turn, action)
        for number in list(h.backend.active):
            h.backend.end(number)
        h.settle()
    found = entries(h, task_id)
    assert len(set(found)) == len(found) > 100
    with h.database.read() as connection:
        query = text(
            "SELECT logical_time FROM executions WHERE trigger_type = 'schedule' GROUP BY 1 HAVING count(*) > 1"
        )
        assert connection.execute(query).all() == []


def edited(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    task = replace(task, description=note)
    h.define(task, path="one.yaml")
    return task


def rescheduled(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    before = task.schedule and task.schedule.rules[0].cron
    cron = "0-59 * * * *" if before == "* * * * *" else "* * * * *"
    return edited(h, task_id, replace(task, schedule=Schedule(rules=(Rule(cron=cron),))), note)


def disabled(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    h.operations.disable(task_id, actor="me")
    before = entries(h, task_id)
    h.tick(0.1)
    assert entries(h, task_id) == before, "what is disabled does not fire"
    h.operations.enable(task_id, actor="me")
    return task


def renamed(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    h.operations.rename(task_id, note)
    h.operations.rename(task_id, "one")
    return task


def deleted(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    h.operations.register([], ["one.yaml"])
    before = entries(h, task_id)
    h.tick(0)
    h.tick(0.1)
    assert entries(h, task_id) == before, "what is gone does not fire"
    assert h.define(task, path="one.yaml") == [task_id]
    return task


def put_back_twice(h: Swift, task_id: int, task: TaskDef, note: str) -> TaskDef:
    for _ in range(2):
        h.operations.register([], ["one.yaml"])
        assert h.define(task, path="one.yaml") == [task_id]
    return task


@pytest.mark.parametrize("change", [rescheduled, disabled, deleted, put_back_twice])
def test_what_was_due_a_moment_before_a_change_has_fired_or_has_an_entry_that_says_why_not(
    h: Swift, change: Callable[[Swift, int, TaskDef, str], TaskDef]
) -> None:
    """The bell may ring late: a few milliseconds on a busy machine, minutes while the database is away."""
    task = command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW)
    [task_id] = h.define(task, path="one.yaml")
    h.clock.advance(60)
    due = h.clock.micros()
    h.clock.advance(0.005)
    change(h, task_id, task, "new")
    h.tick(0)
    with h.database.read() as connection:
        query = text(
            "SELECT outcome FROM fires WHERE task_id = :id AND logical_time <= :due AND until >= :due"
        )
        assert len(connection.execute(query, {"id": task_id, "due": due}).all()) == 1
