"""A long row of instants, made day by day, is the one that searching for each would find."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_cron import CHANGES, EXPRESSIONS
from tests.core.test_sessions import JANUARY
from zquant_flow.core.cron import next_after, parse_cron
from zquant_flow.core.cron_days import count_between, matches_between
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import At, Edge, Rule, Schedule
from zquant_flow.core.schedule import Times, Timetable

DAY = timedelta(days=1)
SPECIAL = st.sampled_from(
    [
        "0 2 L * *",
        "30 1 * * 5#2",
        "0 0 * * L5",
        "15 2 L * 1",
        "0 18 1-7 * */2",
        "5,59 23 */2 * *",
        "0 0 1 1 *",
    ]
)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def searched(text: str, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[int]:
    fire = next_after(parse_cron(text), start, zone)
    while fire is not None and fire <= end:
        yield to_micros(fire)
        fire = next_after(parse_cron(text), fire, zone)


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.one_of(EXPRESSIONS, SPECIAL),
    st.integers(-3 * 86_400_000_000, 3 * 86_400_000_000),
    st.integers(0, 5 * 86_400_000_000),
)
def test_matches_made_day_by_day_are_those_of_the_search(
    change: tuple[str, str], text: str, shift: int, length: int
) -> None:
    zone = ZoneInfo(change[0])
    start = datetime.fromisoformat(change[1]).replace(tzinfo=UTC) + timedelta(microseconds=shift)
    end = start + timedelta(microseconds=length)
    expected = list(searched(text, start, end, zone))
    span = (to_micros(start), to_micros(end), zone)
    assert list(matches_between(parse_cron(text), *span)) == expected
    assert count_between(parse_cron(text), *span) == len(expected)


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "30 23 L * *", "0 0 * * 1#1", "*/40 * 1 * *", "59 59 23 * * *"]
)
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia", "America/Sao_Paulo", "Asia/Tehran"])
def test_so_are_those_of_years(zone: str, text: str) -> None:
    start, end = datetime(2010, 12, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC)
    found = matches_between(parse_cron(text), to_micros(start), to_micros(end), ZoneInfo(zone))
    assert list(found) == list(searched(text, start, end, ZoneInfo(zone)))


def test_the_ends_of_the_calendar_are_searched() -> None:
    for start in (datetime(1, 1, 1, tzinfo=UTC), datetime(9995, 12, 1, tzinfo=UTC)):
        end = start + 60 * DAY
        found = list(
            matches_between(parse_cron("0 12 * * *"), to_micros(start), to_micros(end), ZoneInfo("UTC"))
        )
        assert found == list(searched("0 12 * * *", start, end, ZoneInfo("UTC")))


RULES = st.lists(
    st.one_of(
        EXPRESSIONS.map(lambda text: Rule(cron=text)),
        EXPRESSIONS.map(lambda text: Rule(cron=text, calendar="XSHG")),
        st.integers(1, 90_000).map(lambda seconds: Rule(interval=timedelta(seconds=seconds))),
        st.integers(7, 90_000).map(lambda s: Rule(interval=timedelta(seconds=s), calendar="XSHG")),
        st.integers(0, 20).map(lambda day: Rule(run_at=BEGIN + day * DAY)),
        st.integers(-900, 900).map(
            lambda minutes: Rule(at=At(Edge.CLOSE, timedelta(minutes=minutes)), calendar="XSHG")
        ),
    ),
    min_size=1,
    max_size=3,
)


def one_by_one(table: Timetable, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    while (fire := table.next(after)) is not None and fire <= until:
        found.append(fire)
        after = fire
    return found


@settings(max_examples=120, deadline=None)
@given(
    RULES,
    st.none() | st.integers(0, 200),
    st.none() | st.integers(0, 400),
    st.integers(-50, 300),
    st.integers(0, 40),
)
def test_a_timetable_has_the_same_instants_whichever_way_they_are_made(
    rules: list[Rule], start_at: int | None, end_at: int | None, begin: int, hours: int
) -> None:
    def at(hour: int | None) -> datetime | None:
        return None if hour is None else BEGIN + timedelta(hours=hour)

    schedule = Schedule(rules=tuple(rules), start_at=at(start_at), end_at=at(end_at))
    table = Times(zone=ZoneInfo("Europe/London"), calendars={"XSHG": JANUARY}).table(schedule, BEGIN)
    after = BEGIN + timedelta(hours=begin)
    until = after + timedelta(hours=hours)
    expected = one_by_one(table, after, until)
    span = to_micros(after), to_micros(until)
    assert list(map(from_micros, table.instants(*span))) == expected
    assert list(table.between(after, until)) == expected
    assert table.count(*span) == len(expected)


def test_a_year_of_minutes_is_made_and_counted_without_a_search_for_each() -> None:
    table = Times(zone=ZoneInfo("America/New_York")).table(Schedule(rules=(Rule(cron="* * * * *"),)), BEGIN)
    found = list(table.between(BEGIN, BEGIN + 365 * DAY))
    assert len(found) == 525_600
    assert found == [BEGIN + timedelta(minutes=number) for number in range(1, 525_601)]
    every_second = Times(zone=ZoneInfo("UTC")).table(
        Schedule(rules=(Rule(interval=timedelta(seconds=1)),)), BEGIN
    )
    assert every_second.count(to_micros(BEGIN), to_micros(BEGIN + 365 * DAY)) == 31_536_000
