"""How do the engine's commits reach everyone who listens?

One thread reads what each commit changed, once for all listeners, and keeps the latest events; each listener only
remembers how far it has come, so that a slow one holds up nobody. Without listeners nothing is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zquant_flow.api.answers import as_json
from zquant_flow.api.shapes import execution_event, task_event
from zquant_flow.store.changes import Changes, changes_since, last_change
from zquant_flow.store.database import Database

log = logging.getLogger(__name__)

KEPT = 20_000
"""Events that are kept for listeners who come back."""
PACE = 0.05
"""Seconds between two reads: what happens meanwhile is read together."""
LONGEST_PAUSE = 5.0
"""Seconds between two reads that fail: each pause is twice the last, up to this."""
FURTHEST = 50_000
"""Changes that are told to who comes back late; after more it must look for itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as it goes over the wire (`frame`), and what it can be chosen by."""

    number: int
    kind: str
    task_id: int
    root_id: int
    execution_id: int
    status: str
    inline: bool
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events a listener wants: all of these conditions hold; empty ones mean any."""

    kinds: frozenset[str] = frozenset()
    task_ids: frozenset[int] = frozenset()
    root_id: int | None = None
    execution_id: int | None = None
    statuses: frozenset[str] = frozenset()
    inline: bool = False

    def takes(self, event: Event) -> bool:
        """Whether the event is wanted."""
        if self.kinds and event.kind not in self.kinds:
            return False
        if event.kind == "load_errors":
            return True
        if self.task_ids and event.task_id not in self.task_ids:
            return False
        if event.kind == "task":
            return self.root_id is None and self.execution_id is None and not self.statuses
        return (
            (self.inline or not event.inline)
            and (self.root_id is None or event.root_id == self.root_id)
            and (self.execution_id is None or event.execution_id == self.execution_id)
            and (not self.statuses or event.status in self.statuses)
        )


