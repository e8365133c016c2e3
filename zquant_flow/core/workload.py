"""What does a simulation know of a task, and what does it find? Instants and durations are microseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zquant_flow.core.model import Overlap
from zquant_flow.core.schedule import Timetable


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One task: when it fires, how long it takes, and what it needs meanwhile."""

    task_id: int
    name: str
    table: Timetable | None = None
    usual: int
    """How long an execution takes."""
    slow: int
    """How long one in twenty takes, or longer."""
    slots: int = 1
    pools: tuple[tuple[str, int], ...] = ()
    """Places in pools, by name; all of it is taken and given back together."""
    overlap: Overlap = Overlap.SKIP
    limit: int | None = 1
    """How many executions may be active before `overlap` decides; None: any number."""
    priority: int = 0
    within: int | None = None
    """It should have ended so long after its logical time."""
    waits_for: tuple[str, ...] = ()
    """The signals that start it, all of them."""
    waits_within: int | None = None
    gives: tuple[str, ...] = ()
    """The signals that its end gives."""


class Kind(StrEnum):
    """What may be found."""

    SKIPPED = "skipped"
    QUEUED = "queued"
    REPLACED = "replaced"
    SLOTS = "slots"
    POOL = "pool"
    DEADLINE = "deadline"


@dataclass(slots=True)
class Finding:
    """Something that happens to a task `count` times, from `first` to `last`; `worst` is how long it waits, or is late."""

    kind: Kind
    task: str
    pool: str | None
    first: int
    last: int = 0
    count: int = 0
    worst: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """The tasks that held what it waited for, by how often."""

    def add(self, moment: int, worst: int) -> None:
        """It happens once more."""
        self.count += 1
        self.last = max(self.last, moment)
        self.worst = max(self.worst, worst)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one way to run it all.

    `runs`: executions of each work; `busy`: microseconds of slots in use, for each hour since 1970; `peak`: slots in use, and
    the first instant at which they were.
    """

    runs: Sequence[int]
    findings: Sequence[Finding]
    busy: Mapping[int, int]
    peak: tuple[int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How often each work fires, and what comes of it when all take as long as usual, and when all are slow."""

    fires: Sequence[int]
    usual: Outcome
    slow: Outcome
    steady: Sequence[str]
    """The tasks that fire too often to be followed one by one: they count as an even load."""
