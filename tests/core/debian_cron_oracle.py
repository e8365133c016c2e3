"""Debian's cron as a slow model: its main loop over every minute of real time, written from cron(8) and crontab(5).

Numbers, lists, ranges and steps only. It shares no code and no idea with `core.cron`: it looks at one minute after the
other, and asks the zone for nothing but the offset of that minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def fires(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The fires of [start, end), both on a minute in UTC. `start` must be well before any change of the clock."""
    fields = text.split()
    values = [_values(field, *bounds) for field, bounds in zip(fields, RANGES, strict=True)]
    wild = fields[0].startswith("*") or fields[1].startswith("*")
    found, virtual, now = [], _clock(start, zone) - 1, start
    while now < end:
        clock = _clock(now, zone)
        ahead = clock - virtual
        if ahead > 180 or ahead <= -180:  # "changes of more than 3 hours": the new time is used immediately
            virtual, ahead = clock - 1, 1
        due = [clock] if wild else range(virtual + 1, clock + 1)  # nothing while the clock is behind
        if any(_matches(fields, values, minute) for minute in due):
            found.append(now)
        virtual = max(virtual, clock)
        now += timedelta(minutes=1)
    return found


def _clock(instant: datetime, zone: ZoneInfo) -> int:
    """The wall clock in minutes since 1970-01-01 00:00."""
    return int((instant.astimezone(zone).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds() // 60)


def _matches(fields: list[str], values: list[set[int]], minute: int) -> bool:
    wall = datetime(1970, 1, 1) + timedelta(minutes=minute)
    if wall.minute not in values[0] or wall.hour not in values[1] or wall.month not in values[3]:
        return False
    day, weekday = wall.day in values[2], bool({wall.isoweekday(), wall.isoweekday() % 7} & values[4])
    star = fields[2].startswith("*") or fields[4].startswith("*")
    return (day and weekday) if star else (day or weekday)


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found
