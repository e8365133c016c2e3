"""What is a calendar, or a schedule, of a plugin? Days with their hours, or instants, over a span that is asked for.

They are worked out in a child process, and kept: a plugin may take its time, and can't hold up the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from zquant_flow.core.instants import to_micros
from zquant_flow.core.sessions import Sessions


class Session(NamedTuple):
    """A day on which something is open; `opens` and `closes` are aware."""

    day: date
    opens: datetime
    closes: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A calendar for `calendar: NAME`. `sessions(first, last)` gives the sessions of those days, both included, in order.

    `timezone` is where its days begin. `until`: the last day that it knows; None for one that follows from rules.
    """

    timezone: str
    sessions: Callable[[date, date], Iterable[Session]]
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule for `calendar: NAME` with `at: open`. `instants(first, last)` gives the aware instants of those days, in order.

    There may be many in a day. `timezone` and `until` as those of a Calendar.
    """

    timezone: str
    instants: Callable[[date, date], Iterable[datetime]]
    until: date | None = None


def sessions_of(name: str, source: Calendar | Schedule, first: date, last: date) -> Sessions:
    """The days of a calendar between `first` and `last`. Raises what the plugin raises, ValueError for what is not in order."""
    end = last if source.until is None else min(last, source.until)
    zone = ZoneInfo(source.timezone)
    if isinstance(source, Calendar):
        found = [Session(*session) for session in source.sessions(first, end)]
    else:
        found = [
            Session(instant.astimezone(zone).date(), instant, instant)
            for instant in source.instants(first, end)
        ]
    opens = tuple(_micros(session.opens) for session in found)
    closes = tuple(_micros(session.closes) for session in found)
    days = tuple(session.day.toordinal() for session in found)
    for what in (opens, closes, days):
        if any(before > after for before, after in pairwise(what)):
            raise ValueError("what it gives is not in order")
    return Sessions(
        name=name,
        zone=zone,
        days=days,
        opens=opens,
        closes=closes,
        first=first.toordinal(),
        last=end.toordinal(),
        unbounded=source.until is None,
    )


def _micros(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no zone")
    return to_micros(instant.astimezone(UTC))
