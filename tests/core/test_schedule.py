"""Every instant of a schedule becomes one fire or part of one skip, however late it is found."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zquant_flow.core import schedule as core
from zquant_flow.core.model import Catchup, Rule, Schedule
from zquant_flow.core.schedule import Due, Skip, SkipReason, Times, Timetable
from zquant_flow.errors import ScheduleError

ZULU = ZoneInfo("UTC")
ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def of(*rules: Rule, **rest: object) -> Schedule:
    return Schedule(rules=rules, **rest)  # type: ignore[arg-type]


def table(schedule: Schedule, zone: ZoneInfo = ZULU) -> Timetable:
    return Times(zone=zone).table(schedule, ANCHOR)


def following(schedule: Schedule, after: datetime, count: int, zone: ZoneInfo = ZULU) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        fire = table(schedule, zone).next(after)
        if fire is None:
            break
        assert table(schedule, zone).previous(fire) == fire
        found.append(f"{fire:%d %H:%M:%S}")
        after = fire
    return found


def sort(schedule: Schedule, cursor: datetime, now: datetime, zone: ZoneInfo = ZULU) -> Due:
    return table(schedule, zone).due(cursor, now)


def test_an_interval_counts_from_its_anchor_and_first_fires_one_interval_later() -> None:
    every = of(Rule(interval=seconds(90)))
    assert following(every, ANCHOR - timedelta(days=9), 2) == ["01 00:01:30", "01 00:03:00"]
    assert following(every, ANCHOR, 1) == ["01 00:01:30"]
    assert following(every, at("01T00:01:30"), 1) == ["01 00:03:00"]
    assert following(every, at("01T00:01:29"), 1) == ["01 00:01:30"]
    assert table(every).previous(at("01T00:01:29")) is None


def test_an_interval_is_elapsed_time_across_a_clock_change() -> None:
    schedule = of(Rule(interval=timedelta(hours=12)), start_at=datetime(2026, 3, 7, 17, tzinfo=UTC))
    newyork = ZoneInfo("America/New_York")  # 12:00; the clock goes from 02:00 to 03:00 in the night
    assert following(schedule, ANCHOR, 2, newyork) == ["08 05:00:00", "08 17:00:00"]


def test_an_interval_does_not_drift() -> None:
    third = of(Rule(interval=timedelta(microseconds=1_333_333)))
    far = table(third).next(ANCHOR + timedelta(days=3650))
    assert far is not None
    assert (far - ANCHOR) % timedelta(microseconds=1_333_333) == timedelta()


def test_an_interval_longer_than_the_calendar_never_fires() -> None:
    assert following(of(Rule(interval=timedelta(days=9_000_000))), ANCHOR, 1) == []
    assert following(of(Rule(interval=timedelta.max)), ANCHOR, 1) == []


def test_start_at_is_the_anchor_and_both_bounds_are_inside() -> None:
    hourly = of(Rule(interval=seconds(3600)), start_at=at("02T00:30"), end_at=at("02T02:30"))
    assert following(hourly, ANCHOR, 9) == ["02 01:30:00", "02 02:30:00"]
    cron = of(Rule(cron="30 * * * *"), start_at=at("02T00:30"), end_at=at("02T02:30"))
    assert following(cron, ANCHOR, 9) == ["02 00:30:00", "02 01:30:00", "02 02:30:00"]
    assert table(cron).previous(at("09T00:00")) == at("02T02:30")
    assert table(cron).previous(at("02T00:29")) is None


def test_run_at_fires_once() -> None:
    once = of(Rule(run_at=at("05T10:00")))
    assert following(once, ANCHOR, 9) == ["05 10:00:00"]
    assert following(once, at("05T10:00"), 9) == []
    assert table(once).previous(at("05T09:59")) is None


def test_several_rules_due_at_one_instant_are_one_fire() -> None:
    schedule = of(Rule(cron="0 10 * * *"), Rule(cron="0 */5 * * *"), Rule(run_at=at("01T10:00")))
    assert following(schedule, at("01T04:00"), 3) == ["01 05:00:00", "01 10:00:00", "01 15:00:00"]


def test_the_zone_of_the_schedule_wins_over_the_default() -> None:
    shanghai = of(Rule(cron="0 18 * * *"), timezone="Asia/Shanghai")
    assert following(shanghai, ANCHOR, 1, ZoneInfo("America/New_York")) == ["01 10:00:00"]
    assert following(of(Rule(cron="0 18 * * *")), ANCHOR, 1, ZoneInfo("Asia/Shanghai")) == ["01 10:00:00"]


def test_answers_are_in_utc_whatever_the_question_was_in() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    schedule = of(Rule(run_at=datetime(2026, 1, 5, 18, tzinfo=shanghai)), Rule(interval=timedelta(days=2)))
    result = sort(schedule, ANCHOR.astimezone(shanghai), at("05T10:01").astimezone(shanghai))
    assert result.fires == (at("05T10:00"),)
    assert {fire.tzinfo for fire in (*result.fires, result.cursor, result.next) if fire} == {UTC}


NONE, LATEST, ALL = Catchup.NONE, Catchup.LATEST, Catchup.ALL
MISFIRE, COALESCED = SkipReason.MISFIRE, SkipReason.COALESCED


@pytest.mark.parametrize(
    ("catchup", "now", "fires", "skipped"),
    # hourly; the cursor is at 10:00, which has fired; 300 s of grace; at most 2 of the late ones
    [
        (NONE, "10:59:59", [], []),
        (NONE, "11:00:00", ["11:00"], []),
        (NONE, "11:05:00", ["11:00"], []),  # exactly the grace late is on time
        (NONE, "11:05:01", [], [("11:00", "11:00", MISFIRE)]),
        (NONE, "13:01:00", ["13:00"], [("11:00", "12:00", MISFIRE)]),
        (NONE, "13:30:00", [], [("11:00", "13:00", MISFIRE)]),
        (LATEST, "11:05:00", ["11:00"], []),
        (LATEST, "11:05:01", ["11:00"], []),
        (LATEST, "12:30:00", ["12:00"], [("11:00", "11:00", COALESCED)]),
        (LATEST, "13:01:00", ["13:00"], [("11:00", "12:00", COALESCED)]),
        (LATEST, "15:30:00", ["15:00"], [("11:00", "14:00", COALESCED)]),
        (ALL, "11:05:01", ["11:00"], []),
        (ALL, "12:30:00", ["11:00", "12:00"], []),
        (ALL, "13:30:00", ["11:00", "12:00"], [("13:00", "13:00", MISFIRE)]),
        (ALL, "15:01:00", ["11:00", "12:00", "15:00"], [("13:00", "14:00", MISFIRE)]),
    ],
)
def test_late_fires_follow_catchup(
    catchup: Catchup, now: str, fires: list[str], skipped: list[tuple[str, str, SkipReason]]
) -> None:
    schedule = of(Rule(cron="0 * * * *"), catchup=catchup, catchup_limit=2)
    result = sort(schedule, at("05T10:00"), at(f"05T{now}"))
    assert result.fires == tuple(at(f"05T{fire}") for fire in fires)
    assert result.skipped == tuple(Skip(at(f"05T{a}"), at(f"05T{b}"), reason) for a, b, reason in skipped)
    assert result.cursor == at(f"05T{now}")
    assert result.next == result.cursor.replace(minute=0, second=0) + seconds(3600)


def test_every_instant_within_the_grace_fires() -> None:
    result = sort(of(Rule(interval=seconds(1))), at("02T00:00"), at("02T01:00"))
    assert len(result.fires) == 301  # 00:55:00 is exactly 300 s late
    assert result.fires[0] == at("02T00:55")
    assert result.skipped == (Skip(at("02T00:00:01"), at("02T00:54:59"), COALESCED),)


def test_without_grace_only_the_instant_itself_is_on_time() -> None:
    schedule = of(Rule(cron="0 * * * *"), catchup=NONE, misfire_grace=timedelta())
    assert sort(schedule, at("05T10:30"), at("05T11:00")).fires == (at("05T11:00"),)
    assert sort(schedule, at("05T10:30"), at("05T11:00") + TICK).fires == ()


def test_a_limit_of_zero_catches_up_with_none() -> None:
    schedule = of(Rule(cron="0 * * * *"), catchup=ALL, catchup_limit=0)
    result = sort(schedule, at("05T10:00"), at("05T13:30"))
    assert (result.fires, result.skipped) == ((), (Skip(at("05T11:00"), at("05T13:00"), MISFIRE),))


def test_only_instants_after_the_cursor_count() -> None:
    schedule = of(Rule(cron="0 * * * *"))
    assert sort(schedule, at("05T11:00"), at("05T11:01")).fires == ()
    assert sort(schedule, at("05T11:00") - TICK, at("05T11:01")).fires == (at("05T11:00"),)


def test_a_cursor_ahead_of_now_fires_nothing_and_stays() -> None:
    result = sort(of(Rule(cron="0 * * * *")), at("05T11:00"), at("05T09:00"))
    assert (result.fires, result.skipped) == ((), ())
    assert (result.cursor, result.next) == (at("05T11:00"), at("05T12:00"))


def test_the_last_fire_of_a_schedule_leaves_no_next() -> None:
    result = sort(of(Rule(run_at=at("05T10:00"))), ANCHOR, at("05T10:00"))
    assert (result.fires, result.next) == ((at("05T10:00"),), None)
    assert sort(of(Rule(run_at=at("05T10:00")), catchup=NONE), ANCHOR, at("09T00:00")).skipped == (
        Skip(at("05T10:00"), at("05T10:00"), MISFIRE),
    )


RULES = st.lists(
    st.one_of(
        st.sampled_from(["*/7 * * * *", "0 * * * *", "30 1,2 * * *", "15-45/10 */3 * * *"]).map(
            lambda c: Rule(cron=c)
        ),
        st.integers(120, 9000).map(lambda s: Rule(interval=seconds(s))),
        st.integers(0, 60 * 60 * 48).map(
            lambda s: Rule(run_at=datetime(2026, 3, 7, tzinfo=UTC) + seconds(s))
        ),
    ),
    min_size=1,
    max_size=3,
)


def _within(instants: Iterable[datetime], skip: Skip) -> set[datetime]:
    inside = {instant for instant in instants if skip.from_time <= instant <= skip.to_time}
    assert {skip.from_time, skip.to_time} <= inside, "the ends of a skip are instants themselves"
    return inside


@settings(max_examples=200, deadline=None)
@given(
    rules=RULES,
    catchup=st.sampled_from(Catchup),
    limit=st.integers(0, 5),
    grace=st.integers(0, 4000),
    ticks=st.lists(st.integers(0, 60 * 60 * 24), min_size=1, max_size=5),
)
def test_fires_and_skips_part_the_instants_between_the_cursors(
    rules: list[Rule], catchup: Catchup, limit: int, grace: int, ticks: list[int]
) -> None:
    zone, start = ZoneInfo("America/New_York"), datetime(2026, 3, 7, tzinfo=UTC)
    schedule = of(*rules, catchup=catchup, catchup_limit=limit, misfire_grace=seconds(grace))
    bound = Times(zone=zone).table(schedule, start)
    end = start + seconds(sum(ticks))
    instants = list(bound.between(start, end))
    assert instants == sorted(set(instants))
    cursor, seen = start, list[datetime]()
    for tick in ticks:
        now = cursor + seconds(tick)
        result = bound.due(cursor, now)
        assert all(cursor < fire <= now for fire in result.fires)
        assert list(result.fires) == sorted(result.fires)
        assert set(result.fires) >= {t for t in instants if cursor < t <= now and now - t <= seconds(grace)}
        seen += [*result.fires, *(t for skip in result.skipped for t in _within(instants, skip))]
        cursor = result.cursor
    assert cursor == end
    assert sorted(seen) == instants


@pytest.mark.parametrize(
    "rule", [Rule(cron="* * * * *"), Rule(interval=seconds(1)), Rule(cron="* * * * * *")]
)
@pytest.mark.parametrize("catchup", Catchup)
def test_two_years_away_cost_no_more_than_a_moment(rule: Rule, catchup: Catchup) -> None:
    schedule = of(rule, catchup=catchup)
    started = time.perf_counter()
    result = sort(schedule, ANCHOR, ANCHOR + timedelta(days=730), ZoneInfo("America/New_York"))
    assert time.perf_counter() - started < 0.05
    late = 100 if catchup is ALL else 0
    assert len(result.fires) == late + (6 if rule.cron == "* * * * *" else 301)
    assert len(result.skipped) == 1


@pytest.mark.parametrize(
    ("schedule", "words", "field"),
    [
        (of(), "no rule", ""),
        (of(Rule()), "exactly one of", ""),
        (of(Rule(cron="* * * * *", interval=seconds(5))), "exactly one of", ""),
        (of(Rule(interval=seconds(0))), "interval 0 s is not positive", "interval"),
        (of(Rule(interval=seconds(-5))), "interval -5 s is not positive", "interval"),
        (of(Rule(interval=seconds(0.5))), "interval 0.5 s is under 1 s", "interval"),
        (of(Rule(cron="61 * * * *")), "minute 61", "cron"),
        (of(Rule(cron="0 0 30 2 *")), "never fires", "cron"),
        (
            of(Rule(cron="* 2 8-14 3 */7"), timezone="America/New_York"),
            "never fires in America/New_York",
            "cron",
        ),
        (of(Rule(cron="* * * * *"), timezone="Mars/Olympus"), "Mars/Olympus", "timezone"),
        (of(Rule(cron="* * * * *"), timezone="../etc/passwd"), "tz database", "timezone"),
        (of(Rule(cron="* * * * *"), timezone=""), "tz database", "timezone"),
        (of(Rule(cron="* * * * *"), timezone="America"), "tz database", "timezone"),
        (of(Rule(cron="* * * * *"), start_at=at("02"), end_at=at("01")), "end_at", "end_at"),
        (of(Rule(cron="* * * * *"), start_at=datetime(2026, 1, 1)), "no zone", "start_at"),
        (of(Rule(cron="0 0 1 6 *"), start_at=at("02"), end_at=at("09")), "never fires between", "end_at"),
        (of(Rule(run_at=datetime(2026, 1, 1))), "no zone", "run_at"),
        (of(Rule(run_at=at("01")), start_at=at("02")), "before start_at", "run_at"),
        (of(Rule(run_at=at("09")), end_at=at("02")), "after end_at", "run_at"),
        (of(Rule(cron="* * * * *"), misfire_grace=seconds(-1)), "misfire_grace_time", "misfire_grace_time"),
        (of(Rule(cron="* * * * *"), catchup_limit=-1), "catchup_limit", "catchup_limit"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(schedule: Schedule, words: str, field: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        core.validate(schedule, ZULU)
    assert words in caught.value.detail
    assert caught.value.field == field


def test_common_schedules_are_valid() -> None:
    core.validate(of(Rule(cron="0 0 29 2 *"), Rule(interval=seconds(1)), Rule(run_at=at("01"))), ZULU)
    core.validate(of(Rule(cron="@daily"), timezone="Asia/Shanghai", start_at=at("02"), end_at=at("03")), ZULU)
