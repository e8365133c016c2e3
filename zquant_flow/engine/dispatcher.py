"""Which of the attempts that could run start now?

Slots are places for running attempts; a pool is a limit beside them that attempts share by its name. A slot and the place
in a pool are taken together and given back together. Of what waits the highest priority goes first, then roots take turns,
then it goes by file order inside a root. What a full pool holds back is not looked at.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from zquant_flow.engine.memory import Execution

Ready = tuple[Execution, int]
"""An execution to start (node -1), or a node of a workflow execution that has no execution yet."""

_Entry = tuple[tuple[int, ...], int, Execution, int]
"""Where it stands in its root's files, its ticket, and what it is."""


@dataclass(slots=True)
class Pool:
    """A limit by name. One that nobody has defined any more has no slots: what asks for it waits."""

    slots: int = 0
    used: dict[int, Execution] = field(default_factory=dict)
    """The executions that hold its places."""

    @property
    def has_room(self) -> bool:
        return len(self.used) < self.slots


class Dispatcher:
    """The queue before the slots. Owned by the engine's thread."""

    def __init__(self, slots: int, pools: Mapping[str, int] | None = None) -> None:
        self.slots = slots
        self.running = 0
        self.open = True
        self.waiting = 0
        """How many entries wait; some of them may have lost their reason meanwhile."""
        self.pools: dict[str, Pool] = {}
        self._lanes: dict[str | None, _Lane] = {}
        self._tickets = 0
        self._served = 0
        self.resize(pools or {})

    def resize(self, pools: Mapping[str, int]) -> None:
        """The pools are these from now on. One with more users than slots drains: who has a place keeps it."""
        for name in self.pools.keys() | pools.keys():
            self._pool(name).slots = pools.get(name, 0)

    def add(self, execution: Execution, node: int = -1, priority: int = 0, pool: str | None = None) -> None:
        """Queue an execution, or a node of one."""
        lane = self._lanes.get(pool)
        if lane is None:
            lane = self._lanes[pool] = _Lane(None if pool is None else self._pool(pool))
        self._tickets += 1
        self.waiting += 1
        lane.push(priority, execution.root_id, (_place(execution, node), self._tickets, execution, node))

    def take(self) -> Iterator[Ready]:
        """What may start now, in order; the taker calls `occupy` for each that really starts."""
        while self.open and self.running < self.slots:
            ready = self._next()
            if ready is None:
                return
            yield ready

    def occupy(self, execution: Execution) -> None:
        """An attempt starts: it has a slot, and its place in its pool."""
        self.running += 1
        if execution.action is not None and execution.action.pool is not None:
            self._pool(execution.action.pool).used[execution.id] = execution

    def release(self, execution: Execution) -> None:
        """An attempt has ended: its places are free."""
        self.running -= 1
        if execution.action is not None and execution.action.pool is not None:
            self._pool(execution.action.pool).used.pop(execution.id, None)

    def forget(self) -> None:
        """Nothing waits and nothing runs. The pools stay as they are."""
        self.running = self.waiting = 0
        self._lanes.clear()
        for pool in self.pools.values():
            pool.used.clear()

    def is_full(self, name: str | None) -> bool:
        """Whether one more that asks for this pool has to wait for it."""
        if name is None:
            return False
        pool = self._pool(name)
        return len(pool.used) + self.waiting_in(name) >= pool.slots

    def waiting_in(self, name: str) -> int:
        """How many entries wait for this pool."""
        lane = self._lanes.get(name)
        return 0 if lane is None else lane.count

    def ahead_of(self, execution: Execution, node: int = -1) -> int | None:
        """How many of the same pool start before it, as things stand; None where it does not wait. Looks at all of them."""
        for lane in self._lanes.values():
            found = lane.ahead_of(execution, node)
            if found is not None:
                return found
        return None

    def _pool(self, name: str) -> Pool:
        found = self.pools.get(name)
        if found is None:
            found = self.pools[name] = Pool()
        return found

    def _next(self) -> Ready | None:
        """The next of the lane with the highest priority; of several the one that was served the longest ago."""
        best: _Lane | None = None
        for lane in self._lanes.values():
            if lane.count and lane.has_room and (best is None or lane.rank < best.rank):
                best = lane
        if best is None:
            return None
        self.waiting -= 1
        self._served += 1
        best.served = self._served
        return best.pop()


class _Lane:
    """What waits for one pool, or for slots alone."""

    __slots__ = ("_pool", "_priorities", "_rings", "count", "served")

    def __init__(self, pool: Pool | None) -> None:
        self._pool = pool
        self._rings: dict[int, _Ring] = {}
        self._priorities: list[int] = []
        """Negated, lowest first; only of rings with entries."""
        self.count = 0
        self.served = 0

    @property
    def has_room(self) -> bool:
        return self._pool is None or self._pool.has_room

    @property
    def rank(self) -> tuple[int, int]:
        return self._priorities[0], self.served

    def push(self, priority: int, root: int, entry: _Entry) -> None:
        ring = self._rings.get(priority)
        if ring is None:
            ring = self._rings[priority] = _Ring()
            insort(self._priorities, -priority)
        ring.push(root, entry)
        self.count += 1

    def pop(self) -> Ready:
        priority = -self._priorities[0]
        ring = self._rings[priority]
        *_, execution, node = ring.pop()
        if not ring.turns:
            del self._rings[priority], self._priorities[0]
        self.count -= 1
        return execution, node

    def ahead_of(self, execution: Execution, node: int) -> int | None:
        before = 0
        for priority in self._priorities:
            ring = self._rings[-priority]
            found = ring.ahead_of(execution, node)
            if found is not None:
                return before + found
            before += sum(map(len, ring.waiting.values()))
        return None


class _Ring:
    """One priority of one lane: roots take turns, each with the first of its files."""

    __slots__ = ("turns", "waiting")

    def __init__(self) -> None:
        self.turns: deque[int] = deque()
        self.waiting: dict[int, list[_Entry]] = {}

    def push(self, root: int, entry: _Entry) -> None:
        heap = self.waiting.get(root)
        if heap is None:
            heap = self.waiting[root] = []
            self.turns.append(root)
        heappush(heap, entry)

    def pop(self) -> _Entry:
        root = self.turns.popleft()
        heap = self.waiting[root]
        entry = heappop(heap)
        if heap:
            self.turns.append(root)
        else:
            del self.waiting[root]
        return entry

    def ahead_of(self, execution: Execution, node: int) -> int | None:
        root = execution.root_id
        heap = self.waiting.get(root, ())
        own = next((entry for entry in heap if entry[2] is execution and entry[3] == node), None)
        if own is None:
            return None
        rounds = sum(entry[:2] < own[:2] for entry in heap)
        before, turn = rounds, self.turns.index(root)
        for place, other in enumerate(self.turns):
            if other != root:
                before += min(len(self.waiting[other]), rounds + (place < turn))
        return before


def _place(execution: Execution, node: int) -> tuple[int, ...]:
    """Where it stands in the files of its root, from the top down."""
    path = [] if node < 0 else [node]
    while execution.parent is not None:
        path.append(execution.node)
        execution = execution.parent
    path.reverse()
    return tuple(path)
