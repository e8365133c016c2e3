"""How long is `1h30m`?

A duration is a number of seconds, or text of numbers with units from large to small: `30s`, `5m`, `2h`, `1d`,
`1h30m`. A day is 24 hours (SEMANTICS §1.7).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from zquant_flow.wording import say

LONGEST = timedelta(days=36_500)
_WORDS = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*d)?\s*(?:(\d+(?:\.\d+)?)\s*h)?\s*(?:(\d+(?:\.\d+)?)\s*m)?\s*(?:(\d+(?:\.\d+)?)\s*s)?",
    re.ASCII,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_UNITS = (86_400, 3_600, 60, 1)


def parse_duration(value: Any) -> timedelta:
    """A duration of at least 0 and at most 100 years; raises ValueError with a message for the user."""
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(
            say("{value} is no duration: write seconds, or 30s, 5m, 2h, 1d, 1h30m", value=_shown(value))
        )
    if not 0 <= seconds <= LONGEST.total_seconds():
        raise ValueError(
            say(
                "{value} is out of range: a duration is at least 0 and at most {days}d",
                value=_shown(value),
                days=LONGEST.days,
            )
        )
    return timedelta(seconds=seconds)


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str) or len(value) > 40:
        return None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _WORDS.fullmatch(text)
    if not text or not found:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else text[:47] + "..."
