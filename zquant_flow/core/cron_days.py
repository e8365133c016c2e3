"""Which instants does a cron expression match in a long span?

Day by day: a local day in which the clock does not change has the same matches as any other, shifted. Around the days in
which it does, the exact search of `core.cron` answers. Instants are microseconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from zquant_flow.core.cron import Cron, days_of, next_after
from zquant_flow.core.instants import from_micros, to_micros

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST, _LAST = date(4, 1, 1).toordinal(), date(9996, 1, 1).toordinal()


def matches_between(cron: Cron, after: int, until: int, zone: ZoneInfo) -> Iterator[int]:
    """The fires of (after, until], rising; the same as `next_after` finds one by one."""
    times, done = _times_of_day(cron), after
    for day in _days_around(after, until):
        offset = _offset_of_quiet_day(zone, day)
        if offset is None:
            continue
        begin = (day - _EPOCH) * DAY - offset
        if done < begin - 1:
            yield from _searched(cron, done, min(begin - 1, until), zone)
        if _matches(cron, day):
            low = bisect_right(times, after - begin) if begin <= after else 0
            high = len(times) if begin + DAY <= until else bisect_right(times, until - begin)
            for moment in times[low:high] if high - low < len(times) else times:
                yield begin + moment
        done = max(done, begin + DAY - 1)
    if done < until:
        yield from _searched(cron, done, until, zone)


def count_between(cron: Cron, after: int, until: int, zone: ZoneInfo) -> int:
    """How many fires (after, until] has: a look at each day, however many there are in it."""
    times, done, count = _times_of_day(cron), after, 0
    for day in _days_around(after, until):
        offset = _offset_of_quiet_day(zone, day)
        if offset is None:
            continue
        begin = (day - _EPOCH) * DAY - offset
        if done < begin - 1:
            count += sum(1 for _ in _searched(cron, done, min(begin - 1, until), zone))
        if _matches(cron, day):
            count += max(0, bisect_right(times, until - begin) - bisect_right(times, after - begin))
        done = max(done, begin + DAY - 1)
    return count + sum(1 for _ in _searched(cron, done, until, zone))


def _searched(cron: Cron, after: int, until: int, zone: ZoneInfo) -> Iterator[int]:
    fire = next_after(cron, from_micros(after), zone)
    while fire is not None and (found := to_micros(fire)) <= until:
        yield found
        fire = next_after(cron, fire, zone)


def _days_around(after: int, until: int) -> range:
    """The local days, as ordinals, that may touch the span in any zone."""
    return range(_EPOCH + after // DAY - 1, _EPOCH + until // DAY + 2)


def _matches(cron: Cron, day: int) -> bool:
    year, month, number = _calendar_day(day)
    return bool(_days_of_month(cron, year, month) >> number & 1)


@lru_cache(maxsize=1024)
def _times_of_day(cron: Cron) -> tuple[int, ...]:
    """The matches of a day whose clock does not change, as microseconds from its begin."""
    return tuple(
        (hour * 3600 + minute * 60 + second) * SECOND
        for hour in cron.hours
        for minute in cron.minutes
        for second in cron.seconds
    )


@lru_cache(maxsize=16384)
def _days_of_month(cron: Cron, year: int, month: int) -> int:
    return days_of(cron, year, month) if month in cron.months else 0


@lru_cache(maxsize=16384)
def _calendar_day(day: int) -> tuple[int, int, int]:
    found = date.fromordinal(day)
    return found.year, found.month, found.day


@lru_cache(maxsize=65536)
def _offset_of_quiet_day(zone: ZoneInfo, day: int) -> int | None:
    """The offset of that day and the one before, in microseconds; None where the clock changes in one of them.

    In the day before, because what falls into a gap at its end is made up for at midnight.
    """
    if not _FIRST < day < _LAST:
        return None
    offset = _steady_offset(zone, day)
    return None if offset is None or _steady_offset(zone, day - 1) != offset else offset


@lru_cache(maxsize=65536)
def _steady_offset(zone: ZoneInfo, day: int) -> int | None:
    """The offset that the zone has from midnight to midnight, both included; None where it has several."""
    begin = datetime.combine(date.fromordinal(day), time())
    offset = zone.utcoffset(begin)
    for hour in range(25):
        wall = begin + timedelta(hours=hour)
        if zone.utcoffset(wall) != offset or zone.utcoffset(wall.replace(fold=1)) != offset:
            return None
    return None if offset is None else offset // timedelta.resolution
