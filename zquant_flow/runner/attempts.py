"""Which attempts run, when must they end, and which outcomes has nobody taken yet?

The table knows time and bookkeeping; how a command or a Python worker is asked, stopped or killed is its carrier's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from zquant_flow.failpoints import reached
from zquant_flow.logs import AttemptLog
from zquant_flow.runner.loop import Loop, Timer
from zquant_flow.runner.protocol import Frame, Key
from zquant_flow.runner.starting import SpawnFailed

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL, unless the order or the request says otherwise."""


class Carrier(Protocol):
    """A way to carry attempts. Each ends by one call of `Attempts.finish`."""

    def start(self, attempt: Attempt) -> None:
        """Begin; SpawnFailed makes it a failed attempt."""

    def terminate(self, attempt: Attempt) -> None:
        """Ask it to end."""

    def kill(self, attempt: Attempt) -> None:
        """End it now."""

    def pause(self, attempt: Attempt) -> None:
        """Stop it; calls `Attempts.paused` when it has stopped."""

    def resume(self, attempt: Attempt) -> None:
        """Let it go on; calls `Attempts.resumed`."""


class Attempt:
    """One attempt that runs; `handle` is its carrier's."""

    __slots__ = (
        "carrier",
        "clock",
        "ending",
        "handle",
        "key",
        "kill_at",
        "kill_timer",
        "log",
        "order",
        "progress",
        "remaining",
        "started",
        "timer",
    )

    def __init__(self, order: Frame, carrier: Carrier) -> None:
        self.key: Key = (order["id"], order["attempt"])
        self.order = order
        self.carrier = carrier
        self.log = AttemptLog(order["log"])
        self.started = time.time_ns() // 1000
        self.clock = time.monotonic()
        self.ending: str | None = None
        self.kill_at: float | None = None
        self.handle: Any = None
        self.progress: Frame | None = None
        self.timer: Timer | None = None
        self.kill_timer: Timer | None = None
        self.remaining: float | None = None


