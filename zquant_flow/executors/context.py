"""What does the code of a task know about its attempt, and what can it tell?

`current()` inside a task, the first argument of an executor's `run`. By hand, outside an attempt, everything works and
does nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from zquant_flow.environment import RUNNER_MARK, secret_in_environment, secret_variable
from zquant_flow.executors.failure import Failure

if TYPE_CHECKING:
    import logging
    from datetime import date, datetime
    from pathlib import Path

    from zquant_flow.logs import AttemptLog

T = TypeVar("T")

OUTPUTS = "outputs"
"""The folder of the data folder for what lasts as long as an attempt."""

MOST_HANDLE = 64 * 1024
"""Characters of a handle."""

PROGRESS_INTERVAL = 0.25
"""Seconds between two reports of progress; the last one comes with the outcome in any case."""


class Terminated(BaseException):
    """The attempt is to end: by a user, its timeout, or a shutdown. `finally` blocks have the grace to clean up."""


class Deferred(BaseException):
    """The attempt looks again later, and has no place meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"to be looked at again in {seconds:g} s")
        self.seconds = seconds


class Link(Protocol):
    """The way from a context to the runner."""

    def poll(self, context: Context) -> None:
        """Take in what the runner asks of this attempt, without waiting."""

    def wait(self, context: Context) -> None:
        """Return when the attempt may go on, or is to end."""

    def tell(self, op: str, context: Context) -> None:
        """Send `progress`, `paused` or `resumed`."""

    def hear(self, context: Context) -> None:
        """Take in what has come by now, without waiting."""


