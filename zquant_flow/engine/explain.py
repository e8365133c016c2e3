"""Why is a task running now, or why not? Facts in, reasons out; the first reason is the answer in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zquant_flow.calendars.provider import NEAR_DAYS, CalendarFault
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import SkipReason, Timetable
from zquant_flow.definitions.calendars import horizon_message
from zquant_flow.definitions.loader import LoadError
from zquant_flow.engine.events import waited_for
from zquant_flow.engine.pools import Standing
from zquant_flow.wording import Message, joined, say

SHOWN = 10
"""So many executions are told one by one."""

PENDING = {
    "overlap": say("it waits until the task's other executions have ended"),
    "backfill": say("it waits for its place in the backfill"),
    "retry": say("its attempt failed, and it will be tried again"),
    "check": say("it waits for something elsewhere, and looks again"),
    "jitter": say("it starts a little later than its logical time, by `jitter`"),
    "shutdown": say("the server was stopped during its attempt, and it will be tried again"),
    "approval": say("it waits for somebody to approve it"),
}
"""What a pending execution waits for, by `waiting_for`."""
_SKIPPED = {
    SkipReason.MISFIRE: say("it came too late"),
    SkipReason.COALESCED: say("a later fire stood for it"),
    SkipReason.DISABLED: say("the task was disabled"),
    SkipReason.PAUSED: say("the task was paused"),
    SkipReason.ARCHIVED: say("the task was archived"),
    SkipReason.OVERLAP: say("an execution was still active, and `overlap` is `skip`"),
    SkipReason.CLOCK_STEP: say("the clock was set"),
    SkipReason.CANCELLED: say("its backfill was cancelled"),
    SkipReason.NOT_A_SESSION: say("it was no trading session"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One fact: a code for machines, words for people, the execution it is about, the instant (microseconds) it ends."""

    code: str
    detail: Message
    execution_id: int | None = None
    until: int | None = None


def explain(
    row: Any,
    definition: TaskDef,
    *,
    active: Sequence[Any],
    last_entry: Any | None,
    errors: Sequence[LoadError],
    used_by: Sequence[str],
    slots: tuple[int, int],
    standing: Standing | None = None,
    horizon: Reason | None = None,
    arrived: Sequence[Any] = (),
) -> list[Reason]:
    """The reasons, most telling first; at least one.

    `active`: rows of the executions that have not ended; `last_entry`: the newest of the ledger; `errors`: of its file;
    `used_by`: workflows that refer to it; `slots`: those in use, and all; `standing`: of its pool, if it has one; `horizon`: what its
    calendars say; `arrived`: signals that it has got and not used.
    """
    return [
        *_of_executions(active, slots, standing),
        *_of_switches(row),
        *_of_events(row, definition, arrived),
        *_of_arrivals(row, definition),
        *_of_schedule(row, definition, used_by, horizon),
        *_of_the_past(last_entry),
        *(Reason(code="load_error", detail=_load_error(row, error)) for error in errors[:1]),
    ]


def calendar_reason(table: Timetable, faults: Mapping[str, CalendarFault], now: datetime) -> Reason | None:
    """How far its calendars are known, where that matters: they are unknown, at their end, or near it."""
    schedule = table.schedule
    for rule, sessions in zip(schedule.rules, table.sessions, strict=False):
        if rule.calendar is not None and sessions is None:
            fault = faults.get(rule.calendar)
            why = fault.message if fault else say("it is being read")
            detail = say("calendar {name} is not there: {why}", name=rule.calendar, why=why)
            return Reason(code="calendar_missing", detail=detail)
    bounded = [sessions for sessions in table.sessions if sessions is not None and not sessions.unbounded]
    if table.known_until is None or not bounded:
        return None
    if schedule.end_at is not None and schedule.end_at <= table.known_until:
        return None
    nearest = min(bounded, key=lambda sessions: sessions.last)
    detail, until = horizon_message(nearest), to_micros(table.known_until)
    if table.next(now) is None and any(rule.run_at is None for rule in schedule.rules):
        return Reason(code="calendar_horizon", detail=detail, until=until)
    if nearest.last - now.toordinal() <= NEAR_DAYS:
        return Reason(code="calendar_horizon_near", detail=detail, until=until)
    return None


def _of_executions(
    active: Sequence[Any], slots: tuple[int, int], standing: Standing | None
) -> Iterator[Reason]:
    for execution in sorted(active, key=lambda execution: (execution.status == "pending", execution.id))[
        :SHOWN
    ]:
        if execution.status == "running":
            detail = say(
                "it is running: execution {id} since {since}",
                id=execution.id,
                since=shown(execution.start_time),
            )
            yield Reason(code="running", detail=detail, execution_id=execution.id)
        elif execution.status == "paused":
            detail = say("execution {id} is paused; resume it", id=execution.id)
            yield Reason(code="execution_paused", detail=detail, execution_id=execution.id)
        else:
            yield _pending(execution, slots, standing)
    if len(active) > SHOWN:
        yield Reason(code="more", detail=say("and {count} more executions", count=len(active) - SHOWN))


