"""When does it fire next?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from zquant_flow.cli.language import language, shown, t
from zquant_flow.cli.validate import calendars_here
from zquant_flow.config import Settings, load_settings, zone_named
from zquant_flow.core.model import Rule, Schedule, TaskDef
from zquant_flow.core.schedule import Times, Timetable, validate
from zquant_flow.core.sessions import Sessions
from zquant_flow.core.starters import starters_of
from zquant_flow.core.words import describe
from zquant_flow.definitions.calendars import horizon_message
from zquant_flow.errors import BadRequest, ScheduleError
from zquant_flow.wording import say


def show_next(
    target: str, *, tz: str | None, start: datetime | None, count: int, tasks_dir: Path | None, as_json: bool
) -> int:
    """Print the next fires of an expression or task; 0, or raises an error of ours."""
    settings = load_settings(tasks_dir=tasks_dir)
    default = zone_named(tz) if tz else settings.zone
    task = _task(target, settings.tasks_dir)
    schedule = _cron(target) if task is None else task.schedule
    if task is not None and (schedule is None or as_json is False):
        _say_what_starts_it(task, as_json=as_json)
    if schedule is None:
        return 0
    times = Times(zone=default, calendars=_calendars(schedule, settings))
    zone = times.table(schedule, datetime.now(UTC)).zone
    begin = (start if start.tzinfo else start.replace(tzinfo=zone)) if start else datetime.now(UTC)
    table = times.table(schedule, begin)
    fires = _fires(table, begin.astimezone(UTC), count)
    if as_json:
        sys.stdout.write(json.dumps({"fires": [fire.isoformat() for fire in fires]}) + "\n")
        return 0
    sys.stdout.write(f"{describe(schedule, language=language(), zone=zone)}, {zone.key}\n")
    for fire in fires:
        local = fire.astimezone(zone)
        sys.stdout.write(f"  {local:%Y-%m-%d %H:%M:%S %a %z}   {fire:%Y-%m-%d %H:%M:%S}Z\n")
    if len(fires) < count:
        sys.stdout.write("  " + t("nothing after that") + "\n")
        if bounds := [sessions for sessions in table.sessions if sessions and not sessions.unbounded]:
            sys.stdout.write(f"  {shown(horizon_message(min(bounds, key=lambda bound: bound.last)))}\n")
    return 0


def _calendars(schedule: Schedule, settings: Settings) -> Mapping[str, Sessions]:
    """The calendars that it follows. Raises BadRequest where one of them can't be had."""
    names = {rule.calendar for rule in schedule.rules if rule.calendar is not None}
    calendars = calendars_here(settings)
    calendars.ensure(names)
    for name in sorted(names - calendars.known.keys()):
        raise BadRequest(calendars.faults[name].message)
    return calendars.known


def _fires(table: Timetable, begin: datetime, count: int) -> list[datetime]:
    """From `begin` on, itself included."""
    found: list[datetime] = []
    after = begin.replace(microsecond=0) - datetime.resolution if begin.microsecond == 0 else begin
    while len(found) < count:
        following = table.next(after)
        if following is None:
            break
        found.append(following)
        after = following
    return found


def _say_what_starts_it(task: TaskDef, *, as_json: bool) -> None:
    """What starts it besides its schedule. Raises BadRequest for one that nothing starts."""
    found = starters_of(task)
    if task.schedule is None and not found:
        raise BadRequest(say("task {name!r} has no schedule", name=task.name))
    if as_json:
        sys.stdout.write(json.dumps({"fires": []}) + "\n")
    elif found:
        sys.stdout.write(t("runs {when}", when="; ".join(map(shown, found))) + "\n")


def _cron(text: str) -> Schedule:
    schedule = Schedule(rules=(Rule(cron=text),))
    validate(schedule, ZoneInfo("UTC"))
    return schedule


def _task(target: str, tasks_dir: Path) -> TaskDef | None:
    """The task of that name; None where it is an expression. A name of five words is one that no expression is."""
    looks_like_cron = target.startswith("@") or len(target.split()) in (5, 6)
    if looks_like_cron:
        try:
            _cron(target)
        except ScheduleError:
            found = _named(target, tasks_dir)
            if found is None:
                raise
            return found
        return None
    found = _named(target, tasks_dir)
    if found is None:
        raise BadRequest(
            say(
                "{word!r} is neither a cron expression (5 fields, or 6 with seconds first) nor a task in {folder}",
                word=target,
                folder=str(tasks_dir),
            )
        )
    return found


def _named(name: str, tasks_dir: Path) -> TaskDef | None:
    from zquant_flow.cli.validate import load_folder

    if not tasks_dir.is_dir():
        return None
    found = (loaded.task for file in load_folder(tasks_dir) for loaded in file.definitions)
    return next((task for task in found if task.name == name), None)
