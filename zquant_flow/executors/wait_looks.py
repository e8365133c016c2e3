"""Is what an attempt waits for there by now? One look; runs in a worker.

What a look has to know of those before it stands in the handle: the instant that is waited for, how large files were, how often in a row
a database could not be asked.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from typing import Any
from zoneinfo import ZoneInfo

from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.wait_config import CLOCK, KINDS, WaitConfig
from zquant_flow.plugin.remote import MOST_FAILURES

LONGEST_SECONDS = 600.0
"""Between two looks at the clock, which somebody may set."""
MOST_FILES = 1000
"""So many are in the result."""
SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class There:
    """It is there; `value` is the result of the attempt."""

    value: Any


@dataclass(frozen=True, slots=True)
class NotYet:
    """It is not there: `what` is waited for. `seconds` until the next look, where the config does not say it."""

    what: str
    seconds: float | None = None


Seen = There | NotYet


def look(context: Context, config: WaitConfig) -> Seen:
    """Whether it is there; raises Failure where it never will be."""
    kind = next(kind for kind in KINDS if getattr(config, kind) is not None)
    return _LOOKS[kind](context, config)


def _file(context: Context, config: WaitConfig) -> Seen:
    """There are files of that name, and nobody writes to them: they stand still since the last look, or for as long."""
    pattern = config.file
    assert pattern is not None
    now = {path: [facts.st_size, facts.st_mtime_ns] for path, facts in _files(pattern).items()}
    before = (context.handle or {}).get("files") or {}
    edge = (_now() - config.every_seconds) * 1e9
    moving = [path for path, facts in now.items() if before.get(path) != facts and facts[1] > edge]
    if now and not moving:
        found = [{"path": os.path.abspath(path), "bytes": facts[0]} for path, facts in sorted(now.items())]
        more = {"more": len(found) - MOST_FILES} if len(found) > MOST_FILES else {}
        return There({"files": found[:MOST_FILES], **more})
    if moving:
        _keep(context, files={path: now[path] for path in sorted(moving)[:MOST_FILES]})
        return NotYet(f"the file {min(moving)}, which is being written")
    return NotYet(f"the file {pattern}")


def _files(pattern: str) -> dict[str, os.stat_result]:
    """A name that exists is no pattern, whatever stands in it."""
    found = {}
    for path in [pattern] if os.path.exists(pattern) else glob.iglob(pattern, recursive=True):
        try:
            facts = os.stat(path)
        except OSError:
            continue  # it went in this moment
        if os.path.isfile(path):
            found[path] = facts
    return found


def _time(context: Context, config: WaitConfig) -> Seen:
    assert config.time is not None
    kept = (context.handle or {}).get("until")
    until = datetime.fromisoformat(kept) if kept else _instant(context, config.time)
    left = until.timestamp() - _now()
    if left <= 0:
        return There({"time": until.isoformat()})
    _keep(context, until=until.isoformat())
    return NotYet(f"{until.isoformat(sep=' ')}", min(left, LONGEST_SECONDS))


def _instant(context: Context, said: str) -> datetime:
    """The instant that is meant, in the task's zone; a time of day is that of the logical day, without one of today."""
    zone = ZoneInfo(context.zone)
    clock = CLOCK.fullmatch(said)
    if clock is None:
        try:
            instant = datetime.fromisoformat(said)
        except ValueError:
            raise Failure("invalid_config", f"time: {said!r} is neither HH:MM nor an instant") from None
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
    moment = context.logical_time or datetime.fromtimestamp(_now(), UTC)
    day: date = moment.astimezone(zone).date()
    hour, minute, second = (int(part or 0) for part in clock.groups())
    return datetime.combine(day, time_of_day(hour, minute, second), zone)


def _http(context: Context, config: WaitConfig) -> Seen:
    from zquant_flow.executors import ending
    from zquant_flow.executors.http_request import Request

    assert config.http is not None
    request = Request(context, config.http)
    there, seen = ending.run(context, request.look())
    return There(seen) if there else NotYet(f"an answer: {seen}")


def _sql(context: Context, config: WaitConfig) -> Seen:
    """There when it has a row whose first value is neither null nor false, zero or empty, and its checks hold."""
    from zquant_flow.executors.sql_work import Work

    assert config.sql is not None
    try:
        found = Work(context, config.sql).carry_out()
    except Failure as exc:
        if exc.code == "check_failed":
            return _not_yet_in_database(context, str(exc))
        failures = (context.handle or {}).get("failures", 0) + 1
        if exc.code != "sql_failed" or failures >= MOST_FAILURES:
            raise
        _keep(context, failures=failures)
        return NotYet(f"rows: {exc}")
    rows = found.get("rows")
    if rows is None and "file" not in found:
        raise Failure(
            "invalid_config", "sql: these statements give no rows: one that is waited for selects some"
        )
    there = found["row_count"] > 0 if rows is None else bool(rows and rows[0] and rows[0][0])
    checked = config.sql.min_rows is not None or "expect" in config.sql.model_fields_set
    if there or checked:
        return There(found)
    return _not_yet_in_database(
        context, f"the first value is {rows[0][0]!r:.100}" if rows else "there is none"
    )


def _not_yet_in_database(context: Context, why: str) -> NotYet:
    if (context.handle or {}).get("failures"):
        _keep(context, failures=0)
    return NotYet(f"rows: {why}")


def _task(context: Context, config: WaitConfig) -> Seen:
    """What the engine knew of the task when this look began."""
    what, seen = f"the task {config.task}", context.seen
    if config.since is None and context.logical_time is None:
        raise Failure(
            "invalid_config",
            f"this run stands for no logical time, so that it is not known which run of {config.task} is meant: "
            "trigger it with a logical time, or give since",
        )
    if not seen.get("known"):
        return NotYet(f"{what}, which is not there: no task has this name")
    if seen.get("status") == SUCCESS and _is_recent(seen, config):
        return There({name: seen[name] for name in ("execution_id", "status", "logical_time", "ended")})
    if config.since is not None:
        last = f"has succeeded last at {seen['ended']}" if seen.get("ended") else "has not succeeded yet"
        return NotYet(f"{what}, which {last}")
    told = f"execution {seen['execution_id']} is {seen['status']}" if seen.get("status") else "has not begun"
    return NotYet(f"{what} of {context.logical_time:%Y-%m-%d %H:%M:%S%z}: {told}")


def _is_recent(seen: Mapping[str, Any], config: WaitConfig) -> bool:
    if config.since is None:
        return True
    ended = datetime.fromisoformat(seen["ended"])
    return _now() - ended.timestamp() <= config.since.total_seconds()


def _keep(context: Context, **facts: Any) -> None:
    kept = context.handle or {}
    if any(kept.get(name) != value for name, value in facts.items()):
        context.remember({**kept, **facts})


def _now() -> float:
    return time.time()


_LOOKS: Mapping[str, Callable[[Context, WaitConfig], Seen]] = {
    "file": _file,
    "time": _time,
    "http": _http,
    "sql": _sql,
    "task": _task,
}
