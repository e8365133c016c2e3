"""Which sessions do exchange_calendars and a local file publish? Answered in a child process.

The only importer of exchange_calendars, which costs 65 MB and half a second. Reads one JSON object from standard input:
`{"names": [...], "folder": "...", "today": ordinal, "plugins": {...}}`; writes one JSON line for each name, in order.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import resource
import stat
import sys
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from zquant_flow.calendars.local_file import MAX_BYTES, LocalFault, read_local, refuse_pointless
from zquant_flow.core.sessions import Sessions, amended
from zquant_flow.plugin.discovery import find_plugins
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import Message, packed, say

if TYPE_CHECKING:
    from zquant_flow.plugin.calendars import Calendar, Schedule

EARLIEST = date(1990, 1, 1)
YEARS_AHEAD = 2
MEMORY_BYTES = 4 << 30
_MICROSECOND = 1000
PIP_LINE = "pip install 'zquant-flow[calendars]'"


class Refused(Exception):
    """A calendar that can't be had: a code, and why."""

    def __init__(self, code: str, message: Message) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def main() -> None:
    """Answer what standard input asks."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES if hard < 0 else min(MEMORY_BYTES, hard), hard))
    request = json.load(sys.stdin)
    _of_plugins.update(_brought(request["plugins"]))
    for name in request["names"]:
        sys.stdout.write(json.dumps(answer(name, request["folder"], request["today"])) + "\n")
        sys.stdout.flush()


_of_plugins: dict[str, Calendar | Schedule] = {}
"""What plugins bring; filled once, before anything is answered."""


def _brought(said: Mapping[str, Any]) -> Mapping[str, Calendar | Schedule]:
    sources = Sources.from_json(said)
    if sources.folder is None and not sources.modules and not any(find_plugins(sources)):
        return {}
    from zquant_flow.plugin.plugins import load_plugins

    found: dict[str, Calendar | Schedule] = {}
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for answers
        plugins = load_plugins(sources, {})
        for hook in ("register_calendars", "register_schedules"):
            for _, brought in plugins.each(hook):
                found = {**brought, **found}  # who came first keeps a name
    return found


def answer(name: str, folder: str, today: int) -> dict[str, Any]:
    """What is known of a calendar: its `sessions`, or a `fault`; with `path` where that is one of its local file."""
    path = f"{name}.yaml"
    try:
        text = _text_of(os.path.join(folder, path))
        if text is None:
            return {"sessions": _plain(published(name, today))}
        local, single = read_local(text)
        whole = local.zone is not None and local.open is not None and local.close is not None
        base = None if whole else published(name, today)
        refuse_pointless(single, local, base)
        last = date(date.fromordinal(today).year + YEARS_AHEAD, 12, 31).toordinal()
        return {"sessions": _plain(amended(name, base, local, first=EARLIEST.toordinal(), last=last))}
    except LocalFault as fault:
        place = {"path": path, "line": fault.line, "column": fault.column, "field": fault.field}
        return {"fault": _fault("invalid_calendar", fault.message) | place}
    except OSError as exc:
        why = say("can't be read: {reason}", reason=str(exc.strerror))
        return {"fault": _fault("unreadable", why) | {"path": path, "line": 1, "column": 1, "field": ""}}
    except Refused as refused:
        return {"fault": _fault(refused.code, refused.message)}
    except Exception as exc:  # the library's own, whatever they are: of this calendar alone
        why = say(
            "calendar {name} can't be made: {error}", name=name, error=f"{type(exc).__name__}: {exc}"[:300]
        )
        return {"fault": _fault("unknown_calendar", why)}


def published(name: str, today: int) -> Sessions:
    """The sessions that a plugin, or exchange_calendars, has. Raises Refused."""
    if name in _of_plugins:
        from zquant_flow.plugin.calendars import sessions_of

        last = date(date.fromordinal(today).year + YEARS_AHEAD, 12, 31)
        with contextlib.redirect_stdout(sys.stderr):
            return sessions_of(name, _of_plugins[name], EARLIEST, last)
    try:
        import exchange_calendars as library
    except ImportError:
        message = say(
            "calendar {name} needs exchange_calendars: {command}; or write calendars/{name}.yaml",
            name=name,
            command=PIP_LINE,
        )
        raise Refused("calendar_unavailable", message) from None
    names = library.get_calendar_names(include_aliases=True)
    if name not in names:
        raise Refused("unknown_calendar", _unknown(name, [*names, *_of_plugins]))
    usual = library.get_calendar(name)
    lower, upper = usual.bound_min(), usual.bound_max()
    start = max(lower.date() if lower is not None else EARLIEST, EARLIEST)
    last = upper.date() if upper is not None else date(date.fromordinal(today).year + YEARS_AHEAD, 12, 31)
    found = library.get_calendar(name, start=str(start), end=str(last)).schedule
    return Sessions(
        name=name,
        zone=ZoneInfo(str(usual.tz)),
        days=tuple(day.toordinal() for day in found.index.date),
        opens=tuple((found["open"].astype("int64") // _MICROSECOND).tolist()),
        closes=tuple((found["close"].astype("int64") // _MICROSECOND).tolist()),
        first=start.toordinal(),
        last=last.toordinal(),
        unbounded=upper is None,
    )


def _unknown(name: str, names: list[str]) -> Message:
    folded = {known.upper(): known for known in names}
    close = difflib.get_close_matches(name.upper(), list(folded), n=1)
    if close:
        return say("there is no calendar {name!r} (did you mean {word!r}?)", name=name, word=folded[close[0]])
    return say("there is no calendar {name!r}: write the exchange's code, such as XSHG or XNYS", name=name)


def _text_of(path: str) -> str | None:
    """The text of a regular file of decent size; None where there is none. A FIFO can't hold us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
            raise LocalFault(say("not a regular file of at most {count:,} bytes", count=MAX_BYTES))
        try:
            return file.read(MAX_BYTES).decode()
        except UnicodeDecodeError:
            raise LocalFault(say("this is not UTF-8")) from None


def _plain(sessions: Sessions) -> dict[str, Any]:
    return {
        "name": sessions.name,
        "zone": sessions.zone.key,
        "days": sessions.days,
        "opens": sessions.opens,
        "closes": sessions.closes,
        "first": sessions.first,
        "last": sessions.last,
        "unbounded": sessions.unbounded,
    }


def _fault(code: str, message: Message) -> dict[str, Any]:
    return {"code": code, "message": str(message), "words": packed(message)}


if __name__ == "__main__":
    main()
