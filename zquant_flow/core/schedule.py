"""Which logical times of a schedule are due?

Pure arithmetic over recorded facts and `now` (SEMANTICS §6.3 and §6.6). Instants are aware; answers are in UTC. `anchor`
is where an interval starts to count when the schedule has no `start_at`: the first registration, cut to the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice, zip_longest
from types import MappingProxyType
from zoneinfo import ZoneInfo

from zquant_flow.core.cron import next_after, parse_cron, previous_at_or_before
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import Catchup, Rule, Schedule
from zquant_flow.core.sessions import Sessions
from zquant_flow.core.spans import count_of, merged, row_of
from zquant_flow.errors import ScheduleError
from zquant_flow.wording import say

_TICK = timedelta.resolution
_SHORTEST_INTERVAL = timedelta(seconds=1)
_ROW = 64
"""After so many instants, searched one by one, a row of dense ones is made day by day."""
_NEVER_KNOWN = datetime.min.replace(tzinfo=UTC)
_RULES_OF_TODAY = datetime(2026, 1, 1, tzinfo=UTC)  # zones change theirs; any recent day will do


class SkipReason(StrEnum):
    """Why an instant of a schedule has no execution (SEMANTICS §6.5)."""

    MISFIRE = "misfire"
    COALESCED = "coalesced"
    DISABLED = "disabled"
    PAUSED = "paused"
    ARCHIVED = "archived"
    OVERLAP = "overlap"
    CLOCK_STEP = "clock_step"
    NOT_A_SESSION = "not_a_session"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Skip:
    """One skipped instant, or the first and the last of a row of them with every one between."""

    from_time: datetime
    to_time: datetime
    reason: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a tick has to write: logical times to run (oldest first), skips, the new cursor, and when to look again."""

    fires: tuple[datetime, ...]
    skipped: tuple[Skip, ...]
    cursor: datetime
    next: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """A schedule bound to what its instants depend on: the zone it is read in, and where an interval starts to count."""

    schedule: Schedule
    zone: ZoneInfo
    base: datetime
    """`start_at`, else the first registration, in UTC."""
    sessions: tuple[Sessions | None, ...] = ()
    """For each rule the sessions it is kept to, if it is; nothing at all where no rule is."""
    known_until: datetime | None = None
    """The last instant of which all its calendars know enough; None where it has none. Nothing is decided beyond."""

    def due(self, cursor: datetime, now: datetime) -> Due:
        """Sorts the instants of (cursor, now] into fires and skips by the rules for late fires (SEMANTICS §6.6).

        Costs a constant number of searches and one per fire, however long ago the cursor is. A cursor ahead of `now` stays
        where it is: what a step of the clock voids is the caller's decision.
        """
        cursor, now = _utc(cursor), max(_utc(now), _utc(cursor))
        until = now if self.known_until is None else max(cursor, min(now, self.known_until))
        late_until = min(until, max(cursor, now - self.schedule.misfire_grace - _TICK))
        late, skipped = self._late(cursor, late_until, until)
        on_time = self.between(late_until, until)
        closed = self._closed(cursor, until)
        return Due(
            fires=(*late, *on_time),
            skipped=tuple(sorted((*self._parted(skipped, closed), *closed), key=lambda skip: skip.from_time)),
            cursor=until,
            next=self.next(until),
        )

    def next(self, after: datetime) -> datetime | None:
        """The first instant strictly later than `after` over all rules, within [start_at, end_at]; None if there is none."""
        schedule = self.schedule
        if schedule.start_at is not None and schedule.start_at > after:
            after = schedule.start_at - _TICK
        after = _utc(after)
        found = [fire for rule in self._rules() if (fire := self._next_session(*rule, after)) is not None]
        earliest = min(found, default=None)
        if earliest is None or (schedule.end_at and earliest > schedule.end_at):
            return None
        return None if self.known_until and earliest > self.known_until else earliest

    def previous(self, at: datetime) -> datetime | None:
        """The newest instant not later than `at` over all rules, within [start_at, end_at]; None if there is none."""
        schedule = self.schedule
        if schedule.end_at is not None:
            at = min(at, schedule.end_at)
        at = _utc(at)
        if self.known_until is not None:
            at = min(at, self.known_until)
        found = [fire for rule in self._rules() if (fire := self._previous_session(*rule, at)) is not None]
        newest = max(found, default=None)
        return None if newest is None or (schedule.start_at and newest < schedule.start_at) else newest

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The instants of (after, until], rising."""
        fire, first, count = self.next(after), after, 0
        while fire is not None and fire <= until:
            yield fire
            count += 1
            if count >= _ROW and fire - first < count * timedelta(days=1):
                yield from map(from_micros, self.instants(to_micros(fire), to_micros(until)))
                return
            following = self.next(fire)
            assert following is None or following > fire, f"{self.schedule} does not move on from {fire}"
            fire = following

    def instants(self, after: int, until: int) -> Iterator[int]:
        """The same as `between`, all of them in microseconds: for long spans, where each search would be too much."""
        after, until = self._bounds(after, until)
        return merged(
            row_of(rule, sessions, after, until, zone=self.zone, base=self.base)
            for rule, sessions in self._rules()
        )

    def count(self, after: int, until: int) -> int:
        """How many `instants` there are; cheaper than to make them where one rule alone is kept to no calendar."""
        if len(self.schedule.rules) > 1 or self.sessions:
            return sum(1 for _ in self.instants(after, until))
        after, until = self._bounds(after, until)
        return count_of(self.schedule.rules[0], after, until, zone=self.zone, base=self.base)

    def _bounds(self, after: int, until: int) -> tuple[int, int]:
        """What of (after, until] lies within [start_at, end_at], and is known."""
        if self.schedule.start_at is not None:
            after = max(after, to_micros(self.schedule.start_at) - 1)
        for end in (self.schedule.end_at, self.known_until):
            until = until if end is None else min(until, to_micros(end))
        return after, max(after, until)

    def _rules(self) -> Iterator[tuple[Rule, Sessions | None]]:
        return zip_longest(self.schedule.rules, self.sessions)

    def _late(
        self, cursor: datetime, until: datetime, now: datetime
    ) -> tuple[tuple[datetime, ...], tuple[Skip, ...]]:
        """What of (cursor, until], all of it late, still runs, and what is skipped for which reason."""
        catchup, newest = self.schedule.catchup, self.previous(until)
        if newest is None or newest <= cursor:
            return (), ()
        if catchup is Catchup.NONE:
            return (), self._span(cursor, until, SkipReason.MISFIRE)
        if catchup is Catchup.ALL:
            fires = tuple(islice(self.between(cursor, until), self.schedule.catchup_limit))
            return fires, self._span(fires[-1] if fires else cursor, until, SkipReason.MISFIRE)
        following = self.next(until)
        if following is not None and following <= now:  # the newest of all is on time, and runs anyway
            return (), self._span(cursor, until, SkipReason.COALESCED)
        return (newest,), self._span(cursor, newest - _TICK, SkipReason.COALESCED)

    def _span(self, after: datetime, until: datetime, reason: SkipReason) -> tuple[Skip, ...]:
        """The instants of (after, until] as one skip, or none when there are none."""
        first, last = self.next(after), self.previous(until)
        return (Skip(first, last, reason),) if first and last and first <= last else ()

    def _closed(self, after: datetime, until: datetime) -> tuple[Skip, ...]:
        """What of (after, until] the rules would have fired on days that are no sessions, had they no calendar."""
        schedule = self.schedule
        if not self.sessions:
            return ()
        if schedule.start_at is not None and schedule.start_at > after:
            after = _utc(schedule.start_at) - _TICK
        if schedule.end_at is not None:
            until = min(until, _utc(schedule.end_at))
        found: list[Skip] = []
        for rule, sessions in self._rules():
            if sessions is None or rule.at is not None or after >= until:
                continue
            for begin, end in sessions.gaps(after, until):
                first = self._next_of(rule, max(after, begin - _TICK))
                last = self._previous_of(rule, min(until, end))
                if first is not None and last is not None and first <= last and not self._fires(first, last):
                    found.append(Skip(first, last, SkipReason.NOT_A_SESSION))
        return _merged(found)

    def _fires(self, first: datetime, last: datetime) -> bool:
        """Whether another rule fires within the span."""
        if len(self.schedule.rules) == 1:
            return False
        following = self.next(first - _TICK)
        return following is not None and following <= last

    def _parted(self, skipped: Sequence[Skip], closed: Sequence[Skip]) -> Iterator[Skip]:
        """The late spans without the days in between that are no sessions: each of its instants would have fired."""
        for skip in skipped:
            begin = skip.from_time
            for gap in closed:
                if begin < gap.from_time and gap.to_time < skip.to_time:
                    yield from self._span(begin - _TICK, gap.from_time, skip.reason)
                    begin = gap.to_time
            yield from self._span(begin - _TICK, skip.to_time, skip.reason)

    def _next_session(self, rule: Rule, sessions: Sessions | None, after: datetime) -> datetime | None:
        """The rule's first instant later than `after`, on a session where it is kept to them: one jump for each gap."""
        if rule.at is not None:
            return sessions.edge_after(rule.at, after) if sessions else None
        fire = self._next_of(rule, after)
        while fire is not None and sessions is not None:
            day = sessions.day_of(fire)
            if sessions.is_session(day):
                break
            session = sessions.next(day)
            fire = self._next_of(rule, sessions.start_of(session) - _TICK) if session else None
        return fire

    def _previous_session(self, rule: Rule, sessions: Sessions | None, at: datetime) -> datetime | None:
        if rule.at is not None:
            return sessions.edge_until(rule.at, at) if sessions else None
        fire = self._previous_of(rule, at)
        while fire is not None and sessions is not None:
            day = sessions.day_of(fire)
            if sessions.is_session(day):
                break
            session = sessions.previous(day)
            fire = self._previous_of(rule, sessions.start_of(session + 1) - _TICK) if session else None
        return fire

    def _next_of(self, rule: Rule, after: datetime) -> datetime | None:
        if rule.cron is not None:
            return next_after(parse_cron(rule.cron), after, self.zone)
        if rule.interval is not None:
            return _interval_fire(self.base, rule.interval, max(1, (after - self.base) // rule.interval + 1))
        assert rule.run_at is not None
        return _utc(rule.run_at) if rule.run_at > after else None

    def _previous_of(self, rule: Rule, at: datetime) -> datetime | None:
        if rule.cron is not None:
            return previous_at_or_before(parse_cron(rule.cron), at, self.zone)
        if rule.interval is not None:
            number = (at - self.base) // rule.interval
            return _interval_fire(self.base, rule.interval, number) if number >= 1 else None
        assert rule.run_at is not None
        return _utc(rule.run_at) if rule.run_at <= at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What all schedules of an installation are read by; a value, swapped whole."""

    zone: ZoneInfo
    """The zone of a schedule that names none."""
    calendars: Mapping[str, Sessions] = field(default_factory=lambda: MappingProxyType({}))
    """The sessions of exchanges, by name, as far as they have been needed."""

    def table(self, schedule: Schedule, anchor: datetime) -> Timetable:
        """The schedule's timetable. `anchor`: where an interval starts to count without `start_at`.

        Raises ScheduleError when the tz database has no zone of the schedule's name.
        """
        zone, base = zone_of(schedule, self.zone), _utc(schedule.start_at or anchor)
        if all(rule.calendar is None for rule in schedule.rules):
            return Timetable(schedule=schedule, zone=zone, base=base)
        found = [self.calendars.get(rule.calendar) if rule.calendar else None for rule in schedule.rules]
        return Timetable(
            schedule=schedule,
            zone=zone,
            base=base,
            sessions=tuple(found),
            known_until=min(
                _known_until(rule, sessions)
                for rule, sessions in zip(schedule.rules, found, strict=True)
                if rule.calendar is not None
            ),
        )


def delay_of(task_id: int, logical_time: int, jitter: timedelta) -> timedelta:
    """How long after its logical time (microseconds) this fire starts: less than `jitter`, the same at every asking."""
    digest = hashlib.blake2b(f"{task_id}:{logical_time}".encode(), digest_size=8).digest()
    return jitter * (int.from_bytes(digest) / 2**64)


def _known_until(rule: Rule, sessions: Sessions | None) -> datetime:
    """Where nothing is known of a calendar, because nobody has read it yet, nothing can be decided."""
    if sessions is None:
        return _NEVER_KNOWN
    return sessions.known_until if rule.at is None else sessions.edge_known_until(rule.at)


def _merged(spans: Sequence[Skip]) -> tuple[Skip, ...]:
    """Spans of several rules that overlap are one."""
    found: list[Skip] = []
    for span in sorted(spans, key=lambda span: span.from_time):
        if found and span.from_time <= found[-1].to_time:
            found[-1] = Skip(found[-1].from_time, max(found[-1].to_time, span.to_time), span.reason)
        else:
            found.append(span)
    return tuple(found)


def validate(schedule: Schedule, zone: ZoneInfo) -> None:
    """Raises ScheduleError for a schedule that can't be meant: its field, what is wrong, and the way out."""
    zone = zone_of(schedule, zone)
    if not schedule.rules:
        raise ScheduleError(say("the schedule has no rule; write cron, interval, run_at or at"))
    for name, instant in (("start_at", schedule.start_at), ("end_at", schedule.end_at)):
        _check_instant(name, instant)
    if schedule.start_at and schedule.end_at and schedule.end_at < schedule.start_at:
        raise ScheduleError(
            say(
                "end_at {end_at} is before start_at {start_at}",
                end_at=str(schedule.end_at),
                start_at=str(schedule.start_at),
            ),
            field="end_at",
        )
    if schedule.misfire_grace < timedelta():
        raise ScheduleError(
            say("misfire_grace_time is negative; write 0 or more"), field="misfire_grace_time"
        )
    if schedule.catchup_limit < 0:
        raise ScheduleError(say("catchup_limit is negative; write 0 or more"), field="catchup_limit")
    for rule in schedule.rules:
        _check_rule(rule, schedule, zone)
    if schedule.start_at and schedule.end_at and not any(rule.calendar for rule in schedule.rules):
        before = schedule.start_at - _TICK
        if Times(zone=zone).table(schedule, schedule.start_at).next(before) is None:
            raise ScheduleError(say("the schedule never fires between start_at and end_at"), field="end_at")


def zone_of(schedule: Schedule, default: ZoneInfo) -> ZoneInfo:
    """The zone the schedule is read in; raises ScheduleError when the tz database has no zone of that name."""
    if schedule.timezone is None:
        return default
    try:
        return ZoneInfo(schedule.timezone)
    except (LookupError, ValueError, OSError) as exc:
        raise ScheduleError(
            say(
                "timezone '{timezone}' is not in the tz database; write a name such as Asia/Shanghai",
                timezone=schedule.timezone,
            ),
            field="timezone",
        ) from exc


def _interval_fire(base: datetime, interval: timedelta, number: int) -> datetime | None:
    """Fire `number`, counted from 1. timedelta arithmetic is exact: no drift, also after years."""
    try:
        return base + number * interval
    except OverflowError:  # beyond the year 9999
        return None


def _check_rule(rule: Rule, schedule: Schedule, zone: ZoneInfo) -> None:
    if sum(part is not None for part in (rule.cron, rule.interval, rule.run_at, rule.at)) != 1:
        raise ScheduleError(
            say("a rule has exactly one of cron, interval, run_at and at; write several under schedules")
        )
    if rule.interval is not None and rule.interval <= timedelta():
        raise ScheduleError(
            say("interval {seconds:g} s is not positive", seconds=rule.interval.total_seconds()),
            field="interval",
        )
    if rule.interval is not None and rule.interval < _SHORTEST_INTERVAL:
        seconds = rule.interval.total_seconds()
        raise ScheduleError(
            say("interval {seconds:g} s is under 1 s, the shortest; loop in the task", seconds=seconds),
            field="interval",
        )
    if rule.cron is not None and next_after(parse_cron(rule.cron), _RULES_OF_TODAY, zone) is None:
        raise ScheduleError(
            say(
                "cron '{text}' never fires in {zone}: it only names skipped hours",
                text=rule.cron,
                zone=zone.key,
            ),
            field="cron",
        )
    _check_instant("run_at", rule.run_at)
    if rule.run_at and schedule.start_at and rule.run_at < schedule.start_at:
        raise ScheduleError(
            say("run_at {run_at} is before start_at and never fires", run_at=str(rule.run_at)), field="run_at"
        )
    if rule.run_at and schedule.end_at and rule.run_at > schedule.end_at:
        raise ScheduleError(
            say("run_at {run_at} is after end_at and never fires", run_at=str(rule.run_at)), field="run_at"
        )


def _check_instant(name: str, instant: datetime | None) -> None:
    if instant is not None and instant.tzinfo is None:
        raise ScheduleError(say("{name} {instant} has no zone", name=name, instant=str(instant)), field=name)


def _utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
