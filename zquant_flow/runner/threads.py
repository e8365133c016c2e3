"""How does one worker carry many attempts at once, and thousands of short ones a second?

One thread drains the queue as long as tasks end at once: waking one for each would be a fight for the GIL. The main
thread reads the socket, and while something waits it looks every millisecond: outcomes that nobody sent go out, and a
queue that stands still gets more threads, twice as many each time.
"""

from __future__ import annotations

import io
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from contextvars import Context as Variables
from typing import Any

from zquant_flow.executors.context import Context, active, enter
from zquant_flow.logs import AttemptLog
from zquant_flow.runner.calls import Calls, folder_missing, set_up_logging
from zquant_flow.runner.protocol import Decoder, Frame, Key, encode
from zquant_flow.runner.secrets import find_secret

TICK_SECONDS = 0.001
BATCH = 16
"""So many outcomes are sent without waiting for the queue to be empty."""

MAX_THREADS = 1000

MOST_WISHES = 10_000
"""Wishes that are kept for attempts that have not begun; older ones came too late, when theirs had ended already."""


class Crowd:
    """Many attempts at a time. The main thread owns the queue's filling, the pool's threads its emptying."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = Decoder()
        self._calls = Calls()
        self._queue: deque[Frame] = deque()
        self._outbox: deque[Frame] = deque()
        self._sending = threading.Lock()
        self._idle: deque[threading.Lock] = deque()
        self._threads = 0
        self._taken = 0
        self._taken_before = 0
        self._called = 0
        self._next_look = 0.0
        self._contexts: dict[Key, Context] = {}
        self._folder: str | None = None
        self._fault: Frame | None = None
        self._doomed: set[Key] = set()
        self._stilled: set[Key] = set()
        self._wishes: deque[Key] = deque()
        self._resumed = threading.Condition()

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.register_at_fork(after_in_child=lambda: os.close(self._sock.fileno()))
        _route_output()
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        while True:
            waiting = self._queue or self._outbox
            if poll.poll(TICK_SECONDS * 1000 if waiting else None):
                self._receive()
            if waiting and time.monotonic() >= self._next_look:
                self._look()

    def _receive(self) -> None:
        data = self._sock.recv(1 << 18)
        if not data:
            os._exit(0)  # retired, or the runner is gone
        for frame in self._decoder.feed(data):
            self._obey(frame)

    def _look(self) -> None:
        """Send what nobody has sent; when the queue stands still, call in more threads.

        It stands still when nothing was taken since the last look but what the threads called in then took at once.
        """
        self._next_look = time.monotonic() + TICK_SECONDS
        self._send_outcomes()
        taken, self._taken_before = self._taken - self._taken_before, self._taken
        if taken > self._called:
            self._called = 0
            return
        self._called = min(max(1, 2 * self._called), len(self._queue))
        self._call_in(self._called)

    def _obey(self, frame: Frame) -> None:
        if frame["op"] == "run":
            if self._folder is None:
                self._settle(frame["items"][0].get("cwd") or "/")
            self._queue.extend(frame["items"])
            if len(self._idle) == self._threads:
                self._call_in(1)
            return
        context = self._contexts.get((frame["id"], frame["attempt"]))
        if context is None:
            if self._keep_back(frame):
                return
            context = self._contexts.get((frame["id"], frame["attempt"]))
            if context is None:
                return
        with self._resumed:
            if frame["op"] == "terminate":
                context.leaving = frame.get("kind") == "shutdown"
                context.stop()
            context.pausing = frame["op"] == "pause"
            self._resumed.notify_all()

    def _settle(self, folder: str) -> None:
        """All attempts of this worker have the same folder: go there once."""
        self._folder = folder
        try:
            os.chdir(folder)
        except OSError as exc:
            self._fault = folder_missing(folder, exc)

    def _keep_back(self, frame: Frame) -> bool:
        """A wish for an attempt that has not begun: terminated in the queue (then True), else noted for its beginning.

        What is noted is looked for once more by the caller: a thread may just have begun without it.
        """
        key = (frame["id"], frame["attempt"])
        if frame["op"] == "pause":
            self._note(self._stilled, key)
        elif frame["op"] == "resume":
            self._stilled.discard(key)
        else:
            return self._dropped(key)
        return False

    def _dropped(self, key: Key) -> bool:
        for order in list(self._queue):
            if (order["id"], order["attempt"]) == key:
                try:
                    self._queue.remove(order)
                except ValueError:
                    break
                self._outbox.append({"id": key[0], "attempt": key[1], "kind": "terminated"})
                return True
        self._note(self._doomed, key)  # a thread has just taken it, or it has just ended
        return False

    def _note(self, wished: set[Key], key: Key) -> None:
        """Keep a wish for the beginning of its attempt. Which has ended is not known here, so that the oldest ones go."""
        wished.add(key)
        self._wishes.append(key)
        if len(self._wishes) > MOST_WISHES:
            oldest = self._wishes.popleft()
            self._doomed.discard(oldest)
            self._stilled.discard(oldest)

    def _call_in(self, number: int) -> None:
        for _ in range(number):
            try:
                self._idle.pop().release()
            except IndexError:
                if self._threads >= MAX_THREADS:
                    return
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        queue, outbox = self._queue, self._outbox
        while True:
            try:
                order = queue.popleft()
            except IndexError:
                self._sleep(bell)
                continue
            self._taken += 1
            outbox.append(Variables().run(self._carry, order))
            if not queue or len(outbox) >= BATCH:
                self._send_outcomes()

    def _sleep(self, bell: threading.Lock) -> None:
        self._idle.append(bell)
        if self._queue:  # it came between the look and the bed
            try:
                self._idle.remove(bell)
            except ValueError:
                pass  # already called
            else:
                return
        bell.acquire()

    def _carry(self, order: Frame) -> Frame:
        key = (order["id"], order["attempt"])
        context = Context(order, self, AttemptLog(order["log"]), find_secret)
        self._contexts[key] = context
        enter(context)
        if self._doomed and key in self._doomed:
            self._doomed.discard(key)
            context.stop()
        if self._stilled and key in self._stilled:
            self._stilled.discard(key)
            context.pausing = True
        done = dict(self._fault) if self._fault else self._calls.outcome(order, context)
        del self._contexts[key]
        done["id"], done["attempt"] = key
        if context.values is not None:
            done["progress"] = context.values
        if context.log is not None:
            context.log.close()
        return done

    def _send_outcomes(self) -> None:
        """Whoever finds nobody sending sends for all; looked at again after letting go, so that none stays behind."""
        outbox = self._outbox
        while outbox and self._sending.acquire(blocking=False):
            try:
                items = []
                while outbox:
                    items.append(outbox.popleft())
                self._sock.sendall(encode({"op": "done", "items": items}))
            finally:
                self._sending.release()

    def poll(self, context: Context) -> None:
        """Requests come by the main thread."""

    def hear(self, context: Context) -> None:
        """The same."""

    def wait(self, context: Context) -> None:
        with self._resumed:
            self._resumed.wait_for(lambda: context.stopping or not context.pausing)

    def tell(self, op: str, context: Context) -> None:
        frame: Frame = {"op": op, "id": context.execution_id, "attempt": context.attempt}
        if op == "progress":
            frame["values"] = context.values
        with self._sending:
            self._sock.sendall(encode(frame))
        self._send_outcomes()  # of those who found us sending


class _Routed(io.TextIOBase):
    """stdout or stderr of whichever attempt writes; what belongs to none goes to the worker's own."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, own: io.TextIOWrapper) -> None:
        self._own = own
        self.buffer = _RoutedBytes(own.buffer)

    def write(self, text: str) -> int:
        self.buffer.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        return True

    def reconfigure(self, **settings: object) -> None:
        """For tasks that set the encoding: it is UTF-8."""

    def fileno(self) -> int:
        return self._own.fileno()

    def flush(self) -> None:
        """Every write goes through."""


class _RoutedBytes(io.RawIOBase):
    def __init__(self, own: Any) -> None:
        self._own = own

    def write(self, data: bytes) -> int:  # type: ignore[override]
        context = active()
        if context is not None and context.log is not None:
            context.log.write(data)
        else:
            self._own.write(data)
            self._own.flush()
        return len(data)

    def writable(self) -> bool:
        return True


def _route_output() -> None:
    sys.stdout = _Routed(sys.stdout)  # type: ignore[arg-type]
    sys.stderr = _Routed(sys.stderr)  # type: ignore[arg-type]
    set_up_logging()