class Feed:
    """The events of one server.

    Threads: one of its own, `feed`, from the first listener until `close`; the engine's calls `wake`, which only sets a
    flag; listeners live in the event loop of the HTTP server. `close` may come first, and twice.
    """

    def __init__(self, database: Database, load_errors: Callable[[], Mapping[str, Any]]) -> None:
        self._database = database
        self._load_errors = load_errors
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._numbers: list[int] = []
        self._dropped = 0
        """How many events there were before those in `_events`."""
        self._first = 0
        """All changes after this number are in `_events`."""
        self._inline_first: int | None = None
        """All changes of inline nodes too, after this one; None while nobody wants them."""
        self._last = 0
        self._listeners = 0
        self._inline_listeners = 0
        self._begun = False
        """Whether somebody listens and has been let in: only then do numbers and events hold."""
        self._era = 0
        """Counts the times that the last listener has left: what was read for those before is nothing for those after."""
        self._woken = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """Something was committed. Quick, and never raises: the engine calls it."""
        if self._listeners:
            self._woken.set()

    def close(self) -> None:
        """End all listening."""
        self._over.set()
        self._woken.set()
        self._ring()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    @property
    def last(self) -> int:
        """The number of the newest change that was read."""
        return self._last

    @property
    def bell(self) -> asyncio.Event:
        """Set when there is news after this moment."""
        return self._bell

    @property
    def load_errors(self) -> int:
        """How many files can't be read now."""
        return len(self._load_errors())

    @property
    def closed(self) -> bool:
        return self._over.is_set()

    # ── for listeners, in the event loop ────────────────────────────────────────────────────────────────────────────

    async def listen(self, choice: Choice) -> int:
        """One more listener; the number it stands at. Pair it with `leave`."""
        self._loop = asyncio.get_running_loop()
        with self._lock:
            self._listeners += 1
            self._inline_listeners += choice.inline
            begun = self._begun
        try:
            if not begun:
                await asyncio.to_thread(self._begin)
        except BaseException:  # the database is away, or the client has gone: whoever is not let in has left
            self.leave(choice)
            raise
        with self._lock:
            if choice.inline and self._inline_first is None:
                self._inline_first = self._last
            return self._last

    def leave(self, choice: Choice) -> None:
        """A listener has gone."""
        with self._lock:
            self._listeners -= 1
            self._inline_listeners -= choice.inline
            if not self._inline_listeners:
                self._inline_first = None
            if not self._listeners:
                self._begun = False
                self._era += 1

    def place(self, number: int, choice: Choice) -> int | None:
        """Where the events after that number begin; None if they are not kept, and the database has to say."""
        with self._lock:
            first = self._inline_first if choice.inline else self._first
            if first is None or number < first:
                return None
            return self._dropped + bisect_right(self._numbers, number)

    def since(self, place: int, choice: Choice) -> tuple[list[bytes], int, int] | None:
        """The frames of all wanted events from that place on, the next place, and the number that it stands for.

        None for a place that is too old.
        """
        with self._lock:
            if place < self._dropped:
                return None
            found = self._events[place - self._dropped :]
            reached = self._dropped + len(self._events), self._last
        return [event.frame for event in found if choice.takes(event)], *reached

    def caught_up(self, number: int, choice: Choice) -> tuple[list[bytes], int]:
        """The same from the database, for who comes back late: changed rows as they are now. Blocks; in pieces."""
        changes = changes_since(self._database, number, inline=choice.inline)
        return [event.frame for event in _events(changes) if choice.takes(event)], changes.until

    async def news(self, seconds: float) -> None:
        """Wait for news, at most so long."""
        bell = self._bell
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """The first listener after a while: what was kept is old, begin from now. Once for those who come together."""
        with self._lock:
            era = self._era
        last = last_change(self._database)
        with self._lock:
            if self._begun or era != self._era:
                return
            self._begun = True
            self._first = self._last = last
            self._inline_first = None
            self._dropped += len(self._events)
            self._events.clear()
            self._numbers.clear()
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        errors, pause = self._load_errors(), PACE
        while not self._over.is_set():
            self._woken.wait()
            self._woken.clear()
            if not self._listeners:
                continue
            try:
                self._read()
                pause = PACE
            except Exception:
                log.exception("changes could not be read; trying again", extra={"action": "feed_failed"})
                self._woken.set()
                pause = min(2 * pause, LONGEST_PAUSE)
            if (now := self._load_errors()) != errors:
                errors = now
                self._tell_load_errors(len(now))
            self._over.wait(pause)

    def _read(self) -> None:
        """Read up to now. What does not fit those who listen by then is read once more, as they want it."""
        while True:
            with self._lock:
                era, number, inline = self._era, self._last, self._inline_listeners > 0
                if not self._begun:
                    self._woken.set()  # somebody is just being let in, and must not miss what has woken us
                    return
            changes = changes_since(self._database, number, inline=inline)
            if changes.until == number:
                return
            self._keep(list(_events(changes)), changes.until, era=era, inline=inline)

    def _tell_load_errors(self, total: int) -> None:
        with self._lock:
            era, number = self._era, self._last
            if not self._begun:
                return  # whoever is let in is told with `hello`
        self._keep([_load_errors_event(number, total)], number, era=era, inline=True)

    def _keep(self, events: list[Event], until: int, *, era: int, inline: bool) -> None:
        """Add what was read in that era, with or without inline nodes; not if others listen now, who would miss some."""
        with self._lock:
            if era != self._era or (self._inline_listeners and not inline):
                return
            self._events += events
            self._numbers += (event.number for event in events)
            self._last = until
            if len(self._events) > KEPT:
                surplus = len(self._events) - KEPT // 2
                self._first = self._numbers[surplus - 1]
                if self._inline_first is not None:
                    self._inline_first = max(self._inline_first, self._first)
                self._dropped += surplus
                del self._events[:surplus], self._numbers[:surplus]
        self._ring()

    def _ring(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._ring_here)

    def _ring_here(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()


def frame(kind: str, data: Any, number: int | str | None = None) -> bytes:
    """A server-sent event."""
    head = b"" if number is None else b"id: %s\n" % str(number).encode()
    return head + b"event: %s\ndata: %s\n\n" % (kind.encode(), as_json(data))


def _events(changes: Changes) -> Iterator[Event]:
    found = [
        *(_execution(row) for row in changes.executions),
        *(_task(row) for row in changes.tasks if not row.adhoc),
    ]
    yield from sorted(found, key=lambda event: event.number)


def _execution(row: Any) -> Event:
    return Event(
        number=row.change_seq,
        kind="execution",
        task_id=row.task_id,
        root_id=row.root_id,
        execution_id=row.id,
        status=row.status,
        inline=row.inline,
        frame=frame("execution", execution_event(row), row.change_seq),
    )


def _task(row: Any) -> Event:
    return Event(
        number=row.change_seq,
        kind="task",
        task_id=row.id,
        root_id=0,
        execution_id=0,
        status="",
        inline=False,
        frame=frame("task", task_event(row), row.change_seq),
    )


def _load_errors_event(number: int, total: int) -> Event:
    return Event(
        number=number,
        kind="load_errors",
        task_id=0,
        root_id=0,
        execution_id=0,
        status="",
        inline=False,
        frame=frame("load_errors", {"total": total}),
    )
