"""When does a cron expression match, by the rules of Debian's cron?

croniter expands the fields; star rule, ranges and clock changes follow Debian's cron 3.0pl1, crontab(5) and cron(8).
A search steps over the days of the local wall clock and converts one candidate, because stepping in real time from
fire to fire goes wrong where the clock changes.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from zquant_flow.core.cron_fields import LAST, Refused, expand_field, split_fields
from zquant_flow.errors import ScheduleError
from zquant_flow.wording import say, spoken

_SECOND = timedelta(seconds=1)
_JOINED_BELOW = timedelta(hours=3)  # cron(8): a longer change is "the new time is used immediately"
_EARLIEST, _LATEST = datetime(3, 1, 1, tzinfo=UTC), datetime(9997, 1, 1, tzinfo=UTC)
_MONTHS_OF_A_CYCLE = 400 * 12  # the Gregorian calendar repeats, weekdays included
_GAPS_TO_TRY = 100  # a job that falls into this many gaps in a row lives in the gap


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression, expanded. Weekdays: 0 = Sunday to 6.

    `nth_weekdays` holds `(weekday, n)`, n from 1 to 5 or `LAST`. A `star` flag says that the field starts with `*`.
    """

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    last_day: bool
    nth_weekdays: tuple[tuple[int, int], ...]
    minute_star: bool
    hour_star: bool
    day_star: bool
    weekday_star: bool
    # The same values as bits: "the next set bit" is what every search asks for.
    _seconds: int = field(init=False, repr=False, compare=False)
    _minutes: int = field(init=False, repr=False, compare=False)
    _hours: int = field(init=False, repr=False, compare=False)
    _days: int = field(init=False, repr=False, compare=False)
    _months: int = field(init=False, repr=False, compare=False)
    _weeks: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("seconds", "minutes", "hours", "days", "months"):
            object.__setattr__(self, f"_{name}", _bits(getattr(self, name)))
        weeks = _bits(day + 7 * week for week in range(6) for day in self.weekdays)
        object.__setattr__(self, "_weeks", weeks)

    @property
    def wildcard(self) -> bool:
        """Does the job follow real time through a clock change? cron(8): `*` in the hour or minute specifier."""
        return self.minute_star or self.hour_star


@lru_cache(maxsize=16384)
def parse_cron(text: str) -> Cron:
    """Reads 5 fields, 6 with the seconds first, or a nickname such as `@daily`.

    Raises ScheduleError that names the field and the way out, also for what never fires (`0 0 30 2 *`).
    """
    try:
        parts = split_fields(text)
        fields = {name: expand_field(name, part, "second" in parts) for name, part in parts.items()}
    except Refused as refused:
        raise ScheduleError(
            say("cron '{text}': {why}", text=text[:100], why=spoken(refused)), field="cron"
        ) from refused
    stars = {name: part[0] in "*?" for name, part in parts.items()}
    cron = Cron(
        text=text,
        seconds=fields["second"].values if "second" in fields else (0,),
        minutes=fields["minute"].values,
        hours=fields["hour"].values,
        days=fields["day"].values,
        months=fields["month"].values,
        weekdays=fields["weekday"].values,
        last_day=fields["day"].last_day,
        nth_weekdays=fields["weekday"].nth,
        minute_star=stars["minute"],
        hour_star=stars["hour"],
        day_star=stars["day"],
        weekday_star=stars["weekday"],
    )
    if _day_from(cron, 2000, 1, 1) is None:
        raise ScheduleError(
            say("cron '{text}' never fires: its months have no such day", text=text), field="cron"
        )
    return cron


def next_after(cron: Cron, instant: datetime, zone: ZoneInfo) -> datetime | None:
    """The first fire strictly later than `instant`, in UTC; None if there is none, as from the year 9997 on."""
    if instant >= _LATEST:
        return None
    wall, shift, second_pass = _wall(instant, zone)
    begin = wall + _SECOND
    if shift is not None and cron.wildcard:
        first, second = (shift.before, begin), (shift.after, begin if second_pass else shift.start)
        for offset, start in (second,) if second_pass else (first, second):
            found = _wall_from(cron, start)
            if found is not None and found < shift.end:
                return _utc(found - offset)
        begin = shift.end
    elif shift is not None and second_pass:
        begin = shift.end
    return _first_from(cron, begin, zone)


