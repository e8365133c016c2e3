"""How do messages leave by one channel, without anybody waiting for it?"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from zquant_flow.clock import Clock
from zquant_flow.notifiers.texts import Occurrence, Writer
from zquant_flow.notifiers.throttle import Sending, Throttle
from zquant_flow.plugin.notifiers import Message
from zquant_flow.wording import say

log = logging.getLogger(__name__)

MOST_WAITING = 1_000
"""So many occurrences wait for one channel; the oldest go."""
PAUSES = (1.0, 5.0, 25.0)
"""Seconds before each further try of a message."""

Send = Callable[[Message], None]


class SendingFailed(Exception):
    """A message did not get there; says why, and no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the messages of a channel in this process. Instants are microseconds since 1970."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    last_success: int | None = None
    last_failure: int | None = None
    last_error: str | None = None


class Outbox:
    """One channel: its thread, started by the first occurrence and ended by `stop`; what waits, and how it went.

    A message that fails is tried again after each of the pauses. Once it was given up, those that follow have one try each, until
    one gets there: a dead channel is no reason for a long queue.
    """

    def __init__(
        self,
        name: str,
        *,
        send: Send,
        writer: Writer,
        throttle: Throttle[Occurrence],
        clock: Clock,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        """`send` raises SendingFailed."""
        self.name, self.writer, self.send = name, writer, send
        self.tally = Tally()
        self._throttle, self._clock, self._pauses = throttle, clock, pauses
        self._waiting: deque[Occurrence] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._dead = False

    @property
    def waiting(self) -> int:
        """How many occurrences nobody has looked at yet."""
        return len(self._waiting)

    def tell(self, occurrence: Occurrence) -> None:
        """Keep it for the channel. Returns at once."""
        with self._changed:
            if self._stopping.is_set():
                return
            self._waiting.append(occurrence)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._note(dropped=self.tally.dropped + 1)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"channel {self.name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Take nothing new; what waits or is held back has one more try. Returns at once."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """After a stop: wait until all is sent, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def deliver(self, message: Message) -> str | None:
        """Send it once, now, in the caller's thread; None, or why it did not get there."""
        try:
            self.send(message)
        except SendingFailed as exc:
            error: str = exc.args[0]
            self._note(failed=self.tally.failed + 1, last_failure=self._clock.micros(), last_error=error)
            return error
        self._note(sent=self.tally.sent + 1, last_success=self._clock.micros())
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping.is_set(), self._patience())
                stopping, waiting = self._stopping.is_set(), list(self._waiting)
                self._waiting.clear()
            try:
                for sending in self._sendings(waiting, stopping):
                    self._carry_out(sending)
            except Exception:
                log.exception("channel %s failed", self.name, extra={"action": "channel_failed"})
            if stopping:
                return

    def _patience(self) -> float | None:
        due = self._throttle.due
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def _sendings(self, waiting: list[Occurrence], stopping: bool) -> list[Sending[Occurrence]]:
        now = self._clock.monotonic()
        offered = [self._throttle.offer(_key(each), each, now) for each in waiting]
        return [sending for sending in offered if sending] + self._throttle.release(now, all_of_it=stopping)

    def _carry_out(self, sending: Sending[Occurrence]) -> None:
        if sending.is_digest:
            message = self.writer.digest(sending.items, sending.more)
        else:
            message = self.writer.one(sending.items[0], sending.repeated)
        pauses = iter(() if self._dead else self._pauses)
        while (error := self.deliver(message)) is not None:
            pause = next(pauses, None)
            if pause is None or self._stopping.wait(pause):
                self._dead = True
                log.error(
                    "channel %s: %r was not sent: %s",
                    self.name,
                    message.title,
                    error,
                    extra={"action": "notification_failed"},
                )
                return
        self._dead = False

    def _note(self, **facts: object) -> None:
        self.tally = replace(self.tally, **facts)  # type: ignore[arg-type]


def _key(occurrence: Occurrence) -> tuple[int, str | None, str]:
    return occurrence.task_id, occurrence.node, occurrence.notice.value


def not_ready(why: str) -> Send:
    """What a channel does that is written wrongly."""

    def send(message: Message) -> None:
        raise SendingFailed(say("the channel is not ready: {why}", why=why))

    return send
