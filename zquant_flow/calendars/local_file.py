"""What does a file in the calendars folder say? Read in the child process: its text is anyone's."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, time
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml

from zquant_flow.core.sessions import LocalCalendar, Sessions
from zquant_flow.wording import Message, joined, say

MAX_BYTES = 1_000_000
MAX_DAYS_OF_A_RANGE = 400
WORDS = (
    *("holidays", "sessions", "early_closes", "late_opens", "until"),
    *("timezone", "weekdays", "open", "close"),
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"\d{1,2}:\d{2}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

T = TypeVar("T")


class LocalFault(ValueError):
    """A file that is not read; `line` and `column` count from 1, `field` is the key it is about."""

    def __init__(self, message: Message, node: Any = None, field: str = "") -> None:
        super().__init__(message)
        self.message, self.field = message, field
        self.line = node.start_mark.line + 1 if node is not None else 1
        self.column = node.start_mark.column + 1 if node is not None else 1


def read_local(text: str) -> tuple[LocalCalendar, dict[int, Any]]:
    """The calendar, and where each single holiday stands. Raises LocalFault."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        fault = LocalFault(say("this is no YAML: {reason}", reason=str(exc.problem)))
        if exc.problem_mark is not None:
            fault.line, fault.column = exc.problem_mark.line + 1, exc.problem_mark.column + 1
        raise fault from None
    except (yaml.YAMLError, RecursionError) as exc:
        raise LocalFault(say("this is no YAML: {reason}", reason=type(exc).__name__)) from None
    if not isinstance(root, yaml.MappingNode):
        raise LocalFault(say("a calendar is a mapping with keys such as `holidays` and `until`"), root)
    words = _words(root)
    single: dict[int, Any] = {}
    get = words.get
    weekdays = _each(get("weekdays"), "weekdays", _weekday)
    found = LocalCalendar(
        holidays=frozenset(_days(get("holidays"), "holidays", single)),
        sessions=frozenset(_days(get("sessions"), "sessions", {})),
        early_closes=_times(get("early_closes"), "early_closes"),
        late_opens=_times(get("late_opens"), "late_opens"),
        until=_one(get("until"), "until", _day),
        zone=_one(get("timezone"), "timezone", _zone),
        weekdays=frozenset(weekdays) if weekdays else frozenset(range(5)),
        open=_one(get("open"), "open", _clock),
        close=_one(get("close"), "close", _clock),
    )
    return found, single


def refuse_pointless(single: dict[int, Any], local: LocalCalendar, published: Sessions | None) -> None:
    """Raises LocalFault for a holiday on a day on which nobody trades anyway: as a rule a slip of the pen."""
    for day, node in single.items():
        is_weekend = date.fromordinal(day).weekday() not in local.weekdays
        if is_weekend and day not in local.sessions and not (published and published.is_session(day)):
            raise LocalFault(
                say("{day} is no trading day anyway: look at the date", day=_shown(day)), node, "holidays"
            )


def _words(root: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in root.value:
        word = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
        if word not in WORDS:
            known = joined(", ", WORDS)
            raise LocalFault(
                say("unknown key {word!r}: known here are {known}", word=word[:100], known=known), key
            )
        if word in found:
            raise LocalFault(say("{word!r} stands here twice", word=word), key)
        found[word] = value
    return found


def _one(node: Any, field: str, read: Callable[[str], T]) -> T | None:
    if node is None:
        return None
    if not isinstance(node, yaml.ScalarNode):
        raise LocalFault(say("{field} has one value", field=field), node, field)
    try:
        return read(str(node.value).strip())
    except ValueError as exc:
        message = (
            exc.args[0]
            if isinstance(exc.args[0], Message)
            else say("wrong value {text!r}", text=str(node.value)[:60])
        )
        raise LocalFault(message, node, field) from None


def _each(node: Any, field: str, read: Callable[[str], T]) -> list[T]:
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise LocalFault(say("{field} is a list", field=field), node, field)
    return [value for item in node.value if (value := _one(item, field, read)) is not None]


def _days(node: Any, field: str, single: dict[int, Any]) -> list[int]:
    """Days, and ranges of them as `2027-02-08..2027-02-12`."""
    found: list[int] = []
    for item, days in zip(node.value if node else (), _each(node, field, _range), strict=True):
        found += days
        if len(days) == 1:
            single[days[0]] = item
    return found


def _times(node: Any, field: str) -> dict[int, time]:
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise LocalFault(say("{field} is a mapping of days to times", field=field), node, field)
    found: dict[int, time] = {}
    for key, value in node.value:
        day, moment = _one(key, field, _day), _one(value, field, _clock)
        assert day is not None and moment is not None
        found[day] = moment
    return found


def _range(text: str) -> list[int]:
    first, dots, last = text.partition("..")
    begin, end = _day(first.strip()), _day((last if dots else first).strip())
    if not 0 <= end - begin < MAX_DAYS_OF_A_RANGE:
        raise ValueError(
            say("{text} is no span of at most {count} days", text=text[:60], count=MAX_DAYS_OF_A_RANGE)
        )
    return list(range(begin, end + 1))


def _day(text: str) -> int:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text).toordinal()
    except ValueError:
        pass
    raise ValueError(say("{text!r} is no date: write 2027-02-08", text=text[:60]))


def _clock(text: str) -> time:
    try:
        if _TIME.fullmatch(text):
            return time.fromisoformat(text.zfill(5))
    except ValueError:
        pass
    raise ValueError(say('{text!r} is no time of day: write "12:30", in quotes', text=text[:60]))


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError(
            say("unknown time zone {name!r}: write one such as Asia/Shanghai", name=text[:100])
        ) from None


def _weekday(text: str) -> int:
    if text.lower()[:3] in _WEEKDAYS:
        return _WEEKDAYS.index(text.lower()[:3])
    raise ValueError(say("{text!r} is no weekday: write mon to sun", text=text[:60]))


def _shown(day: int) -> str:
    return date.fromordinal(day).isoformat()
