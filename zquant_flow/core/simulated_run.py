"""What happens while all fires of a span pass, one after the other?

Slots, pools, `overlap`, `jitter` and the order of what waits follow the rules of the engine. Every execution succeeds,
nothing runs at the beginning, and what ends at an instant has ended before what fires at it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from zquant_flow.core.model import Overlap
from zquant_flow.core.schedule import delay_of
from zquant_flow.core.waits import Kept, Signal, arrived
from zquant_flow.core.workload import Finding, Kind, Outcome, Work

HOUR = 3_600_000_000
QUEUE_LIMIT = 100
"""So many executions of a task wait for its active ones, as in the engine."""
_ASKED = 200
"""So often it is noted who holds what another waits for; then it is known well enough."""


class _Execution:
    __slots__ = ("lacks", "logical", "number", "since", "stays", "until")

    def __init__(self, number: int, logical: int, since: int) -> None:
        self.number = number
        self.logical = logical
        self.since = since
        """When it came to wait for what it waits for."""
        self.lacks: Finding | None = None
        """What is found where it has to wait for a place."""
        self.until = 0
        """When it ends; 0 while it has not started."""
        self.stays = True
        """False once it was replaced."""


_Lane = list[tuple[int, int, _Execution]]


class Run:
    """The memory of one simulation: each work takes the duration that stands at its place in `durations`."""

    def __init__(
        self, works: Sequence[Work], durations: Sequence[int], slots: int, pools: Mapping[str, int]
    ) -> None:
        size = len(works)
        self.works = works
        self.durations = durations
        self.size = size
        self.free = self.slots = slots
        self.room = {name: pools[name] for work in works for name, _ in work.pools}
        self.needs = [
            tuple((name, min(places, pools[name])) for name, places in work.pools) for work in works
        ]
        self.width = [min(work.slots, slots) for work in works]
        self.within = [work.within for work in works]
        self.plain = [not work.pools and not (work.table and work.table.schedule.jitter) for work in works]
        """Those that need a slot alone, and at once."""
        self.active: list[list[_Execution]] = [[] for _ in works]
        self.queues: list[deque[_Execution]] = [deque() for _ in works]
        self.running = [0] * size
        self.runs = [0] * size
        self.ends: list[tuple[int, int, _Execution]] = []
        self.later: list[tuple[int, int, _Execution]] = []
        """Executions that wait for their jitter."""
        self.lanes: dict[tuple[tuple[str, int], ...], _Lane] = {}
        self.served: dict[tuple[tuple[str, int], ...], int] = {}
        self.waiting = 0
        self.tickets = 0
        self.listeners: dict[str, list[int]] = {}
        for number, work in enumerate(works):
            for signal in work.waits_for:
                self.listeners.setdefault(signal, []).append(number)
        self.kept: dict[int, Kept] = {}
        self.busy: defaultdict[int, int] = defaultdict(int)
        self.peak: tuple[int, int | None] = (0, None)
        self.findings: dict[tuple[Kind, int, str | None], Finding] = {}

    def take(self, keys: Sequence[int]) -> None:
        """The next fires."""
        size, ends = self.size, self.ends
        for key in keys:
            now, number = divmod(key, size)
            if (ends and ends[0][0] <= now) or self.later:
                self._pass(now)
            active = self.active[number]
            if active or self.waiting or not self.plain[number] or self.free < self.width[number]:
                self._fire(number, now, now)
            else:  # as most do: nothing is in its way
                execution = _Execution(number, now, now)
                active.append(execution)
                self._start(execution, now)

    def outcome(self, end: int) -> Outcome:
        """Let all come to its end; what came of it. What never found a place has waited until `end`."""
        while self.ends or self.later:
            self._pass(min(heap[0][0] for heap in (self.ends, self.later) if heap))
        for lane in self.lanes.values():
            for *_, execution in lane:
                if execution.stays and execution.lacks is not None:
                    execution.lacks.add(execution.since, max(0, end - execution.since))
        order = list(Kind)
        keys = sorted(self.findings, key=lambda key: (key[1], order.index(key[0])))
        found = [self.findings[key] for key in keys if self.findings[key].count]
        return Outcome(runs=self.runs, findings=found, busy=self.busy, peak=self.peak)

    def spread(self, number: int, fires: int, start: int, end: int) -> None:
        """An even load in place of single fires: what it takes on average is not there for others."""
        work, span = self.works[number], max(1, end - start)
        gap = max(1, _usual_gap(work, start, end))
        duration = self.durations[number]
        at_once = -(-duration // gap)
        runs = fires
        if work.limit is not None and at_once > work.limit:
            runs = fires * work.limit // at_once
            kind = Kind.REPLACED if work.overlap is Overlap.REPLACE else Kind.SKIPPED
            finding = self._finding(kind, number, None, start)
            finding.last, finding.count = end, fires - runs
        self.runs[number] = runs
        load = runs * duration * self.width[number]
        self._add_busy(start, end, load)
        self.free = max(1, self.free - load // span)
        for name, places in self.needs[number]:
            taken = runs * duration * places // span
            self.room[name] = max(min(1, self.room[name]), self.room[name] - taken)

    def _pass(self, now: int) -> None:
        """Let pass what happens until then, in the order of time."""
        ends, later = self.ends, self.later
        while True:
            if ends and ends[0][0] <= now and (not later or ends[0][0] <= later[0][0]):
                moment, _, execution = heapq.heappop(ends)
                if execution.stays:
                    self._end(execution, moment)
            elif later and later[0][0] <= now:
                moment, _, execution = heapq.heappop(later)
                if execution.stays:
                    execution.since = moment
                    self._start_or_wait(execution, moment)
            else:
                return

    def _fire(self, number: int, logical: int, now: int, *, event: bool = False) -> None:
        work, active = self.works[number], self.active[number]
        limit = work.limit
        waits = False
        if limit is not None and len(active) >= limit:
            if work.overlap is Overlap.REPLACE and not event:
                self._replace(number, limit, now)
            elif self._is_refused(number, event):
                self._note(Kind.SKIPPED, number, None, now, 0)
                return
            else:
                waits = True
        execution = _Execution(number, logical, now)
        active.append(execution)
        jitter = None if work.table is None or event else work.table.schedule.jitter
        if waits:
            self.queues[number].append(execution)
        elif jitter:
            delay = delay_of(work.task_id, logical, jitter)
            self.tickets += 1
            heapq.heappush(self.later, (now + int(delay.total_seconds() * 1e6), self.tickets, execution))
        else:
            self._start_or_wait(execution, now)

    def _is_refused(self, number: int, event: bool) -> bool:
        """`skip` is for schedules: what an event starts waits, as a queued one does, while the queue has room."""
        skips = self.works[number].overlap is Overlap.SKIP and not event
        return skips or len(self.queues[number]) >= QUEUE_LIMIT

    def _replace(self, number: int, limit: int, now: int) -> None:
        active = self.active[number]
        for execution in active[: len(active) - limit + 1]:
            self._note(Kind.REPLACED, number, None, now, 0)
            execution.stays = False
            active.remove(execution)
            if execution in self.queues[number]:
                self.queues[number].remove(execution)
            if execution.until:
                self._take_back(execution, now)
                self._give_places(number)
        if self.waiting:
            self._serve(now)

    def _start_or_wait(self, execution: _Execution, now: int) -> None:
        number = execution.number
        pools = self.needs[number]
        lane = self.lanes.get(pools)
        if not lane and self._fits(number):
            self._start(execution, now)
            return
        if lane is None:
            lane = self.lanes[pools] = []
        execution.lacks = self._lacking(number, now)
        self.tickets += 1
        self.waiting += 1
        heapq.heappush(lane, (-self.works[number].priority, self.tickets, execution))

    def _fits(self, number: int) -> bool:
        needs = self.needs[number]
        if self.free < self.width[number]:
            return False
        return not needs or all(self.room[name] >= max(places, 1) for name, places in needs)

    def _start(self, execution: _Execution, now: int) -> None:
        number, duration = execution.number, self.durations[execution.number]
        width = self.width[number]
        if execution.lacks is not None:
            execution.lacks.add(execution.since, now - execution.since)
        self.free -= width
        if needs := self.needs[number]:
            for name, places in needs:
                self.room[name] -= places
        self.running[number] += 1
        self.runs[number] += 1
        if self.slots - self.free > self.peak[0]:
            self.peak = (self.slots - self.free, now)
        until = execution.until = now + duration
        hour = now // HOUR
        if until // HOUR == hour:
            self.busy[hour] += duration * width
        else:
            self._add_busy(now, until, duration * width)
        within = self.within[number]
        if within is not None and until > execution.logical + within:
            self._note(Kind.DEADLINE, number, None, execution.logical, until - execution.logical - within)
        self.tickets += 1
        heapq.heappush(self.ends, (until, self.tickets, execution))

    def _end(self, execution: _Execution, now: int) -> None:
        number = execution.number
        self.active[number].remove(execution)
        self._give_places(number)
        if self.listeners:
            self._give_signals(self.works[number], execution, now)
        if self.queues[number]:
            self._let_next(number, now)
        if self.waiting:
            self._serve(now)

    def _give_places(self, number: int) -> None:
        self.running[number] -= 1
        self.free += self.width[number]
        for name, places in self.needs[number]:
            self.room[name] += places

    def _take_back(self, execution: _Execution, now: int) -> None:
        """It ends earlier than was thought."""
        width = self.width[execution.number]
        self._add_busy(now, execution.until, -(execution.until - now) * width)

    def _let_next(self, number: int, now: int) -> None:
        queue, active, limit = self.queues[number], self.active[number], self.works[number].limit
        while queue and (limit is None or len(active) - len(queue) < limit):
            execution = queue.popleft()
            self._note(Kind.QUEUED, number, None, execution.logical, now - execution.since)
            execution.since = now
            self._start_or_wait(execution, now)

    def _serve(self, now: int) -> None:
        """Start what waits, as far as there is room: the highest priority first, then the lane that waited longest."""
        while True:
            best = None
            for pools, lane in self.lanes.items():
                while lane and not lane[0][2].stays:
                    heapq.heappop(lane)
                    self.waiting -= 1
                if lane and self._fits(lane[0][2].number):
                    rank = (lane[0][0], self.served.get(pools, 0))
                    if best is None or rank < best[0]:
                        best = (rank, pools)
            if best is None:
                return
            self.tickets += 1
            self.served[best[1]] = self.tickets
            self.waiting -= 1
            self._start(heapq.heappop(self.lanes[best[1]])[2], now)

    def _give_signals(self, work: Work, execution: _Execution, now: int) -> None:
        for source in work.gives:
            signal = Signal(source, now, execution.number, execution.logical)
            for number in self.listeners.get(source, ()):
                other = self.works[number]
                kept, complete = arrived(
                    other.waits_for, other.waits_within, self.kept.get(number, {}), signal
                )
                self.kept[number] = kept
                if complete is not None:
                    newest = max(complete, key=lambda one: one.arrived)
                    self._fire(number, newest.logical_time or now, now, event=True)

    def _lacking(self, number: int, now: int) -> Finding:
        """What it waits for: a place in a pool that is full, or a slot; and who holds them."""
        pool = next((name for name, places in self.needs[number] if self.room[name] < max(places, 1)), None)
        finding = self._finding(Kind.SLOTS if pool is None else Kind.POOL, number, pool, now)
        if finding.count < _ASKED:
            for other, count in enumerate(self.running):
                if count and (pool is None or any(name == pool for name, _ in self.needs[other])):
                    finding.others[self.works[other].name] += 1
        return finding

    def _note(self, kind: Kind, number: int, pool: str | None, moment: int, worst: int) -> None:
        self._finding(kind, number, pool, moment).add(moment, worst)

    def _finding(self, kind: Kind, number: int, pool: str | None, moment: int) -> Finding:
        key = (kind, number, pool)
        found = self.findings.get(key)
        if found is None:
            found = self.findings[key] = Finding(kind, self.works[number].name, pool, moment)
        return found

    def _add_busy(self, begin: int, until: int, load: int) -> None:
        """Spread a load over the hours of its time."""
        span = until - begin
        while begin < until:
            hour = begin // HOUR
            part = min(until, (hour + 1) * HOUR) - begin
            self.busy[hour] += load * part // span
            begin += part


def _usual_gap(work: Work, start: int, end: int) -> int:
    """The median of its first gaps."""
    assert work.table is not None
    gaps: list[int] = []
    before = None
    for moment in work.table.instants(start - 1, end):
        if before is not None:
            gaps.append(moment - before)
        before = moment
        if len(gaps) == 1000:
            break
    return sorted(gaps)[len(gaps) // 2] if gaps else end - start
