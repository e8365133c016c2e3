"""When is a task due, by the words of its definition?"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from zquant_flow.core.model import DEFAULT_MISFIRE_GRACE, Catchup, Rule, Schedule
from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.definitions.forms import RuleForm, TaskForm, zone_of
from zquant_flow.errors import ScheduleError
from zquant_flow.wording import say

_KINDS = ("cron", "interval", "run_at", "at")
LONGEST_JITTER = timedelta(days=1)
SCHEDULE_WORDS = (*_KINDS, "schedules")
ONLY_WITH_SCHEDULE = (
    "calendar",
    "start_at",
    "end_at",
    "catchup",
    "catchup_limit",
    "misfire_grace_time",
    "jitter",
)


def build_schedule(form: TaskForm, default_zone: ZoneInfo, errors: list[FieldError]) -> Schedule | None:
    """The schedule of a task, its instants in UTC; None where it has none, or a wrong one (`errors` has grown)."""
    before = len(errors)
    zone = zone_of(form.timezone) if form.timezone else default_zone
    start, end = (_utc(form, word, zone, errors) for word in ("start_at", "end_at"))
    if start and end and end < start:
        errors.append(
            FieldError(
                ("end_at",), say("end_at lies before start_at: nothing would ever fire"), "never_fires"
            )
        )
    schedule = Schedule(
        rules=tuple(_rules(form, zone, errors)),
        timezone=form.timezone,
        start_at=start,
        end_at=end,
        catchup=form.catchup or Catchup.LATEST,
        catchup_limit=form.catchup_limit or 100,
        misfire_grace=DEFAULT_MISFIRE_GRACE if form.misfire_grace_time is None else form.misfire_grace_time,
        jitter=form.jitter or timedelta(),
    )
    _check_jitter(form, schedule, errors)
    if len(errors) > before:
        return None
    if not schedule.rules:
        _refuse_bounds_alone(form, errors)
        return None
    _check_rules(schedule, form, zone, errors)
    return schedule if len(errors) == before else None


def _utc(
    form: TaskForm | RuleForm, word: str, zone: ZoneInfo, errors: list[FieldError], base: Path = ()
) -> datetime | None:
    """An instant without offset is in the task's zone (SEMANTICS §1.7)."""
    instant: datetime | None = getattr(form, word)
    if instant is None:
        return None
    try:
        return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        errors.append(FieldError((*base, word), say("{instant} is out of range", instant=str(instant))))
        return None


def _rules(form: TaskForm, zone: ZoneInfo, errors: list[FieldError]) -> list[Rule]:
    said = [word for word in SCHEDULE_WORDS if getattr(form, word) is not None]
    if len(said) > 1:
        message = say(
            "{first} and {second}: a task has one of them, or a list of `schedules`",
            first=said[0],
            second=said[1],
        )
        errors.append(FieldError((said[1],), message, "conflict"))
        return []
    if form.schedules is None:
        return [_rule(form, form.calendar, zone, errors, ())] if said else []
    rules = []
    for index, item in enumerate(form.schedules):
        count = sum(getattr(item, word) is not None for word in _KINDS)
        if count == 1:
            rules.append(_rule(item, item.calendar or form.calendar, zone, errors, ("schedules", index)))
        else:
            message = say("one item of schedules has exactly one of cron, interval, run_at, at")
            errors.append(FieldError(("schedules", index), message, "conflict" if count else "missing"))
    return rules


def _rule(
    form: TaskForm | RuleForm, calendar: str | None, zone: ZoneInfo, errors: list[FieldError], base: Path
) -> Rule:
    if form.at is not None and calendar is None:
        message = say("`at` follows the sessions of an exchange: name its `calendar`, such as XSHG")
        errors.append(FieldError((*base, "at"), message, "missing"))
    return Rule(
        cron=form.cron.strip() if form.cron is not None else None,
        interval=form.interval,
        run_at=_utc(form, "run_at", zone, errors, base),
        at=form.at,
        calendar=calendar,
    )


def _check_jitter(form: TaskForm, schedule: Schedule, errors: list[FieldError]) -> None:
    """Fires must keep their order, and their day."""
    if schedule.jitter > LONGEST_JITTER:
        errors.append(FieldError(("jitter",), say("jitter is at most a day")))
    for rule in schedule.rules:
        if rule.interval is not None and schedule.jitter >= rule.interval:
            message = say(
                "jitter {jitter} is not shorter than the interval {interval}: fires would change places",
                jitter=str(schedule.jitter),
                interval=str(rule.interval),
            )
            errors.append(FieldError(("jitter",), message))
            return


def _refuse_bounds_alone(form: TaskForm, errors: list[FieldError]) -> None:
    for word in ONLY_WITH_SCHEDULE:
        if getattr(form, word) is not None:
            message = say(
                "{word} says something about a schedule, and this task has none: add cron, interval, run_at or at",
                word=word,
            )
            errors.append(FieldError((word,), message, "schedule_missing"))


def _check_rules(schedule: Schedule, form: TaskForm, zone: ZoneInfo, errors: list[FieldError]) -> None:
    for index, rule in enumerate(schedule.rules):
        message = _fault_of(rule, schedule.timezone, schedule.start_at, schedule.end_at, zone)
        if message:
            kind = next(word for word in _KINDS if getattr(rule, word) is not None)
            path: Path = ("schedules", index, kind) if form.schedules is not None else (kind,)
            errors.append(FieldError(path, message, "invalid_schedule"))


@functools.lru_cache(maxsize=10_000)
def _fault_of(
    rule: Rule, timezone: str | None, start_at: datetime | None, end_at: datetime | None, zone: ZoneInfo
) -> str | None:
    from zquant_flow.core.schedule import validate

    try:
        validate(Schedule(rules=(rule,), timezone=timezone, start_at=start_at, end_at=end_at), zone)
    except ScheduleError as exc:
        return exc.detail
    return None
