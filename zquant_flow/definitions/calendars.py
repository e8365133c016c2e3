"""What do trading calendars say against a definition?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import MappingProxyType

from zquant_flow.calendars.provider import CalendarFault
from zquant_flow.core.model import Rule, Schedule, TaskDef
from zquant_flow.core.schedule import Times
from zquant_flow.core.sessions import Sessions
from zquant_flow.wording import Message, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of calendars: what schedules are read by, and why some calendars can't be had."""

    times: Times
    faults: Mapping[str, CalendarFault] = field(default_factory=lambda: MappingProxyType({}))


def calendars_of(task: TaskDef) -> set[str]:
    """The calendars that a task follows."""
    rules = task.schedule.rules if task.schedule is not None else ()
    return {rule.calendar for rule in rules if rule.calendar is not None}


def objections(task: TaskDef, known: Known) -> Iterator[tuple[str, str, Message | str]]:
    """Field, code and message of everything that calendars say against it. One that nobody has looked at says nothing."""
    schedule = task.schedule
    for rule in schedule.rules if schedule is not None else ():
        if rule.calendar is None or schedule is None:
            continue
        sessions = known.times.calendars.get(rule.calendar)
        fault = known.faults.get(rule.calendar)
        if sessions is not None:
            yield from _against(rule, schedule, sessions, known.times)
        elif fault is not None and fault.path is None:
            yield "calendar", fault.code, fault.message
        elif fault is not None:
            message = say(
                "calendars/{path}:{line}:{column} has an error: {message}",
                path=fault.path,
                line=fault.line,
                column=fault.column,
                message=fault.message,
            )
            yield "calendar", fault.code, message


def _against(
    rule: Rule, schedule: Schedule, sessions: Sessions, times: Times
) -> Iterator[tuple[str, str, Message]]:
    start = schedule.start_at or rule.run_at
    if start is not None and start > sessions.known_until and not sessions.unbounded:
        word = "run_at" if rule.run_at is not None else "start_at"
        yield word, "calendar_horizon", horizon_message(sessions)
    elif rule.run_at is not None:
        day = sessions.day_of(rule.run_at)
        if not sessions.is_session(day) and day <= sessions.last:
            message = say("{day} is no session of {name}", day=_shown(day), name=sessions.name)
            yield "run_at", "never_fires", message
    elif not _ever_fires(rule, schedule, sessions, times):
        message = say("it never meets a session of {name}", name=sessions.name)
        yield "calendar", "never_fires", message


def _ever_fires(rule: Rule, schedule: Schedule, sessions: Sessions, times: Times) -> bool:
    """Whether the rule met a session in all that is known, and can meet one within its own bounds."""
    first = sessions.start_of(sessions.first) - timedelta.resolution
    if schedule.start_at is not None or schedule.end_at is not None:
        within = times.table(replace(schedule, rules=(rule,)), schedule.start_at or first)
        if within.next(first) is not None:
            return True
        if schedule.end_at is not None and schedule.end_at <= sessions.known_until:
            return False
    alone = Schedule(rules=(rule,), timezone=schedule.timezone)
    return times.table(alone, first).next(first) is not None


def horizon_message(sessions: Sessions) -> Message:
    """How far a published calendar goes, and the way out."""
    return say(
        "{name} is published until {day}; later sessions are not known: update exchange_calendars, "
        "or name `holidays` and `until` in calendars/{name}.yaml",
        name=sessions.name,
        day=_shown(sessions.last),
    )


def _shown(day: int) -> str:
    return date.fromordinal(day).isoformat()
