"""What will fire and run in a span, from what is registered and how long it took so far? Nothing is written.

Facts are gathered here; `core.simulation` works on them in a process of its own, one at a time.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import Timetable
from zquant_flow.core.waits import On
from zquant_flow.core.workload import Report, Work
from zquant_flow.definitions.registry import Entry, Registry
from zquant_flow.engine.events import waited_for
from zquant_flow.engine.service import Engine
from zquant_flow.engine.workloads import Known, works_of
from zquant_flow.errors import BadRequest, Busy, Unavailable
from zquant_flow.store import durations, queries
from zquant_flow.store.database import Database
from zquant_flow.wording import say, unpacked

MOST_SECONDS = 300.0
"""A simulation that takes longer is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a simulation works on, and what it leaves out."""

    works: Sequence[Work]
    assumed: Sequence[str]
    """Tasks that never succeeded: their durations are a guess."""
    idle: Sequence[str]
    """Tasks that are disabled or paused: they don't fire."""
    unknown: Sequence[str]
    """Tasks of which nobody knows when they will be started."""
    horizon: Mapping[str, int | None]
    """Tasks whose calendars end before the span does, with the last instant that is known."""


@dataclass(slots=True)
class Simulations:
    """One at a time. Threads: any."""

    _busy: threading.Lock = field(default_factory=threading.Lock)

    def run(self, facts: Facts, start: int, end: int, *, slots: int, pools: Mapping[str, int]) -> Report:
        """Simulate [start, end]. Raises Busy, BadRequest for more fires than can be followed, Unavailable where it fails."""
        if not self._busy.acquire(blocking=False):
            raise Busy(say("a simulation is under way; wait until it has ended"))
        try:
            named = {name: 0 for work in facts.works for name, _ in work.pools}
            question = {
                "works": facts.works,
                "start": start,
                "end": end,
                "slots": slots,
                "pools": named | dict(pools),
            }
            return _asked(question)
        finally:
            self._busy.release()


def gathered(engine: Engine, database: Database, registry: Registry, end: int) -> Facts:
    """What is registered now, and how long it took so far."""
    rows = {row.id: row for row in queries.task_switches(database)}
    entries = [entry for entry in _that_matter(registry) if entry.id in rows]
    past = durations.of_tasks(database, [entry.id for entry in entries])
    known = [
        Known(
            task_id=entry.id,
            definition=entry.definition,
            past=past.get(entry.id),
            nodes=durations.of_nodes(database, entry.id) if entry.definition.workflow is not None else {},
        )
        for entry in entries
    ]
    times = engine.times_for(entry.definition for entry in entries)
    active = {id_ for id_, row in rows.items() if row.enabled and not row.paused}
    tables = {
        one.task_id: times.table(one.definition.schedule, from_micros(rows[one.task_id].anchor))
        for one in known
        if one.definition.schedule is not None and one.task_id in active
    }
    works = [
        work
        for one, work in zip(known, works_of(known, tables), strict=True)
        if one.task_id in active and (work.table is not None or work.waits_for)
    ]
    taken = {work.name for work in works}
    return Facts(
        works=works,
        assumed=[one.definition.name for one in known if one.past is None and one.definition.name in taken],
        idle=[
            one.definition.name
            for one in known
            if one.task_id not in active
            and (one.definition.schedule is not None or waited_for(one.definition))
        ],
        unknown=[
            one.definition.name
            for one in known
            if one.task_id in active and one.definition.name not in taken and _is_started(one.definition)
        ],
        horizon={work.name: _known_until(work.table) for work in works if _ends_before(work.table, end)},
    )


def _that_matter(registry: Registry) -> list[Entry]:
    """Tasks that something starts, and those that their nodes refer to: of the others nobody asks how long they took."""
    started = [
        entry
        for entry in registry.by_id.values()
        if entry.definition.schedule is not None or waited_for(entry.definition)
    ]
    named = {
        node.task
        for entry in started
        for node in (entry.definition.workflow.nodes if entry.definition.workflow is not None else ())
    }
    others = [registry.by_name[name] for name in named if name is not None and name in registry.by_name]
    return list({entry.id: entry for entry in (*started, *others)}.values())


def _is_started(definition: TaskDef) -> bool:
    """Whether something outside of what is simulated starts it: here nothing fails."""
    return definition.after is not None and definition.after.on is On.FAILURE


def _ends_before(table: Timetable | None, end: int) -> bool:
    return table is not None and table.known_until is not None and table.known_until < from_micros(end)


def _known_until(table: Timetable | None) -> int | None:
    """None where nothing of its calendar is known."""
    if table is None or table.known_until is None or table.known_until.year < 1970:
        return None
    return to_micros(table.known_until)


def _asked(question: Mapping[str, object]) -> Report:
    command = [sys.executable, "-P", "-m", "zquant_flow.engine.simulating"]
    try:
        done = subprocess.run(
            command, input=pickle.dumps(question), capture_output=True, timeout=MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            say("the simulation took longer than {seconds:g} s; name a shorter span", seconds=MOST_SECONDS)
        ) from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
        raise Unavailable(say("the process that simulates failed: {why}", why=why or str(done.returncode)))
    answer = pickle.loads(done.stdout)  # noqa: S301 - from our own child
    if isinstance(answer, Report):
        return answer
    raise BadRequest(unpacked(answer))
