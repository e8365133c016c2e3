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
from zquant_flow.core.model import Rule, Schedule
from zquant_flow.core.schedule import Times, Timetable, validate
from zquant_flow.core.sessions import Sessions
from zquant_flow.core.words import describe
from zquant_flow.definitions.calendars import horizon_message
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def show_next(
    target: str, *, tz: str | None, start: datetime | None, count: int, tasks_dir: Path | None, as_json: bool
) -> int:
    """Print the next fires of an expression or task; 0, or raises an error of ours."""
    settings = load_settings(tasks_dir=tasks_dir)
    default = zone_named(tz) if tz else settings.zone
    schedule = _schedule(target, settings.tasks_dir)
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


def _schedule(target: str, tasks_dir: Path) -> Schedule:
    words = target.split()
    if target.startswith("@") or len(words) in (5, 6):
        schedule = Schedule(rules=(Rule(cron=target),))
        validate(schedule, ZoneInfo("UTC"))
        return schedule
    from zquant_flow.cli.validate import load_folder

    for file in load_folder(tasks_dir):
        for loaded in file.definitions:
            if loaded.task.name == target:
                if loaded.task.schedule is None:
                    raise BadRequest(say("task {name!r} has no schedule", name=target))
                return loaded.task.schedule
    raise BadRequest(
        say(
            "{word!r} is neither a cron expression (5 fields, or 6 with seconds first) nor a task in {folder}",
            word=target,
            folder=str(tasks_dir),
        )
    )
