"""What does each field of a cron expression say?

croniter expands a field; what may stand in it, and what ranges mean, follows Debian's crontab(5), with `L`, `#` and a
leading field of seconds added.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from croniter import croniter

from zquant_flow.wording import joined, say

LAST = -1
"""The `n` of a weekday that counts from the end of the month (`L5`)."""

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "weekday": (0, 7),
}
_SHOWN = {
    "second": say("second"),
    "minute": say("minute"),
    "hour": say("hour"),
    "day": say("day"),
    "month": say("month"),
    "weekday": say("weekday"),
}
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = {
    "month": dict(zip(_MONTHS, range(1, 13), strict=True)),
    "weekday": dict(zip(_WEEKDAYS, range(7), strict=True)),
}
_CRONITER_FIELDS = ("minute", "hour", "day", "month", "weekday", "second")
_LONGEST = 1000

_VALUE = "[0-9]{1,4}|[a-z]{3}"
_ITEM = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,4}}))?")
_NTH = re.compile(rf"({_VALUE})#([1-5])")
_LAST_WEEKDAY = re.compile(rf"l({_VALUE})|({_VALUE})l")


class Refused(ValueError):
    """Part of an expression that Debian's cron and our extensions don't know."""


class Field(NamedTuple):
    """The values of a field; `last_day` for an `L` among the days, `nth` as in `Cron.nth_weekdays`."""

    values: tuple[int, ...]
    last_day: bool = False
    nth: tuple[tuple[int, int], ...] = ()


def split_fields(text: str) -> dict[str, str]:
    """The text of each field by its name; a nickname is written out. Raises Refused."""
    if len(text) > _LONGEST or not text.isascii():
        raise Refused(say("write it in ASCII, with at most {count} characters", count=_LONGEST))
    parts = text.lower().split()
    if parts and parts[0][0] == "@":
        if len(parts) > 1 or parts[0] not in _NICKNAMES:
            known = joined(", ", _NICKNAMES)
            raise Refused(
                say(
                    "'{word}' is no time of a clock; write one of {known}, or fields, or use interval",
                    word=parts[0],
                    known=known,
                )
            )
        parts = _NICKNAMES[parts[0]].split()
    if len(parts) not in (5, 6):
        raise Refused(
            say(
                "{count} fields; write 5 (minute hour day month weekday), or 6 with the second first",
                count=len(text.split()),
            )
        )
    return dict(zip(list(FIELDS)[-len(parts) :], parts, strict=True))


@lru_cache(maxsize=4096)
def expand_field(name: str, text: str, has_seconds: bool) -> Field:
    """One field: checked and put into plain numbers here, expanded by croniter (7 weekdays, Sunday 0)."""
    if text == "?" and name in ("day", "weekday"):
        text = "*"
    items = [_plain(name, item, has_seconds) for item in text.split(",")]
    if name == "weekday" and len({"#" in item or item[0] == "l" for item in items}) > 1:
        raise Refused(
            say(
                "{name} '{text}' mixes '#' or 'L' with plain weekdays; write two schedules",
                name=_SHOWN[name],
                text=text,
            )
        )
    place = _CRONITER_FIELDS.index(name)
    columns = ["*"] * 6
    columns[place] = ",".join(items)
    try:
        expanded, nth = croniter.expand(" ".join(columns))
    except (ValueError, KeyError) as exc:
        raise Refused(say("{name} '{text}' can't be read", name=_SHOWN[name], text=text)) from exc
    values = {str(value) for value in expanded[place]}  # numbers, "*" for all of them, "l" for the last day
    low, high = FIELDS[name]
    every = range(low, 7 if name == "weekday" else high + 1)
    pairs = sorted((int(day), LAST if str(n) == "l" else int(n)) for day, ns in nth.items() for n in ns)
    special = {day for day, _ in pairs}
    plain = tuple(n for n in every if n not in special and ("*" in values or str(n) in values))
    return Field(plain, "l" in values, tuple(pairs))


def _plain(name: str, item: str, has_seconds: bool) -> str:
    """One item of a list as croniter reads it the way Debian does; raises Refused."""
    if name == "day" and item == "l":
        return item
    if name == "weekday" and (match := _NTH.fullmatch(item)):
        return f"{_number(name, match[1]) % 7}#{match[2]}"
    if name == "weekday" and (match := _LAST_WEEKDAY.fullmatch(item)):
        return f"l{_number(name, match[1] or match[2]) % 7}"
    match = _ITEM.fullmatch(item)
    if not match:
        raise Refused(
            say(
                "{name} '{item}' can't be read; write a number, a range 1-5, a step */2 or a list of them",
                name=_SHOWN[name],
                item=item,
            )
        )
    start, end, step = match.groups()
    if step and int(step) == 0:
        raise Refused(say("{name} '{item}' has a step of 0; write 1 or more", name=_SHOWN[name], item=item))
    suffix = f"/{step}" if step else ""
    if start is None:
        return f"*{suffix}"
    low, high = _number(name, start), _number(name, end) if end else None
    if high is None and not step:
        return str(low)
    if high is None:
        # Quartz, where six fields come from, has 0/5. Debian's cron refuses it, older ones take it for 0.
        high = FIELDS[name][1]
        if not has_seconds:
            raise Refused(
                say(
                    "{name} '{item}' has a step without a range; write {low}-{high}{suffix}",
                    name=_SHOWN[name],
                    item=item,
                    low=low,
                    high=high,
                    suffix=suffix,
                )
            )
    if low > high:
        first, last = FIELDS[name]
        rest = "" if name == "weekday" and high == 0 else f",{first}-{high}"  # 7 is Sunday too
        raise Refused(
            say(
                "{name} '{item}' ends before it starts; write {low}-{last}{rest}",
                name=_SHOWN[name],
                item=item,
                low=low,
                last=last,
                rest=rest,
            )
        )
    return str(low) if low == high else f"{low}-{high}{suffix}"  # croniter reads 5-5 as the whole cycle


def _number(name: str, word: str) -> int:
    low, high = FIELDS[name]
    names = _NAMES.get(name, {})
    if word in names:
        return names[word]
    if not word.isdigit():
        raise Refused(
            say(
                "{name} '{word}' can't be read; write {low}-{high}{known}",
                name=_SHOWN[name],
                word=word,
                low=low,
                high=high,
                known="".join(f", {known}" for known in names),
            )
        )
    if not low <= int(word) <= high:
        raise Refused(
            say("{name} {word} is outside {low}-{high}", name=_SHOWN[name], word=word, low=low, high=high)
        )
    return int(word)