def previous_at_or_before(cron: Cron, instant: datetime, zone: ZoneInfo) -> datetime | None:
    """The newest fire not later than `instant`, in UTC; None if there is none. Costs what `next_after` costs."""
    wall, shift, second_pass = _wall(instant, zone)
    begin = wall
    if shift is not None and cron.wildcard:
        first, second = (shift.before, shift.end - _SECOND if second_pass else begin), (shift.after, begin)
        for offset, start in (second, first) if second_pass else (first,):
            found = _wall_until(cron, start)
            if found is not None and found >= shift.start:
                return _utc(found - offset)
        begin = shift.start - _SECOND
    elif shift is not None and second_pass:
        begin = shift.end - _SECOND
    return _last_until(cron, begin, zone)


def _first_from(cron: Cron, begin: datetime, zone: ZoneInfo) -> datetime | None:
    for _ in range(_GAPS_TO_TRY):
        wall = _wall_from(cron, begin)
        if wall is None:
            return None
        shift = _shift_at(wall, zone)
        if shift is None or not shift.is_gap:
            return _utc(wall - _offset(wall, zone))
        if shift.joins and not cron.wildcard:
            return _utc(shift.instant)
        begin = shift.end
    return None


def _last_until(cron: Cron, begin: datetime, zone: ZoneInfo) -> datetime | None:
    for _ in range(_GAPS_TO_TRY):
        wall = _wall_until(cron, begin)
        if wall is None:
            return None
        shift = _shift_at(wall, zone)
        if shift is None or not shift.is_gap:
            # Only a wildcard job has a second pass, and that one is the newer.
            return _utc(wall - (shift.after if shift and cron.wildcard else _offset(wall, zone)))
        if shift.joins and not cron.wildcard:
            return _utc(shift.instant)
        begin = shift.start - _SECOND
    return None


class _Shift(NamedTuple):
    """A change of the zone's offset at `instant` (UTC, naive): the wall times [start, end) are skipped or repeated."""

    instant: datetime
    before: timedelta
    after: timedelta

    @property
    def is_gap(self) -> bool:
        return self.after > self.before

    @property
    def joins(self) -> bool:
        return self.after - self.before < _JOINED_BELOW

    @property
    def start(self) -> datetime:
        return self.instant + min(self.before, self.after)

    @property
    def end(self) -> datetime:
        return self.instant + max(self.before, self.after)


def _wall(instant: datetime, zone: ZoneInfo) -> tuple[datetime, _Shift | None, bool]:
    """The wall clock at `instant`, cut to the second; the repeated hour it stands in, if any; whether in its second pass."""
    local = min(max(instant, _EARLIEST), _LATEST).astimezone(zone)
    wall = local.replace(tzinfo=None, microsecond=0, fold=0)
    return wall, _shift_at(wall, zone), local.fold == 1


def _shift_at(wall: datetime, zone: ZoneInfo) -> _Shift | None:
    """The change that skips or repeats this wall time, if one does (PEP 495: the two folds then differ)."""
    before, after = _offset(wall, zone), _offset(wall.replace(fold=1), zone)
    if before == after:
        return None
    low, high = (
        wall - max(before, after),
        wall - min(before, after),
    )  # the change is later than low, not than high
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        if _utc(middle).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return _Shift(high, before, after)


def _offset(wall: datetime, zone: ZoneInfo) -> timedelta:
    return zone.utcoffset(wall) or timedelta()


def _utc(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC, fold=0)


