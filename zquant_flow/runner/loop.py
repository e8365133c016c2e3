"""What happened, and whose turn is it?

A single-threaded event loop: file descriptors, timers, and what is to be done at the end of a turn. An event that
raises is logged and costs nobody else anything.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import sys
import time
from collections.abc import Callable

from zquant_flow.runner.protocol import BrokenFrame, Decoder, Frame

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

CHUNK = 65536
"""At most so many bytes are read from one source before the others have their turn."""


class Timer:
    """A call that is due at `when` (monotonic seconds), unless it was cancelled."""

    __slots__ = ("call", "cancelled", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False


class Loop:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()
        self._cancelled = 0
        self._at_turn_end: list[Callable[[], None]] = []

    def watch(self, fd: int, call: Callable[[int], None], events: int = READ) -> None:
        """Call `call(events)` whenever `fd` is ready."""
        self._selector.register(fd, events, call)

    def change(self, fd: int, call: Callable[[int], None], events: int) -> None:
        self._selector.modify(fd, events, call)

    def forget(self, fd: int) -> None:
        self._selector.unregister(fd)

    def now(self) -> float:
        return time.monotonic()

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, (timer.when, next(self._sequence), timer))
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Most timers are timeouts that never come due: cancelled ones are swept out before they pile up."""
        if timer is None or timer.cancelled:
            return
        timer.cancelled = True
        timer.call = _nothing  # what it would have called need not live until its time
        self._cancelled += 1
        if self._cancelled > 1000 and self._cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def at_turn_end(self, call: Callable[[], None]) -> None:
        """Call `call` after the events of every turn."""
        self._at_turn_end.append(call)

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            self.turn()

    def turn(self) -> None:
        watched = self._selector.get_map()
        for key, events in self._selector.select(self._patience()):
            # An earlier event of this turn may have closed it, and the number means another now.
            if watched.get(key.fd) is key:
                guarded(key.data, events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.cancelled:
                self._cancelled -= 1
                continue
            timer.cancelled = True
            guarded(timer.call)
        for call in self._at_turn_end:
            guarded(call)

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())


def _nothing() -> None:
    pass


def guarded(call: Callable[..., None], *arguments: object) -> None:
    """Call it; log what it raises."""
    try:
        call(*arguments)
    except Exception:
        log_trace()


def log_trace() -> None:
    import traceback  # costs 10 ms of a start that hardly ever needs it

    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} action=runner_error\n{traceback.format_exc()}")
    sys.stderr.flush()


class Stream:
    """Frames over a non-blocking socket: what can't be sent now waits here."""

    __slots__ = ("_closed", "_decoder", "_fd", "_loop", "_on_closed", "_on_frames", "_unsent", "sock")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_frames: Callable[[list[Frame]], None],
        on_closed: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = loop
        self._fd = sock.fileno()
        self._on_frames = on_frames
        self._on_closed = on_closed
        self._decoder = Decoder()
        self._unsent = bytearray()
        self._closed = False
        loop.watch(self._fd, self._ready)

    def send(self, data: bytes) -> None:
        if self._closed:
            return
        if not self._unsent:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the reading side notices, and says so
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.change(self._fd, self._ready, READ | WRITE)
        self._unsent += data

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.forget(self._fd)
            self.sock.close()

    def receive(self) -> None:
        """Take in what is there; without waiting."""
        if self._closed:
            return
        try:
            data = self.sock.recv(4 * CHUNK)
            frames = self._decoder.feed(data) if data else None
        except BlockingIOError:
            return
        except (OSError, BrokenFrame):
            frames = None
        if frames is None:
            self.close()
            self._on_closed()
        elif frames:
            self._on_frames(frames)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ:
            self.receive()

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.change(self._fd, self._ready, READ)