class Context:
    """One attempt, seen from inside.

    `logical_time` is the instant that the run stands for (aware, UTC), None for a run that stands for none. `event` is what
    started it, as expressions see it: its `kind` is None where nothing did but a schedule or a request. Only the executor `wait`
    is told the `zone` of its task, and what was `seen` of the task that it waits for.
    """

    __slots__ = (
        "_began",
        "_cancelled",
        "_find_secret",
        "_handle",
        "_link",
        "_logical_time",
        "_order",
        "_reported",
        "_results",
        "_sessions",
        "_state_from",
        "_state_path",
        "_stood_still",
        "_temporary",
        "attempt",
        "event",
        "execution_id",
        "leaving",
        "log",
        "node",
        "params",
        "pausing",
        "seen",
        "stopping",
        "task",
        "values",
        "zone",
    )

    def __init__(
        self,
        order: Mapping[str, Any],
        link: Link | None = None,
        log: AttemptLog | None = None,
        find_secret: Callable[[str], str | None] = secret_in_environment,
    ) -> None:
        """`find_secret`: finds one by its name."""
        self._find_secret = find_secret
        self._order = order
        self._began = time.time()
        self._results: Mapping[str, Any] | None = None
        self._temporary: str | None = None
        self.execution_id: int = order.get("id", 0)
        self.attempt: int = order.get("attempt", 1)
        self.task: str = order.get("task") or ""
        self.node: str | None = order.get("node")
        self.params: dict[str, Any] = order.get("params") or {}
        self.event: Mapping[str, Any] = order.get("event") or {"kind": None}
        self.seen: Mapping[str, Any] = order.get("seen") or {}
        self.zone: str = order.get("zone") or "UTC"
        self.log = log
        self.values: dict[str, Any] | None = None
        self.stopping = False
        self.pausing = False
        self.leaving = False
        self._handle: str | None = order.get("handle")
        self._logical_time: str | None = order.get("logical_time")
        self._sessions: Mapping[str, str] = order.get("sessions") or {}
        self._state_path: str | None = order.get("state")
        self._state_from: Sequence[str] = order.get("state_from") or ()
        self._link = link
        self._cancelled: threading.Event | None = None
        self._reported = 0.0
        self._stood_still = 0.0

    @property
    def logical_time(self) -> datetime | None:
        if self._logical_time is None:
            return None
        from datetime import datetime

        return datetime.fromisoformat(self._logical_time)

    @property
    def session(self) -> date | None:
        """The trading session that the run stands for; None where it follows no calendar, and on a day that is none."""
        return self._session("session")

    @property
    def previous_session(self) -> date | None:
        """The trading session before."""
        return self._session("previous_session")

    @property
    def next_session(self) -> date | None:
        """The trading session after."""
        return self._session("next_session")

    def _session(self, name: str) -> date | None:
        text = self._sessions.get(name)
        if text is None:
            return None
        from datetime import date

        return date.fromisoformat(text)

    @property
    def logger(self) -> logging.Logger:
        """A logger that writes to the log of this attempt."""
        import logging

        return logging.getLogger(self.task or "task")

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of the nodes that this one waits for, by their names; for executors with `takes_results`, empty for others."""
        if self._results is None:
            self._results = _read_results(self._order)
        return self._results

    @property
    def deadline(self) -> datetime | None:
        """When the timeout of the attempt is over, aware, in UTC; None without one. Time in which it is paused comes on top."""
        timeout = self._order.get("timeout")
        if timeout is None:
            return None
        from datetime import UTC, datetime, timedelta

        return datetime.fromtimestamp(self._began, UTC) + timedelta(seconds=timeout)

    @property
    def temporary_folder(self) -> Path:
        """A folder for this attempt alone, which is removed with all that is in it when the attempt, or this look of it, is over."""
        from pathlib import Path

        if self._temporary is None:
            self._temporary = _new_folder(self._order)
        return Path(self._temporary)

    def clean_up(self) -> None:
        """Remove what stood for this attempt alone."""
        if self._temporary is not None:
            import shutil

            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def secret(self, name: str) -> str:
        """A secret, from the backends of plugins or from `ZQF_SECRET_NAME` in the server's environment; the attempt fails where nobody has it."""
        found = self._find_secret(name)
        if found is None:
            variable = secret_variable(name)
            raise Failure(
                "secret_missing", f"there is no secret {name!r}: no plugin has it, and {variable} is not set"
            )
        return found

    @property
    def cancelled(self) -> threading.Event:
        """Set when the attempt is to end; for code that waits: `current().cancelled.wait(60)`."""
        if self._cancelled is None:
            self._cancelled = threading.Event()
            if self.stopping:
                self._cancelled.set()
        return self._cancelled

    @property
    def state(self) -> Any:
        """What the last `checkpoint(state)` has kept, of this attempt or of those before it; None where nothing is kept.

        A resumed execution begins with that of the execution before. Read anew each time: to change what it gives changes nothing.
        """
        if self._state_path is None:
            return None
        from zquant_flow.executors import kept

        return kept.read((self._state_path, *self._state_from), self.logger)

    def progress(
        self,
        percent: float | None = None,
        current_item: str | None = None,
        processed: int | None = None,
        total: int | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far the attempt is. `percent` is 0 to 100, worked out of `processed` and `total` when left out."""
        if percent is None and processed is not None and total:
            percent = min(100.0, 100.0 * processed / total)
        self._report(
            percent=percent,
            current_item=current_item,
            processed_items=processed,
            total_items=total,
            message=message,
        )

    def track(self, iterable: Iterable[T], label: str | None = None, total: int | None = None) -> Iterator[T]:
        """Iterate with progress and the time of its end; each step is a point to pause and to terminate."""
        if total is None:
            total = _length(iterable)
        began = time.monotonic() - self._stood_still
        processed = 0
        for item in iterable:
            self.checkpoint()
            self._advance(label, processed, total, began)
            yield item
            processed += 1
        self._advance(label, processed, total, began, last=True)

    def checkpoint(self, state: Any = None) -> None:
        """A point where the attempt can be paused or terminated; raises Terminated.

        `state` is kept first, for the next attempt: values of JSON, at most 1 MiB as such; ValueError says what is not so. None
        leaves what was kept. A disk that is full costs the state, which the log says, and not the attempt.
        """
        if state is not None and self._state_path is not None:
            self._keep(state, self._state_path)
        link = self._link
        if link is None:
            return
        link.poll(self)
        while self.pausing and not self.stopping:
            since = time.monotonic()
            link.tell("paused", self)
            link.wait(self)
            self._stood_still += time.monotonic() - since
            if not self.stopping:
                link.tell("resumed", self)
        if self.stopping:
            raise Terminated("the attempt is to end")

    @property
    def handle(self) -> Any:
        """What `remember` has kept in this attempt, also before a restart or a `defer`; None where it has kept nothing."""
        if self._handle is None:
            return None
        import json

        return json.loads(self._handle)

    def remember(self, handle: Any) -> None:
        """Keep what finds again the work that was begun elsewhere: a value of JSON, at most 64 KiB as such; ValueError otherwise.

        With a handle the attempt is carried on after whatever happens here: the next look finds it in `handle`.
        """
        import json

        text = json.dumps(handle, ensure_ascii=False, allow_nan=False)
        if len(text) > MOST_HANDLE:
            raise ValueError(f"a handle has at most {MOST_HANDLE} characters as JSON, not {len(text)}")
        self._handle = text
        self.values = {**(self.values or {}), "handle": text}
        if self._link is not None:
            self._link.tell("progress", self)

    def defer(self, seconds: float) -> NoReturn:
        """End this look, and begin another in so many seconds (0.1 to a year): from its first line, in the same attempt, with no place in between.

        What is to be found again is kept before, by `remember`. Raises Deferred, which is for nobody to catch.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"defer: {seconds} is no number of seconds")
        raise Deferred(float(seconds))

    def is_to_be_ended_elsewhere(self) -> bool:
        """Whether the attempt is to end, and not only to be left by a server that stops."""
        if self.stopping and self._link is not None:
            self._link.hear(self)
        return self.stopping and not self.leaving

    def stop(self) -> None:
        """The runner wants this attempt to end."""
        self.stopping = True
        if self._cancelled is not None:
            self._cancelled.set()

    def _keep(self, state: Any, path: str) -> None:
        from zquant_flow.executors import kept

        try:
            kept.keep(path, state)
        except OSError as exc:
            self.logger.warning("the state could not be kept: %s", exc)

    def _advance(
        self, label: str | None, processed: int, total: int | None, began: float, last: bool = False
    ) -> None:
        now = time.monotonic()
        if now - self._reported < PROGRESS_INTERVAL and not last:
            return
        percent = ends = None
        if total:
            percent = min(100.0, 100.0 * processed / total)
            if processed and total > processed:
                left = (now - self._stood_still - began) / processed * (total - processed)
                ends = int((time.time() + left) * 1e6)
        self._report(
            percent=percent,
            current_item=label,
            processed_items=processed,
            total_items=total,
            estimated_end=ends,
        )

    def _report(self, **values: Any) -> None:
        told = {name: value for name, value in values.items() if value is not None}
        self.values = {**(self.values or {}), **told}
        if "estimated_end" in values and values["estimated_end"] is None:
            self.values.pop("estimated_end", None)
        now = time.monotonic()
        if self._link is not None and now - self._reported >= PROGRESS_INTERVAL:
            self._reported = now
            self._link.tell("progress", self)


