"""Which days does an exchange trade, and when?

Days are ordinals (`date.toordinal`) of the exchange's own calendar; instants are aware datetimes, in UTC. The day of an
instant is the date at the exchange: Saturday 06:00 in Shanghai is a Friday in New York.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import At, Edge, TaskDef

_MICROSECOND = timedelta(microseconds=1)
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sessions:
    """The sessions of one exchange, as far as they are known: from day `first` to day `last`, both included.

    `opens` and `closes` are microseconds since 1970, one for each of `days`; all three rise. `unbounded`: the sessions
    follow from rules, and `last` is only how far somebody has looked.
    """

    name: str
    zone: ZoneInfo
    days: tuple[int, ...]
    opens: tuple[int, ...]
    closes: tuple[int, ...]
    first: int
    last: int
    unbounded: bool = False

    def is_session(self, day: int) -> bool:
        """Whether the exchange trades on that day; False also for days of which nothing is known."""
        index = bisect_left(self.days, day)
        return index < len(self.days) and self.days[index] == day

    def next(self, day: int) -> int | None:
        """The first session later than that day; None where none is known."""
        index = bisect_right(self.days, day)
        return self.days[index] if index < len(self.days) else None

    def previous(self, day: int) -> int | None:
        """The last session before that day; None where none is known."""
        index = bisect_left(self.days, day)
        return self.days[index - 1] if index else None

    def day_of(self, instant: datetime) -> int:
        """The date at the exchange."""
        return instant.astimezone(self.zone).toordinal()

    def start_of(self, day: int) -> datetime:
        """When that day begins at the exchange."""
        return datetime.combine(date.fromordinal(day), time(), self.zone).astimezone(UTC)

    @property
    def known_until(self) -> datetime:
        """The last instant whose day is known."""
        return self.start_of(self.last + 1) - _MICROSECOND if self.last > 1 else _BEGINNING

    def edge_known_until(self, at: At) -> datetime:
        """The last instant of which is known whether it is that edge of a session: a session may open on the evening before."""
        if not self.days:
            return _BEGINNING
        ahead = max(timedelta(), self.start_of(self.days[-1]) - from_micros(self.opens[-1]))
        return self.known_until - ahead + at.offset

    def edge_after(self, at: At, after: datetime) -> datetime | None:
        """The first instant later than `after` that has this distance from that edge of a session."""
        edges, offset = self._edges(at), at.offset // _MICROSECOND
        index = bisect_right(edges, to_micros(after) - offset)
        return from_micros(edges[index] + offset) if index < len(edges) else None

    def edge_until(self, at: At, until: datetime) -> datetime | None:
        """The last such instant that is not later than `until`."""
        edges, offset = self._edges(at), at.offset // _MICROSECOND
        index = bisect_right(edges, to_micros(until) - offset)
        return from_micros(edges[index - 1] + offset) if index else None

    def session_at(self, at: At, instant: datetime) -> int | None:
        """The session whose edge, at that distance, this instant is; it may lie past midnight."""
        edges, wanted = self._edges(at), to_micros(instant) - at.offset // _MICROSECOND
        index = bisect_left(edges, wanted)
        return self.days[index] if index < len(edges) and edges[index] == wanted else None

    def gaps(self, after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The spans of whole days without a session that touch (after, until], each as its first and last instant."""
        begin, end = max(self.day_of(after), self.first), min(self.day_of(until), self.last)
        index = bisect_left(self.days, begin)
        day = begin
        while day <= end:
            session = self.days[index] if index < len(self.days) else self.last + 1
            if session > day:
                yield self.start_of(day), self.start_of(session) - _MICROSECOND
            day, index = session + 1, index + 1

    def _edges(self, at: At) -> tuple[int, ...]:
        return self.opens if at.edge is Edge.OPEN else self.closes


def follows_sessions(definition: TaskDef) -> bool:
    """Whether it follows a calendar."""
    schedule = definition.schedule
    return schedule is not None and any(rule.calendar is not None for rule in schedule.rules)


