"""Which instant is meant, and how does one read?"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from zquant_flow.cli.language import t
from zquant_flow.definitions.durations import parse_duration
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def instant(text: str | None, flag: str, *, ahead: bool = False) -> datetime | None:
    """ISO 8601, `now`, or a span such as `2h` or `3d`: back from now, or `ahead`. Raises BadRequest that names the flag.

    Without offset it stays so: the server reads it in its own zone.
    """
    if text is None:
        return None
    words = text.strip()
    now = datetime.now(UTC)
    if words == "now":
        return now
    try:
        return datetime.fromisoformat(words)
    except ValueError:
        pass
    try:
        span = parse_duration(words)
    except ValueError:
        raise BadRequest(
            say(
                "{flag} {text!r} is no instant; write one such as 2026-01-31T18:30, or a span such as 2h or 3d",
                flag=flag,
                text=text,
            )
        ) from None
    return now + span if ahead else now - span


def required(text: str, flag: str, *, ahead: bool = False) -> datetime:
    """The same, of an option that has to be there."""
    found = instant(text, flag, ahead=ahead)
    assert found is not None
    return found


def moment(given: datetime | None) -> str:
    """An instant in a table: how far away, in a terminal; else local time with offset, for scripts."""
    if given is None:
        return ""
    return distance(given - datetime.now(UTC)) if sys.stdout.isatty() else local(given)


def local(given: datetime | None) -> str:
    """Local time with offset, to the second."""
    return "" if given is None else given.astimezone().isoformat(sep=" ", timespec="seconds")


def moment_and_local(given: datetime | None) -> str:
    """Both, where there is room."""
    if given is None or not sys.stdout.isatty():
        return local(given)
    return f"{local(given)}  ({distance(given - datetime.now(UTC))})"


def distance(span: timedelta) -> str:
    """How far from now: `in 3 h`, `5 min ago`."""
    seconds = span.total_seconds()
    if abs(seconds) < 1:
        return t("now")
    shown = _rough(abs(seconds))
    return t("in {span}", span=shown) if seconds > 0 else t("{span} ago", span=shown)


def lasting(seconds: float | None) -> str:
    """A duration: `0.32 s`, `12 s`, `3 min 5 s`, `2 h 5 min`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return t("{n:.2f} s", n=seconds)
    whole = round(seconds)
    if whole < 60:
        return t("{n} s", n=whole)
    if whole < 3_600:
        return t("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    if whole < 86_400:
        return t("{hours} h {minutes} min", hours=whole // 3_600, minutes=whole % 3_600 // 60)
    return t("{days} d {hours} h", days=whole // 86_400, hours=whole % 86_400 // 3_600)


def _rough(seconds: float) -> str:
    if seconds >= 86_400:
        return t("{n} d", n=round(seconds / 86_400))
    if seconds >= 3_600:
        return t("{n} h", n=round(seconds / 3_600))
    if seconds >= 60:
        return t("{n} min", n=round(seconds / 60))
    return t("{n} s", n=round(seconds))
