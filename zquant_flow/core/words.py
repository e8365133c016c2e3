"""How does a schedule read in words?

Plain words for the shapes that people write most; anything else is shown as it was written, rather than wrongly.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from zquant_flow.core.cron import Cron, parse_cron
from zquant_flow.core.model import At, Edge, Rule, Schedule
from zquant_flow.core.schedule import zone_of

Language = Literal["en", "zh"]

_EN_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ZH_DAYS = "日一二三四五六"
_UNITS = ((86400, "d", "天"), (3600, "h", "小时"), (60, "min", "分钟"), (1, "s", "秒"))
_MANY = 4  # times of day, or days, that are still read more easily than the expression


def describe(schedule: Schedule, *, language: Language, zone: ZoneInfo | None = None) -> str:
    """The rules in words, in English or Chinese; `cron EXPR` for a rule that has no plain words.

    `zone` shows instants when the schedule names no zone (UTC, and it says so, if both are missing). Raises
    ScheduleError for an expression that can't be read.
    """
    en = language == "en"
    shown = zone_of(schedule, zone or ZoneInfo("UTC")) if zone or schedule.timezone else None
    text = ("; " if en else "；").join(_rule(rule, en, shown) for rule in schedule.rules)
    if schedule.start_at:
        moment = _instant(schedule.start_at, shown)
        text += f", from {moment}" if en else f"，{moment} 起"
    if schedule.end_at:
        moment = _instant(schedule.end_at, shown)
        text += f", until {moment}" if en else f"，{moment} 止"
    return text


def _rule(rule: Rule, en: bool, zone: ZoneInfo | None) -> str:
    if rule.at is not None:
        return _at_session(rule.at, rule.calendar or "", en)
    text = _kind(rule, en, zone)
    if rule.calendar is None:
        return text
    return f"{text}, on {rule.calendar} sessions" if en else f"{text}，仅 {rule.calendar} 交易日"


def _kind(rule: Rule, en: bool, zone: ZoneInfo | None) -> str:
    if rule.run_at is not None:
        moment = _instant(rule.run_at, zone)
        return f"once at {moment}" if en else f"{moment} 执行一次"
    if rule.interval is not None:
        return _interval(rule.interval, en)
    cron = parse_cron(rule.cron or "")
    return _repeating(cron, en) or _at_times(cron, en) or f"cron {cron.text}"


def _instant(instant: datetime, zone: ZoneInfo | None) -> str:
    local = instant.astimezone(zone or UTC)
    text = f"{local:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return text if zone else f"{text} UTC"


def _at_session(at: At, calendar: str, en: bool) -> str:
    opens = at.edge is Edge.OPEN
    span = _span(abs(at.offset), en)
    if en:
        edge = f"the {'open' if opens else 'close'} of each {calendar} session"
        return f"{span} {'before' if at.offset < timedelta() else 'after'} {edge}" if span else f"at {edge}"
    edge = f"{calendar} 每个交易日{'开盘' if opens else '收盘'}"
    return f"{edge}{'前' if at.offset < timedelta() else '后'} {span}" if span else f"{edge}时"


def _interval(interval: timedelta, en: bool) -> str:
    return ("every " if en else "每 ") + _span(interval, en)


def _span(interval: timedelta, en: bool) -> str:
    rest, parts = interval.total_seconds(), []
    for size, english, chinese in _UNITS:
        count = int(rest // size) if size > 1 else round(rest, 6)
        rest -= count * size
        if count:
            parts.append(f"{count:g} {english if en else chinese}")
    return " ".join(parts)


def _repeating(cron: Cron, en: bool) -> str | None:
    """`every n`, only where n divides the whole: `*/7` minutes are not seven apart at the full hour."""
    if len(cron.months) < 12 or len(cron.days) < 31 or len(cron.weekdays) < 7:
        return None
    seconds, minutes, hours = _step(cron.seconds, 60), _step(cron.minutes, 60), _step(cron.hours, 24)
    if seconds and minutes == hours == 1:
        return _every(seconds, "second", "秒", en)
    if minutes and hours == 1 and cron.seconds == (0,):
        return _every(minutes, "minute", "分钟", en)
    if hours and len(cron.hours) > _MANY and len(cron.minutes) == 1 and cron.seconds == (0,):
        every = _every(hours, "hour", "小时", en)
        return f"at minute {cron.minutes[0]} of {every}" if en else f"{every}的第 {cron.minutes[0]} 分钟"
    return None


def _every(count: int, english: str, chinese: str, en: bool) -> str:
    if count == 1:
        return f"every {english}" if en else f"每{chinese}"
    return f"every {count} {english}s" if en else f"每 {count} {chinese}"


def _step(values: tuple[int, ...], whole: int) -> int | None:
    count = values[1] - values[0] if len(values) > 1 else whole
    return count if whole % count == 0 and values == tuple(range(0, whole, count)) and count < whole else None


def _at_times(cron: Cron, en: bool) -> str | None:
    days = _days(cron, en)
    if days is None or cron.seconds != (0,) or len(cron.minutes) * len(cron.hours) > _MANY:
        return None
    times = (", " if en else "、").join(
        f"{hour:02}:{minute:02}" for hour in cron.hours for minute in cron.minutes
    )
    return f"at {times}{days}" if en else f"{days} {times}"


def _days(cron: Cron, en: bool) -> str | None:
    """The days, where day of month or weekday alone chooses them; the star rule decides that, not the values."""
    every_day, every_weekday = len(cron.days) == 31, len(cron.weekdays) == 7
    if len(cron.months) < 12 or cron.nth_weekdays:
        return None
    if every_day and every_weekday:
        return " every day" if en else "每天"
    if every_day and cron.day_star:
        return _weekdays(sorted(cron.weekdays, key=lambda day: (day - 1) % 7), en)
    if not (every_weekday and cron.weekday_star) or len(cron.days) + cron.last_day > _MANY:
        return None
    if cron.last_day:
        return None if cron.days else (" on the last day of every month" if en else "每月最后一天")
    days = cron.days
    if en:
        return f" on day{'s' if len(days) > 1 else ''} {', '.join(map(str, days))} of every month"
    return f"每月 {'、'.join(map(str, days))} 日"


def _weekdays(days: list[int], en: bool) -> str:
    if days == [1, 2, 3, 4, 5]:
        return ", Monday to Friday" if en else "每个工作日(周一至周五)"
    return (
        " on " + ", ".join(_EN_DAYS[day] for day in days)
        if en
        else "每周" + "、".join(_ZH_DAYS[day] for day in days)
    )