def sessions_of(
    logical_time: datetime, definition: TaskDef, calendars: Mapping[str, Sessions]
) -> dict[str, date | None]:
    """`session`, `previous_session` and `next_session` of a task at a logical time; empty where it follows no calendar.

    `session` is the one that an `at` rule made the instant from, else the day at the exchange, and None where that is no
    session; the other two are strictly before and after. None is also what is not known.
    """
    found = _standing_for(logical_time, definition, calendars)
    if found is None:
        return {}
    sessions, day = found
    previous, following = sessions.previous(day), sessions.next(day)
    return {
        "session": date.fromordinal(day) if sessions.is_session(day) else None,
        "previous_session": date.fromordinal(previous) if previous is not None else None,
        "next_session": date.fromordinal(following) if following is not None else None,
    }


def _standing_for(
    instant: datetime, definition: TaskDef, calendars: Mapping[str, Sessions]
) -> tuple[Sessions, int] | None:
    """The calendar of the rule that the instant is of, as far as can be told, and the day it stands for."""
    rules = definition.schedule.rules if definition.schedule is not None else ()
    known = [
        (rule, sessions) for rule in rules if (sessions := calendars.get(rule.calendar or "")) is not None
    ]
    for rule, sessions in known:
        if rule.at is not None and (day := sessions.session_at(rule.at, instant)) is not None:
            return sessions, day
    days = [(sessions, sessions.day_of(instant)) for _, sessions in known]
    return next((found for found in days if found[0].is_session(found[1])), days[0] if days else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCalendar:
    """What a file in the calendars folder says: changes of a published calendar, or a whole one. Times are of the exchange's day."""

    holidays: frozenset[int] = frozenset()
    sessions: frozenset[int] = frozenset()
    early_closes: Mapping[int, time]
    late_opens: Mapping[int, time]
    until: int | None = None
    zone: ZoneInfo | None = None
    weekdays: frozenset[int] = frozenset(range(5))
    """0 is Monday."""
    open: time | None = None
    close: time | None = None


def amended(
    name: str, published: Sessions | None, local: LocalCalendar, *, first: int, last: int
) -> Sessions:
    """The sessions with what a local file says on top. A calendar of one's own goes from `first` to `last`."""
    zone = local.zone or (published.zone if published else None)
    assert zone is not None
    known = published or Sessions(
        name=name, zone=zone, days=(), opens=(), closes=(), first=first, last=first - 1, unbounded=True
    )
    usual = _usual_hours(known, local)
    hours = {day: (known.opens[index], known.closes[index]) for index, day in enumerate(known.days)}
    end = max(known.last, local.until or 0) if published else local.until or last
    for day in range(known.last + 1, end + 1):
        if date.fromordinal(day).weekday() in local.weekdays:
            hours[day] = _hours(zone, day, *usual)
    for day in local.sessions:
        hours[day] = _hours(zone, day, *usual)
    for day in local.holidays:
        hours.pop(day, None)
    for day, moment in local.late_opens.items():
        if day in hours:
            hours[day] = (_micros(zone, day, moment), hours[day][1])
    for day, moment in local.early_closes.items():
        if day in hours:
            hours[day] = (hours[day][0], _micros(zone, day, moment))
    ordered = sorted(hours)
    return replace(
        known,
        days=tuple(ordered),
        opens=tuple(hours[day][0] for day in ordered),
        closes=tuple(hours[day][1] for day in ordered),
        last=end,
        unbounded=known.unbounded and local.until is None,
    )


def _usual_hours(known: Sessions, local: LocalCalendar) -> tuple[time, time]:
    """The hours that a session has when nothing else is said: those that most of the last twenty had."""
    if local.open is not None and local.close is not None:
        return local.open, local.close
    seen = [
        (
            from_micros(opens).astimezone(known.zone).time(),
            from_micros(closes).astimezone(known.zone).time(),
        )
        for opens, closes in zip(known.opens[-20:], known.closes[-20:], strict=True)
    ]
    found = max(seen, key=seen.count)
    return local.open or found[0], local.close or found[1]


def _hours(zone: ZoneInfo, day: int, opens: time, closes: time) -> tuple[int, int]:
    """A session that closes no later than it opens goes on past midnight."""
    return _micros(zone, day, opens), _micros(zone, day + (closes <= opens), closes)


def _micros(zone: ZoneInfo, day: int, moment: time) -> int:
    return to_micros(datetime.combine(date.fromordinal(day), moment, zone).astimezone(UTC))
