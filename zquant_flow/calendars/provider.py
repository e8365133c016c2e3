"""Which trading calendars does this installation have?

What a child process (`published`) has found is kept below the data folder, so that a start costs a read. A calendar that
is out of date (another version of the library, another local file, little left of one that follows from rules) is used
all the same until the new one is there.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from zquant_flow.clock import Clock, SystemClock
from zquant_flow.core.instants import from_micros
from zquant_flow.core.sessions import Sessions
from zquant_flow.plugin.discovery import mark_of
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import restored, say

log = logging.getLogger(__name__)

FORMAT = 1
CHILD_SECONDS = 60.0
LOOK_SECONDS = 1.0
"""So often the folder of local files is looked at; a file is read when it has stood still from one look to the next."""
NEAR_DAYS = 60
"""From so many days before a published calendar's end it is warned of."""
RENEW_DAYS = 400
"""A calendar that follows from rules is looked at further when less than this is left of it."""
MAX_FILES = 1_000
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarFault:
    """Why there is no such calendar, or what is wrong with its local file (`path`, below the calendars folder)."""

    code: str
    message: str
    path: str | None = None
    line: int = 1
    column: int = 1
    field: str = ""


class Calendars:
    """The calendars that have been asked for.

    Threads: `ensure` works in its caller's; one of its own, from `start` to `stop`, looks at the folder and renews what is
    out of date. `known` and `faults` are values, swapped whole, for any thread. Start and stop may come twice, in any order.
    """

    def __init__(
        self,
        data_dir: Path | None,
        folder: Path,
        *,
        clock: Clock | None = None,
        plugins: Callable[[], Sources] = lambda: Sources(entry_points=False),
    ) -> None:
        """Without `data_dir` nothing is kept. `plugins`: which may bring calendars, as they are now."""
        self.folder = folder
        self._plugins = plugins
        self.known: Mapping[str, Sessions] = MappingProxyType({})
        self.faults: Mapping[str, CalendarFault] = MappingProxyType({})
        self.on_change: Callable[[], None] = lambda: None
        """Called in the thread of ours after something has changed."""
        self._cache = data_dir / "calendars" if data_dir is not None else None
        self._clock = clock or SystemClock()
        self._keys: dict[str, dict[str, Any]] = {}
        self._making = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self._moved: dict[str, tuple[int, int]] = {}
        self._warned = 0

    def start(self) -> None:
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="calendars", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def remember(self, names: Iterable[str]) -> None:
        """Take these from the cache, without waiting for a child process; those that are not there stay unknown."""
        with self._making:
            known, keys = dict(self.known), self._keys
            for name in set(names) - known.keys():
                found = self._cached(name)
                if found is not None:
                    known[name], keys[name] = found
            self.known = MappingProxyType(known)

    def ensure(self, names: Iterable[str]) -> None:
        """Make these known, or know what is wrong with them; takes a second where a child process has to look."""
        self.remember(names)
        missing = sorted(name for name in set(names) - self.known.keys() if not self._is_refused(name))
        if missing:
            self._make(missing)

    def ensure_files(self) -> None:
        """Make known what the local files say."""
        self._seen = self._files()
        self.ensure(self._seen)

    def look(self) -> bool:
        """Read the local files that have changed and settled, and renew what is out of date; whether anything changed."""
        found = self._files()
        gone = self._seen.keys() - found.keys()
        moved = {name: state for name, state in found.items() if self._seen.get(name) != state}
        settled = {
            name for name, state in moved.items() if self._moved.get(name) == state and self._is_old(state)
        }
        self._moved = moved
        for name in gone:
            del self._seen[name]
        self._seen |= {name: found[name] for name in settled}
        stale = {name for name in self.known if self._is_stale(name)} if not moved else set()
        wanted = gone | settled | stale
        if wanted:
            self._make(sorted(wanted))
        if self._warned != self._today():
            self._warned = self._today()
            self._warn()
        return bool(wanted)

    def ends_soon(self, name: str) -> Sessions | None:
        """The calendar of that name, where only few of its published days are left, or none."""
        sessions = self.known.get(name)
        if sessions is None or sessions.unbounded or sessions.last - self._today() > NEAR_DAYS:
            return None
        return sessions

    def _warn(self) -> None:
        for name in self.known:
            if (sessions := self.ends_soon(name)) is not None:
                log.warning(
                    "calendar %s is published until %s; nothing that follows it is decided beyond: update"
                    " exchange_calendars, or name `holidays` and `until` in %s",
                    name,
                    date.fromordinal(sessions.last),
                    self.folder / f"{name}.yaml",
                    extra={"action": "calendar_horizon"},
                )

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if self.look():
                    self.on_change()
            except Exception:
                log.exception("the calendars can't be looked at", extra={"action": "calendars_failed"})

    def _make(self, names: list[str]) -> None:
        """Ask the child; what was known and can't be had any more stays as it was."""
        with self._making:
            known, faults = dict(self.known), dict(self.faults)
            keys = {name: self._key(name) for name in names}
            for name, answer in self._asked(names).items():
                self._keys[name] = keys[name]
                faults.pop(name, None)
                if "sessions" in answer:
                    known[name] = _sessions(answer["sessions"])
                    self._keep(name, keys[name], answer["sessions"])
                else:
                    faults[name] = _fault(answer["fault"])
                    log.warning(
                        "calendar %s: %s",
                        name,
                        answer["fault"]["message"],
                        extra={"action": "calendar_failed"},
                    )
            self.known, self.faults = MappingProxyType(known), MappingProxyType(faults)

    def _asked(self, names: list[str]) -> dict[str, dict[str, Any]]:
        request = {
            "names": names,
            "folder": str(self.folder),
            "today": self._today(),
            "plugins": self._plugins().to_json(),
        }
        command = [sys.executable, "-P", "-m", "zquant_flow.calendars.published"]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=CHILD_SECONDS,
                check=False,
            )
            lines, why = done.stdout.splitlines(), done.stderr.strip().rpartition("\n")[2][:300]
        except subprocess.TimeoutExpired as exc:
            lines = (exc.stdout or b"").decode(errors="replace").splitlines()
            why = f"no answer within {CHILD_SECONDS:g} s"
        answers = [json.loads(line) for line in lines if line.endswith("}")]
        failed = say("the process that reads calendars failed: {why}", why=why or "?")
        fault = {"fault": {"code": "calendar_unavailable", "message": failed, "words": None}}
        return {
            name: answers[number] if number < len(answers) else fault for number, name in enumerate(names)
        }

    def _is_refused(self, name: str) -> bool:
        """Whether the same question has been answered already; another version of the library may know more."""
        return name in self.faults and self._keys.get(name) == self._key(name)

    def _is_stale(self, name: str) -> bool:
        key = self._keys.get(name)
        if key is not None and key.get("plugins") != self._mark():
            return True
        if key is None or key["built"] == self._today():
            return False
        sessions = self.known[name]
        left = sessions.last - self._today()
        return key["library"] != _library() or (sessions.unbounded and left < RENEW_DAYS)

    def _key(self, name: str) -> dict[str, Any]:
        """What a calendar was made of."""
        try:
            state = os.stat(self.folder / f"{name}.yaml")
        except OSError:
            local = None
        else:
            local = [state.st_size, state.st_mtime_ns]
        return {
            "format": FORMAT,
            "library": _library(),
            "local": local,
            "built": self._today(),
            "plugins": self._mark(),
        }

    def _mark(self) -> list[Any]:
        """What tells whether the plugins are still the same."""
        return mark_of(self._plugins())

    def _cached(self, name: str) -> tuple[Sessions, dict[str, Any]] | None:
        path = self._path(name)
        if path is None:
            return None
        try:
            kept = json.loads(path.read_bytes())
            key, sessions = kept["key"], _sessions(kept["sessions"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
        now = self._key(name)
        if (key["format"], key["local"]) != (now["format"], now["local"]):
            return None
        return sessions, key

    def _keep(self, name: str, key: Mapping[str, Any], sessions: Mapping[str, Any]) -> None:
        path = self._path(name)
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}.tmp")
            beside.write_text(json.dumps({"key": key, "sessions": sessions}))
            beside.replace(path)
        except OSError as exc:
            log.warning(
                "calendar %s is not kept: %s", name, exc.strerror, extra={"action": "calendar_not_kept"}
            )

    def _path(self, name: str) -> Path | None:
        return None if self._cache is None else self._cache / f"{quote(name, safe='')}.json"

    def _files(self) -> dict[str, tuple[int, int]]:
        """Size and time of the local files, by the name of their calendar."""
        found: dict[str, tuple[int, int]] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".yaml") and entry.name[0] != "." and len(found) < MAX_FILES:
                        state = entry.stat()
                        found[entry.name.removesuffix(".yaml")] = state.st_size, state.st_mtime_ns
        except OSError:
            return found
        return found

    def _is_old(self, state: tuple[int, int]) -> bool:
        return state[1] / 1e9 + _SETTLED_SECONDS <= self._clock.micros() / 1e6

    def _today(self) -> int:
        return from_micros(self._clock.micros()).toordinal()


@cache
def _library() -> str | None:
    """The version of exchange_calendars that is installed, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("exchange_calendars")
    except PackageNotFoundError:
        return None


def _sessions(plain: Mapping[str, Any]) -> Sessions:
    return Sessions(
        name=plain["name"],
        zone=ZoneInfo(plain["zone"]),
        days=tuple(plain["days"]),
        opens=tuple(plain["opens"]),
        closes=tuple(plain["closes"]),
        first=plain["first"],
        last=plain["last"],
        unbounded=plain["unbounded"],
    )


def _fault(plain: Mapping[str, Any]) -> CalendarFault:
    get = plain.get
    return CalendarFault(
        code=plain["code"],
        message=restored(plain["message"], get("words")),
        path=get("path"),
        line=get("line", 1),
        column=get("column", 1),
        field=get("field", ""),
    )