class Attempts:
    """The attempts that run and the outcomes that wait, by key; what is new since the last turn goes out at its end."""

    def __init__(self, loop: Loop, carriers: dict[str, Carrier]) -> None:
        self._loop = loop
        self._carriers = carriers
        self.running: dict[Key, Attempt] = {}
        self.outcomes: dict[Key, Frame] = {}
        self._news: dict[str, list[Any]] = {}
        self._progress: dict[Key, Frame] = {}

    def keys(self) -> set[Key]:
        return set(self.running)

    def start(self, orders: Iterable[Frame]) -> None:
        """Start what is not known yet."""
        for order in orders:
            key = (order["id"], order["attempt"])
            if key not in self.running and key not in self.outcomes:
                self._start(order, key)

    def refuse(self, orders: Iterable[Frame], reason: str) -> None:
        """Answer orders that come too late to be started; they cost no retry."""
        for order in orders:
            self._put(Attempt(order, self._carriers["command"]), "displaced", {"error": reason})

    def terminate(self, key: Key, kind: str, grace: float | None = None) -> None:
        """Ask an attempt to end, kill it after the grace; its outcome has this kind, or that of an earlier request."""
        attempt = self.running.get(key)
        if attempt is None:
            return
        if grace is None:
            grace = attempt.order.get("grace")
        kill_at = time.monotonic() + (GRACE if grace is None else grace)
        first = attempt.ending is None
        attempt.ending = attempt.ending or kind
        self._loop.cancel(attempt.timer)
        if attempt.kill_at is None or kill_at < attempt.kill_at:
            attempt.kill_at = kill_at
            self._loop.cancel(attempt.kill_timer)
            attempt.kill_timer = self._loop.later(kill_at - time.monotonic(), lambda: self._kill(key))
        if first:
            attempt.carrier.terminate(attempt)

    def pause(self, key: Key) -> None:
        attempt = self.running.get(key)
        if attempt is not None and attempt.ending is None:
            attempt.carrier.pause(attempt)

    def resume(self, key: Key) -> None:
        attempt = self.running.get(key)
        if attempt is not None:
            attempt.carrier.resume(attempt)

    def paused(self, attempt: Attempt) -> None:
        """It has stopped: its timeout stands still."""
        if attempt.timer is not None and not attempt.timer.cancelled:
            attempt.remaining = attempt.timer.when - time.monotonic()
            self._loop.cancel(attempt.timer)
        self._news.setdefault("paused", []).append(attempt.key)

    def resumed(self, attempt: Attempt) -> None:
        """It goes on, and so does its timeout."""
        if attempt.remaining is not None:
            self._arm(attempt, max(0.0, attempt.remaining))
            attempt.remaining = None
        self._news.setdefault("resumed", []).append(attempt.key)

    def advanced(self, attempt: Attempt, progress: Frame) -> None:
        """It told its progress: the last word of a turn is sent, and repeated in the outcome."""
        attempt.progress = progress
        self._progress[attempt.key] = {"id": attempt.key[0], "attempt": attempt.key[1], **progress}

    def repeat(self) -> None:
        """Tell anew how far all are that run."""
        for attempt in self.running.values():
            if attempt.progress is not None:
                self.advanced(attempt, attempt.progress)

    def finish(self, attempt: Attempt, kind: str, **facts: Any) -> None:
        """It has ended; a request to end it gives the outcome its kind, however it went."""
        if self.running.pop(attempt.key, None) is None:
            return
        self._put(attempt, attempt.ending or kind, facts)

    def acknowledge(self, keys: Iterable[list[int]]) -> None:
        for execution_id, attempt in keys:
            self.outcomes.pop((execution_id, attempt), None)
            reached("runner.acknowledged")

    def news(self) -> list[Frame]:
        """Frames about what happened since the last call."""
        if not self._news and not self._progress:
            return []
        frames: list[Frame] = []
        if self._progress:
            frames.append({"op": "progress", "items": list(self._progress.values())})
            self._progress = {}
        frames += ({"op": op, "items": items} for op, items in self._news.items())
        self._news = {}
        return frames

    def _start(self, order: Frame, key: Key) -> None:
        kind = "command" if order["executor"] == "command" else order.get("isolation", "process")
        carrier = self._carriers[kind]
        attempt = self.running[key] = Attempt(order, carrier)
        reached("runner.ordered")
        try:
            carrier.start(attempt)
        except SpawnFailed as exc:
            self.finish(attempt, "failed", code=exc.code, error=str(exc))
            return
        except Exception as exc:
            self.finish(attempt, "failed", code="spawn_failed", error=f"{type(exc).__name__}: {exc}")
            raise
        reached("runner.started")
        timeout = order.get("timeout")
        if timeout is not None:
            self._arm(attempt, timeout)

    def _arm(self, attempt: Attempt, seconds: float) -> None:
        key = attempt.key
        attempt.timer = self._loop.later(seconds, lambda: self._time_out(key))

    def _time_out(self, key: Key) -> None:
        self.terminate(key, "timeout")

    def _kill(self, key: Key) -> None:
        attempt = self.running.get(key)
        if attempt is not None:
            attempt.carrier.kill(attempt)

    def _put(self, attempt: Attempt, kind: str, facts: dict[str, Any]) -> None:
        self._loop.cancel(attempt.timer)
        self._loop.cancel(attempt.kill_timer)
        attempt.log.close()
        if kind == "timeout":
            facts["error"] = f"timeout after {attempt.order['timeout']:g} s"
        outcome: Frame = {
            "id": attempt.key[0],
            "attempt": attempt.key[1],
            "kind": kind,
            "started": attempt.started,
            "ended": time.time_ns() // 1000,
            "seconds": round(time.monotonic() - attempt.clock, 6),
        }
        if attempt.progress is not None:
            outcome["progress"] = attempt.progress
            self._progress.pop(attempt.key, None)
        outcome.update((name, value) for name, value in facts.items() if value is not None)
        reached("runner.ended")
        self.outcomes[attempt.key] = outcome
        self._news.setdefault("outcomes", []).append(outcome)
