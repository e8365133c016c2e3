"""Any cron expression, day by day over years: a second oracle, which shares nothing with `core.cron` nor with any library.

`test_cron` has Debian's clock changes minute by minute; this one has what an expression may say at all: names, lists, ranges,
steps, `L`, `#`, `?`, both day fields, six fields, years with and without a leap day.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from zquant_flow.core.cron import Cron, next_after, parse_cron
from zquant_flow.errors import ScheduleError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAYS = 3 * 366
"""How far the oracle looks."""


# ── what one may write ──────────────────────────────────────────────────────────────────────────────────────────────


def plain(low: int, high: int) -> st.SearchStrategy[str]:
    """Numbers, ranges and steps of one field, and lists of them."""
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(span | st.just("*"), st.integers(1, high + 3)).map(
        lambda pair: f"{pair[0]}/{pair[1]}"
    )
    item = number.map(str) | span | stepped
    return st.just("*") | st.lists(item, min_size=1, max_size=3).map(",".join)


months = plain(1, 12) | st.sampled_from(MONTHS) | st.sampled_from(["Feb", "mar-JUN", "jan,jul", "9-nov"])
days = plain(1, 31) | st.sampled_from(["L", "15,L", "?", "31", "29-31", "30"])
weekdays = (
    plain(0, 7)
    | st.sampled_from(WEEKDAYS)
    | st.sampled_from(["mon-fri", "?", "7", "sat,sun", "5L", "L1", "fri#2", "1#1,3#5", "tue#4", "5-7", "0#1"])
)
expressions = st.tuples(plain(0, 59), plain(0, 23), days, months, weekdays).map(" ".join)


# ── what it means ───────────────────────────────────────────────────────────────────────────────────────────────────


def numbers(field: str, low: int, high: int, names: tuple[str, ...] = (), first: int = 0) -> set[int]:
    """The values of a field without L and #."""
    found: set[int] = set()
    for item in field.lower().split(","):
        span, _, step = item.partition("/")
        begin, _, end = (f"{low}-{high}" if span in ("*", "?") else span).partition("-")
        ends = [names.index(word) + first if word in names else int(word) for word in (begin, end or begin)]
        found |= set(range(ends[0], ends[1] + 1, int(step or 1)))
    return found


def month_day(field: str, day: date) -> bool:
    """Whether the third field has this day."""
    last = calendar.monthrange(day.year, day.month)[1]
    words = field.upper().split(",")
    rest = ",".join(word for word in words if word != "L")
    return ("L" in words and day.day == last) or (bool(rest) and day.day in numbers(rest, 1, 31))


def week_day(field: str, day: date) -> bool:
    """Whether the fifth field has this day."""
    own, last = day.isoweekday() % 7, calendar.monthrange(day.year, day.month)[1]
    plain_words = []
    for word in field.lower().split(","):
        if "#" in word:
            name, _, nth = word.partition("#")
            if own in _as_weekdays(name) and (day.day - 1) // 7 + 1 == int(nth):
                return True
        elif "l" in word and word not in WEEKDAYS:
            if own in _as_weekdays(word.replace("l", "")) and day.day + 7 > last:
                return True
        else:
            plain_words.append(word)
    return bool(plain_words) and own in _as_weekdays(",".join(plain_words))


def _as_weekdays(field: str) -> set[int]:
    return {value % 7 for value in numbers(field, 0, 7 if "7" in field else 6, WEEKDAYS)}


def on_day(fields: list[str], day: date) -> bool:
    """Debian's rule: a day field that starts with a star makes both match; else either is enough."""
    if day.month not in numbers(fields[3], 1, 12, MONTHS, 1):
        return False
    both = any(field.startswith(("*", "?")) for field in (fields[2], fields[4]))
    found = (month_day(fields[2], day), week_day(fields[4], day))
    return all(found) if both else any(found)


def oracle(text: str, begin: datetime) -> list[datetime]:
    """The fires of three years after `begin`, at most forty."""
    fields = text.split()
    minutes, hours = sorted(numbers(fields[0], 0, 59)), sorted(numbers(fields[1], 0, 23))
    matching = (
        day
        for day in (begin.date() + timedelta(days=number) for number in range(DAYS))
        if on_day(fields, day)
    )
    moments = (
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
        for day in matching
        for hour in hours
        for minute in minutes
    )
    return list(islice((moment for moment in moments if moment > begin), 40))


def read(text: str) -> tuple[Cron | None, str]:
    """The expression, or why it is refused."""
    try:
        return parse_cron(text), ""
    except ScheduleError as fault:
        return None, fault.detail


@settings(max_examples=150, deadline=None)
@given(expressions, st.datetimes(datetime(1999, 1, 1), datetime(2096, 1, 1)))
def test_the_fires_of_any_expression_are_those_of_the_calendar(text: str, begin: datetime) -> None:
    instant = begin.replace(tzinfo=UTC)
    expected = oracle(text, instant)
    cron, refusal = read(text)
    if cron is None:
        assert "never fires" in refusal
        assert expected == []
        return
    found, moment = [], instant
    for _ in expected:
        fire = next_after(cron, moment, ZoneInfo("UTC"))
        assert fire is not None
        found.append(fire)
        moment = fire
    assert found == expected
    if not expected:
        later = next_after(cron, instant, ZoneInfo("UTC"))
        assert later is None or later >= instant + timedelta(days=DAYS - 1)


@settings(max_examples=60, deadline=None)
@given(plain(0, 59), expressions)
def test_seconds_come_first_and_divide_the_minutes_of_the_other_five(seconds: str, text: str) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    minutes = oracle(text, begin)[:2]
    if not minutes:
        return
    expected = [
        minute + timedelta(seconds=second) for minute in minutes for second in sorted(numbers(seconds, 0, 59))
    ]
    cron, moment, found = parse_cron(f"{seconds} {text}"), begin, []
    for _ in expected:
        fire = next_after(cron, moment, ZoneInfo("UTC"))
        assert fire is not None
        found.append(fire)
        moment = fire
    assert found == expected