_current: ContextVar[Context | None] = ContextVar("zquant_flow_attempt", default=None)
_outside = Context({})


def current() -> Context:
    """The attempt that this code runs in; outside of one, a context that does nothing."""
    return _current.get() or _outside


def enter(context: Context) -> None:
    """Make this the current attempt of the calling context (contextvars)."""
    _current.set(context)


def active() -> Context | None:
    """The current attempt, None outside of one."""
    return _current.get()


def _read_results(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the order has them: JSON, and paths of large ones."""
    import json

    from zquant_flow.result_files import open_first

    found = {name: json.loads(text) for name, text in (order.get("results") or {}).items()}
    for name, paths in (order.get("result_files") or {}).items():
        try:
            with open_first(paths) as file:
                found[name] = json.load(file)
        except (OSError, ValueError) as exc:
            raise Failure("result_missing", f"the result of {name!r} can't be read: {exc}") from exc
    return found


def _new_folder(order: Mapping[str, Any]) -> str:
    """In the data folder, where a runner removes what a killed one has left; in the system's without one."""
    import tempfile

    place = os.environ.get(RUNNER_MARK)
    within = os.path.join(place, OUTPUTS) if place else None
    name = f"{order.get('id', 0)}-{order.get('attempt', 1)}-"
    return tempfile.mkdtemp(prefix=name, dir=within if within and os.path.isdir(within) else None)


def _length(iterable: object) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        return None
