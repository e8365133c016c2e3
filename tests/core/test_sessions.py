"""A calendar keeps a schedule to the days on which an exchange trades, and knows how far it knows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import At, Catchup, Edge, Rule, Schedule, TaskDef
from zquant_flow.core.schedule import Skip, SkipReason, Times, Timetable
from zquant_flow.core.sessions import LocalCalendar, Sessions, amended, sessions_of
from zquant_flow.testing import command_task

SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
TICK = timedelta(microseconds=1)


def ordinal(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def instant(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def sessions(
    days: list[str], *, first: str, last: str, name: str = "XSHG", zone: ZoneInfo = SHANGHAI
) -> Sessions:
    """Sessions from 09:30 to 15:00 local time."""
    ordinals = [ordinal(day) for day in days]

    def at(day: int, hour: int, minute: int) -> int:
        return to_micros(datetime.combine(date.fromordinal(day), time(hour, minute), zone).astimezone(UTC))

    return Sessions(
        name=name,
        zone=zone,
        days=tuple(ordinals),
        opens=tuple(at(day, 9, 30) for day in ordinals),
        closes=tuple(at(day, 15, 0) for day in ordinals),
        first=ordinal(first),
        last=ordinal(last),
    )


JANUARY = sessions(
    [f"2026-01-{day:02}" for day in (5, 6, 7, 8, 9, 12, 13, 14, 15, 16)],
    first="2026-01-01",
    last="2026-01-18",
)


def table(
    *rules: Rule, calendar: Sessions | None = JANUARY, zone: ZoneInfo = SHANGHAI, **rest: object
) -> Timetable:
    known = {calendar.name: calendar} if calendar is not None else {}
    schedule = Schedule(rules=rules, **rest)  # type: ignore[arg-type]
    return Times(zone=zone, calendars=known).table(schedule, instant("2026-01-01T00:00"))


def close(minutes: int = 0) -> Rule:
    return Rule(at=At(Edge.CLOSE, timedelta(minutes=minutes)), calendar="XSHG")


def test_a_cron_rule_fires_on_sessions_only() -> None:
    every_evening = table(Rule(cron="0 18 * * *", calendar="XSHG"))
    fires = list(every_evening.between(instant("2026-01-01T00:00"), instant("2026-01-31T00:00")))
    assert [fire.astimezone(SHANGHAI).day for fire in fires] == [5, 6, 7, 8, 9, 12, 13, 14, 15, 16]
    assert {fire.astimezone(SHANGHAI).hour for fire in fires} == {18}


def test_an_instant_follows_the_edge_of_each_session() -> None:
    found = table(close(30)).next(instant("2026-01-09T15:00"))
    assert found == instant("2026-01-09T15:30")
    assert table(close(30)).next(instant("2026-01-09T15:30")) == instant("2026-01-12T15:30")
    before_open = Rule(at=At(Edge.OPEN, timedelta(minutes=-15)), calendar="XSHG")
    assert table(before_open).next(instant("2026-01-09T09:20")) == instant("2026-01-12T09:15")


def test_a_session_time_past_midnight_stands_for_the_session_before() -> None:
    late = table(close(10 * 60))
    fire = late.next(instant("2026-01-09T16:00"))
    assert fire == instant("2026-01-10T01:00")
    found = sessions_of(instant("2026-01-10T01:00"), task(close(10 * 60)), {"XSHG": JANUARY})
    assert found == days("2026-01-09", "2026-01-08", "2026-01-12")


def task(*rules: Rule) -> TaskDef:
    return command_task("daily", schedule=Schedule(rules=rules) if rules else None)


def days(*texts: str | None) -> dict[str, date | None]:
    names = ("session", "previous_session", "next_session")
    return {name: date.fromisoformat(text) if text else None for name, text in zip(names, texts, strict=True)}


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-09T03:00", ("2026-01-09", "2026-01-08", "2026-01-12")),
        ("2026-01-10T12:00", (None, "2026-01-09", "2026-01-12")),
        ("2026-01-16T23:59", ("2026-01-16", "2026-01-15", None)),
        ("2026-01-05T00:00", ("2026-01-05", None, "2026-01-06")),
    ],
)
def test_an_instant_stands_for_a_session_and_between_two(
    moment: str, expected: tuple[str | None, ...]
) -> None:
    evening = task(Rule(cron="0 18 * * *", calendar="XSHG"))
    assert sessions_of(instant(moment), evening, {"XSHG": JANUARY}) == days(*expected)


def test_a_task_without_a_calendar_stands_for_no_session() -> None:
    assert sessions_of(instant("2026-01-09T03:00"), task(Rule(cron="0 18 * * *")), {"XSHG": JANUARY}) == {}
    assert sessions_of(instant("2026-01-09T03:00"), task(), {"XSHG": JANUARY}) == {}


def test_the_day_of_an_instant_is_the_date_at_the_exchange() -> None:
    friday = sessions(["2026-01-09"], first="2026-01-01", last="2026-01-18", name="XNYS", zone=NEW_YORK)
    saturday_morning = table(Rule(cron="0 6 * * 6", calendar="XNYS"), calendar=friday)
    assert saturday_morning.next(instant("2026-01-05T00:00")) == instant("2026-01-10T06:00")


def test_nothing_is_decided_beyond_what_is_known() -> None:
    every_evening = table(Rule(cron="0 18 * * *", calendar="XSHG"))
    assert every_evening.known_until == instant("2026-01-19T00:00") - TICK
    assert every_evening.next(instant("2026-01-16T18:00")) is None
    found = every_evening.due(instant("2026-01-16T17:00"), instant("2026-02-01T00:00"))
    assert found.fires == (instant("2026-01-16T18:00"),)
    assert found.cursor == every_evening.known_until
    assert found.next is None


def test_what_came_late_because_nobody_knew_follows_the_rules_for_late_fires() -> None:
    known = table(Rule(cron="0 18 * * *", calendar="XSHG"), calendar=None)
    waits = known.due(instant("2026-01-08T00:00"), instant("2026-01-10T00:00"))
    assert (waits.fires, waits.cursor) == ((), instant("2026-01-08T00:00"))
    extended = table(Rule(cron="0 18 * * *", calendar="XSHG"))
    found = extended.due(waits.cursor, instant("2026-01-10T00:00"))
    assert found.fires == (instant("2026-01-09T18:00"),)
    assert found.skipped == (
        Skip(instant("2026-01-08T18:00"), instant("2026-01-08T18:00"), SkipReason.COALESCED),
    )


def test_days_without_a_session_are_one_span() -> None:
    every_evening = table(Rule(cron="0 18 * * *", calendar="XSHG"))
    found = every_evening.due(instant("2026-01-09T18:00"), instant("2026-01-12T18:00"))
    assert found.fires == (instant("2026-01-12T18:00"),)
    assert found.skipped == (
        Skip(instant("2026-01-10T18:00"), instant("2026-01-11T18:00"), SkipReason.NOT_A_SESSION),
    )


def test_what_was_missed_is_told_apart_from_what_was_no_session() -> None:
    every_evening = table(Rule(cron="0 18 * * *", calendar="XSHG"), catchup=Catchup.NONE)
    found = every_evening.due(instant("2026-01-08T00:00"), instant("2026-01-13T12:00"))
    assert found.fires == ()
    assert [(skip.from_time.day, skip.to_time.day, skip.reason.value) for skip in found.skipped] == [
        (8, 9, "misfire"),
        (10, 11, "not_a_session"),
        (12, 12, "misfire"),
    ]


def test_two_rules_of_one_calendar_leave_one_span_for_a_weekend() -> None:
    found = table(Rule(cron="0 9 * * *", calendar="XSHG"), Rule(cron="0 18 * * *", calendar="XSHG")).due(
        instant("2026-01-09T18:00"), instant("2026-01-12T09:00")
    )
    assert found.skipped == (
        Skip(instant("2026-01-10T09:00"), instant("2026-01-11T18:00"), SkipReason.NOT_A_SESSION),
    )


def test_a_rule_without_a_calendar_fires_beside_one_that_has_one() -> None:
    both = table(Rule(cron="0 18 * * *", calendar="XSHG"), Rule(cron="0 12 * * *"))
    fires = list(both.between(instant("2026-01-09T13:00"), instant("2026-01-11T23:00")))
    assert fires == [instant("2026-01-09T18:00"), instant("2026-01-10T12:00"), instant("2026-01-11T12:00")]


def test_an_interval_goes_on_counting_over_days_without_a_session() -> None:
    every_seven_hours = table(Rule(interval=timedelta(hours=7), calendar="XSHG"))
    for fire in every_seven_hours.between(instant("2026-01-05T00:00"), instant("2026-01-17T00:00")):
        assert (fire - instant("2026-01-01T00:00")) % timedelta(hours=7) == timedelta()
        assert JANUARY.is_session(JANUARY.day_of(fire))


@given(
    rule=st.sampled_from(
        [
            Rule(cron="*/17 9-11 * * *", calendar="XSHG"),
            Rule(cron="0 0 * * *", calendar="XSHG"),
            Rule(interval=timedelta(minutes=95), calendar="XSHG"),
            close(-200),
            close(600),
            Rule(at=At(Edge.OPEN), calendar="XSHG"),
        ]
    ),
    start=st.integers(0, 18 * 86400),
    length=st.integers(0, 20 * 86400),
)
def test_next_previous_and_between_agree(rule: Rule, start: int, length: int) -> None:
    bound = table(rule)
    begin = instant("2026-01-01T00:00") + timedelta(seconds=start)
    end = begin + timedelta(seconds=length)
    fires = list(bound.between(begin, end))
    assert fires == sorted(set(fires))
    assert bound.previous(end) == (fires[-1] if fires else bound.previous(begin))
    for before, after in pairwise(fires):
        assert bound.previous(after - TICK) == before
    assert all(rule.at is not None or JANUARY.is_session(JANUARY.day_of(fire)) for fire in fires)


@given(
    cron=st.sampled_from(["*/40 * * * *", "0 18 * * *", "30 2 * * 0,3"]),
    catchup=st.sampled_from(Catchup),
    ticks=st.lists(st.integers(0, 3 * 86400), min_size=1, max_size=6),
)
def test_fires_and_spans_part_the_instants_that_the_cursor_passes(
    cron: str, catchup: Catchup, ticks: list[int]
) -> None:
    kept = table(Rule(cron=cron, calendar="XSHG"), catchup=catchup, catchup_limit=5)
    free = table(Rule(cron=cron), catchup=catchup)
    cursor = begin = instant("2026-01-02T00:00")
    seen: list[datetime] = []
    for tick in ticks:
        found = kept.due(cursor, cursor + timedelta(seconds=tick))
        seen += found.fires
        for skip in found.skipped:
            raw = skip.reason is SkipReason.NOT_A_SESSION
            seen += (free if raw else kept).between(skip.from_time - TICK, skip.to_time)
        cursor = found.cursor
    assert sorted(seen) == list(free.between(begin, cursor))


def test_a_local_file_extends_and_amends() -> None:
    local = LocalCalendar(
        holidays=frozenset(range(ordinal("2026-01-26"), ordinal("2026-01-30"))),
        sessions=frozenset({ordinal("2026-01-24")}),
        early_closes={ordinal("2026-01-23"): time(11, 30)},
        late_opens={ordinal("2026-01-22"): time(10)},
        until=ordinal("2026-01-31"),
    )
    found = amended("XSHG", JANUARY, local, first=0, last=0)
    new = [date.fromordinal(day).day for day in found.days if day > ordinal("2026-01-18")]
    assert new == [19, 20, 21, 22, 23, 24, 30]
    rule = close(30)
    bound = table(rule, calendar=found)
    assert bound.next(instant("2026-01-23T00:00")) == instant("2026-01-23T12:00")
    assert bound.next(instant("2026-01-24T00:00")) == instant("2026-01-24T15:30")
    assert bound.next(instant("2026-01-24T16:00")) == instant("2026-01-30T15:30")
    opens = table(Rule(at=At(Edge.OPEN), calendar="XSHG"), calendar=found)
    assert opens.next(instant("2026-01-22T00:00")) == instant("2026-01-22T10:00")


def test_a_calendar_of_ones_own_may_trade_past_midnight() -> None:
    local = LocalCalendar(
        early_closes={},
        late_opens={},
        zone=SHANGHAI,
        open=time(21),
        close=time(2, 30),
        weekdays=frozenset({0}),
    )
    found = amended("night", None, local, first=ordinal("2026-01-01"), last=ordinal("2026-01-31"))
    assert [date.fromordinal(day).day for day in found.days] == [5, 12, 19, 26]
    after = Rule(at=At(Edge.CLOSE), calendar="night")
    assert table(after, calendar=found).next(instant("2026-01-05T00:00")) == instant("2026-01-06T02:30")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (At(Edge.CLOSE), "close"),
        (At(Edge.CLOSE, timedelta(minutes=30)), "close+30m"),
        (At(Edge.OPEN, timedelta(minutes=-90)), "open-90m"),
        (At(Edge.OPEN, timedelta(hours=2)), "open+2h"),
        (At(Edge.OPEN, timedelta(seconds=1.5)), "open+1.5s"),
    ],
)
def test_a_session_time_reads_as_it_is_written(at: At, text: str) -> None:
    assert str(at) == text
