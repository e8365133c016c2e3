"""Which instants do the rules of a schedule make in a long span?

A row for each rule, made day by day or by arithmetic, kept to its sessions; rows are merged. Instants are microseconds
since 1970; the searches of `core.schedule` say the same one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from itertools import takewhile
from zoneinfo import ZoneInfo

from zquant_flow.core.cron import parse_cron
from zquant_flow.core.cron_days import count_between, matches_between
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import Edge, Rule
from zquant_flow.core.sessions import Sessions

_MICROSECOND = timedelta(microseconds=1)


def row_of(
    rule: Rule, sessions: Sessions | None, after: int, until: int, *, zone: ZoneInfo, base: datetime
) -> Iterator[int]:
    """The rule's instants of (after, until], rising, on sessions where it is kept to them."""
    if rule.at is not None:
        return _edges(rule, sessions, after, until)
    found = _unbound(rule, after, until, zone=zone, base=base)
    return iter(found) if sessions is None else _on_sessions(found, sessions, after, until)


def count_of(rule: Rule, after: int, until: int, *, zone: ZoneInfo, base: datetime) -> int:
    """How many instants of (after, until] a rule has that is kept to no sessions, without making each of them."""
    if rule.cron is not None:
        return count_between(parse_cron(rule.cron), after, until, zone)
    if rule.interval is not None:
        return len(_steps(rule.interval, base, after, until))
    return sum(1 for _ in _unbound(rule, after, until, zone=zone, base=base))


def merged(rows: Iterable[Iterator[int]]) -> Iterator[int]:
    """One rising row; an instant of several is one."""
    rows = list(rows)
    if len(rows) == 1:
        yield from rows[0]
        return
    last = None
    for moment in merge(*rows):
        if moment != last:
            yield moment
        last = moment


def _unbound(rule: Rule, after: int, until: int, *, zone: ZoneInfo, base: datetime) -> Iterable[int]:
    if rule.cron is not None:
        return matches_between(parse_cron(rule.cron), after, until, zone)
    if rule.interval is not None:
        return _steps(rule.interval, base, after, until)
    assert rule.run_at is not None
    moment = to_micros(rule.run_at)
    return [moment] if after < moment <= until else []


def _steps(interval: timedelta, base: datetime, after: int, until: int) -> range:
    step, start = interval // _MICROSECOND, to_micros(base)
    first = max(1, (after - start) // step + 1)
    return range(start + first * step, until + 1, step)


def _edges(rule: Rule, sessions: Sessions | None, after: int, until: int) -> Iterator[int]:
    if sessions is None or rule.at is None:
        return
    edges = sessions.opens if rule.at.edge is Edge.OPEN else sessions.closes
    offset = rule.at.offset // _MICROSECOND
    for index in range(bisect_right(edges, after - offset), bisect_right(edges, until - offset)):
        yield edges[index] + offset


def _on_sessions(found: Iterable[int], sessions: Sessions, after: int, until: int) -> Iterator[int]:
    """Those that lie in a day of the exchange on which it trades; both rows rise."""
    days = _spans(sessions, after, until)
    begin, end = next(days, (until + 1, until + 1))
    for moment in takewhile(lambda moment: moment <= until, found):
        while moment >= end and end <= until:
            begin, end = next(days, (until + 1, until + 1))
        if begin <= moment < end:
            yield moment


def _spans(sessions: Sessions, after: int, until: int) -> Iterator[tuple[int, int]]:
    """The days of the exchange with a session, as first instant and the one behind the last."""
    first = after // 86_400_000_000 + 719_163 - 2
    for day in sessions.days[bisect_left(sessions.days, first) :]:
        begin = to_micros(sessions.start_of(day))
        if begin > until:
            return
        yield begin, to_micros(sessions.start_of(day + 1))