def _pending(execution: Any, slots: tuple[int, int], standing: Standing | None) -> Reason:
    code = execution.waiting_for or "slot"
    why = PENDING.get(code)
    if code in ("slot", "pool"):
        code = "pool" if standing is not None and standing.is_full else "slot"
    if why is not None and execution.waiting_until is not None:
        why = say("{why}, until {instant}", why=why, instant=shown(execution.waiting_until))
    if code == "pool" and standing is not None:
        why = pool_is_full(standing, standing.ahead.get(execution.id, 0))
    elif why is None:
        why = say("it waits for a slot: {used} of {all} are in use", used=slots[0], all=slots[1])
    return Reason(
        code=f"waiting_for_{code}",
        detail=say("execution {id} is pending: {why}", id=execution.id, why=why),
        execution_id=execution.id,
        until=execution.waiting_until,
    )


def pool_is_full(standing: Standing, ahead: int) -> Message:
    """Who holds the places of a pool, and how many come before."""
    holders = joined(", ", map(str, standing.holders[:SHOWN]))
    if len(standing.holders) > SHOWN:
        holders = say("{some} and {count} more", some=holders, count=len(standing.holders) - SHOWN)
    return say(
        "it waits for the pool {pool!r}: {used} of {all} places are in use (by: {holders}), {ahead} wait before it",
        pool=standing.name,
        used=len(standing.holders),
        all=standing.slots,
        holders=holders or say("nobody"),
        ahead=ahead,
    )


def _of_switches(row: Any) -> Iterator[Reason]:
    if row.archived_at is not None:
        detail = say("it is archived since {since}: its definition is gone", since=shown(row.archived_at))
        yield Reason(code="archived", detail=detail)
        return
    if not row.enabled:
        detail = say("it is disabled, by {who}: it fires again once it is enabled", who=row.updated_by)
        yield Reason(code="disabled", detail=detail)
    if row.paused:
        detail = say("it is paused, by {who}: it goes on once it is resumed", who=row.updated_by)
        yield Reason(code="paused", detail=detail)


def _of_events(row: Any, definition: TaskDef, arrived: Sequence[Any]) -> Iterator[Reason]:
    """What it waits for of other tasks, and what of that has come."""
    sources = waited_for(definition)
    if not sources or row.archived_at is not None:
        return
    came = {signal.source: signal.arrived for signal in arrived}
    parts: list[str] = [
        say("{name} (came at {instant})", name=_source(source), instant=shown(came[source]))
        if source in came
        else _source(source)
        for source in sources[:SHOWN]
    ]
    detail = say("it runs after {sources}", sources=joined(", ", parts))
    yield Reason(code="waiting_for_events", detail=detail)


def _of_arrivals(row: Any, definition: TaskDef) -> Iterator[Reason]:
    """What it waits for from outside."""
    if row.archived_at is not None:
        return
    if definition.on_file is not None:
        detail = say("it runs for each new file that matches {glob}", glob=definition.on_file.glob)
        yield Reason(code="waiting_for_file", detail=detail)
    if definition.webhook is not None:
        detail = say("it runs when a signed request comes to /hooks/{name}", name=definition.webhook.name)
        yield Reason(code="waiting_for_webhook", detail=detail)


def _source(source: str) -> str:
    """`task:sync` is the end of a task, `data:bars` what some task produces."""
    return source.partition(":")[2]


def _of_schedule(
    row: Any, definition: TaskDef, used_by: Sequence[str], horizon: Reason | None
) -> Iterator[Reason]:
    if definition.workflow is None and definition.action is None:
        yield Reason(code="nothing_to_run", detail=say("it has nothing to run: give it a command"))
    if row.archived_at is not None:
        return
    if definition.schedule is None:
        if waited_for(definition) or definition.on_file is not None or definition.webhook is not None:
            return
        if used_by:
            names = joined(", ", used_by[:SHOWN])
            detail = say("it has no schedule: it runs when triggered, and as a node of {names}", names=names)
        else:
            detail = say("it has no schedule: it runs when triggered")
        yield Reason(code="no_schedule", detail=detail)
    elif row.next_fire is not None:
        detail = say("it waits for its next fire at {instant}", instant=shown(row.next_fire))
        yield Reason(code="waiting_for_fire", detail=detail, until=row.next_fire)
        if horizon is not None:
            yield horizon
    elif horizon is not None and horizon.code != "calendar_horizon_near":
        yield horizon
    elif row.enabled and not row.paused:
        yield Reason(code="schedule_over", detail=say("its schedule has no fire ahead"))


def _of_the_past(entry: Any | None) -> Iterator[Reason]:
    if entry is None or entry.outcome == "fired":
        return
    detail = say(
        "its last fire, of {instant}, was skipped: {why}",
        instant=shown(entry.until),
        why=_SKIPPED.get(SkipReason(entry.outcome), entry.outcome),
    )
    yield Reason(code=f"skipped_{entry.outcome}", detail=detail)


def _load_error(row: Any, error: LoadError) -> Message:
    return say(
        "{source}:{line}:{column} has an error, so version {version} stays: {message}",
        source=row.source,
        line=error.line,
        column=error.column,
        version=row.version,
        message=error.message,
    )


def shown(moment: int | None) -> str:
    """An instant (microseconds) in a sentence."""
    return "?" if moment is None else f"{from_micros(moment):%Y-%m-%d %H:%M:%S} UTC"