def _wall_from(cron: Cron, begin: datetime) -> datetime | None:
    """The first matching wall time that is not before `begin`."""
    today = (begin.year, begin.month, begin.day)
    day = _day_from(cron, *today)
    if day == today:
        if time := _time_from(cron, begin.hour, begin.minute, begin.second):
            return datetime(*day, *time)  # noqa: DTZ001 - a wall time has no zone
        day = _day_from(cron, begin.year, begin.month, begin.day + 1)
    return datetime(*day, cron.hours[0], cron.minutes[0], cron.seconds[0]) if day else None  # noqa: DTZ001


def _wall_until(cron: Cron, begin: datetime) -> datetime | None:
    """The newest matching wall time that is not after `begin`."""
    today = (begin.year, begin.month, begin.day)
    day = _day_until(cron, *today)
    if day == today:
        if time := _time_until(cron, begin.hour, begin.minute, begin.second):
            return datetime(*day, *time)  # noqa: DTZ001
        day = _day_until(cron, begin.year, begin.month, begin.day - 1)
    return datetime(*day, cron.hours[-1], cron.minutes[-1], cron.seconds[-1]) if day else None  # noqa: DTZ001


def _day_from(cron: Cron, year: int, month: int, day: int) -> tuple[int, int, int] | None:
    """The first matching day from this one on; `day` may be one past the end of its month."""
    for _ in range(_MONTHS_OF_A_CYCLE):
        if cron._months >> month & 1 and (found := _up(days_of(cron, year, month), day)) > 0:
            return year, month, found
        year, month, day = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        if year > _LATEST.year:
            break
    return None


def _day_until(cron: Cron, year: int, month: int, day: int) -> tuple[int, int, int] | None:
    """The newest matching day up to this one; `day` may be 0."""
    for _ in range(_MONTHS_OF_A_CYCLE):
        if cron._months >> month & 1 and (found := _down(days_of(cron, year, month), day)) > 0:
            return year, month, found
        year, month, day = (year, month - 1, 31) if month > 1 else (year - 1, 12, 31)
        if year < _EARLIEST.year:
            break
    return None


def days_of(cron: Cron, year: int, month: int) -> int:
    """The matching days of a month as bits 1-31, by the star rule of crontab(5)."""
    monday_based, length = monthrange(year, month)
    first = (monday_based + 1) % 7
    days = cron._days | (1 << length if cron.last_day else 0)
    weekdays = cron._weeks >> first << 1
    for weekday, n in cron.nth_weekdays:
        day = 1 + (weekday - first) % 7
        day += 7 * (n - 1 if n != LAST else (length - day) // 7)
        weekdays |= 1 << day
    both = cron.day_star or cron.weekday_star
    return (days & weekdays if both else days | weekdays) & (2 << length) - 2


def _time_from(cron: Cron, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
    if cron._hours >> hour & 1:
        if cron._minutes >> minute & 1 and (found := _up(cron._seconds, second)) >= 0:
            return hour, minute, found
        if (found := _up(cron._minutes, minute + 1)) >= 0:
            return hour, found, cron.seconds[0]
    found = _up(cron._hours, hour + 1)
    return (found, cron.minutes[0], cron.seconds[0]) if found >= 0 else None


def _time_until(cron: Cron, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
    if cron._hours >> hour & 1:
        if cron._minutes >> minute & 1 and (found := _down(cron._seconds, second)) >= 0:
            return hour, minute, found
        if (found := _down(cron._minutes, minute - 1)) >= 0:
            return hour, found, cron.seconds[-1]
    found = _down(cron._hours, hour - 1)
    return (found, cron.minutes[-1], cron.seconds[-1]) if found >= 0 else None


def _bits(values: Iterable[int]) -> int:
    return sum(1 << value for value in set(values))


def _up(bits: int, start: int) -> int:
    """The lowest set bit from `start` on, or -1."""
    rest = bits >> start
    return start + (rest & -rest).bit_length() - 1 if rest else -1


def _down(bits: int, start: int) -> int:
    """The highest set bit up to `start`, or -1."""
    return (bits & (1 << start + 1) - 1).bit_length() - 1
