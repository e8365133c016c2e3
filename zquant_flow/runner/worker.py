"""A Python worker: `python -m zquant_flow.runner.worker FD MODE`.

In mode `process` it carries one attempt at a time on its main thread, so that SIGTERM can raise Terminated there; its
stdout and stderr are the runner's pipe. Mode `thread` is in `threads`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextvars import Context as Variables
from types import FrameType

from zquant_flow.executors.context import Context, Terminated, enter
from zquant_flow.runner.calls import Calls, folder_missing, set_up_logging
from zquant_flow.runner.environment import order_environment
from zquant_flow.runner.protocol import Decoder, Frame, encode
from zquant_flow.runner.secrets import find_secret

POLL_INTERVAL = 0.02
"""How often a running attempt looks for a request to pause."""


class Alone:
    """One attempt at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = Decoder()
        self._calls = Calls()
        self._environment = dict(os.environ)
        self._added: dict[str, str] = {}
        self._raw_environment = _raw_environment().copy()
        self._context: Context | None = None
        self._frames: list[Frame] = []
        self._polled = 0.0
        self._pid = os.getpid()
        self._streams = sys.stdout, sys.stderr
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        while True:
            frame = self._next()
            if frame is None:
                return
            if frame["op"] == "run":
                self._run(frame["order"])

    def _run(self, order: Frame) -> None:
        context = Context(order, self, find_secret=find_secret)
        try:
            done = self._prepared(order) or Variables().run(self._call, order, context)
        except Terminated:  # it came in the moment between the task's end and ours
            done = {"kind": "terminated"}
        self._context = None
        whole = self._flush()
        if context.values is not None:
            done["progress"] = context.values
        alone = threading.active_count() == 1 and not _has_children()
        done["reuse"] = whole and alone and not context.stopping
        done["op"] = "done"
        self._sock.sendall(encode(done))
        self._restore()

    def _call(self, order: Frame, context: Context) -> Frame:
        enter(context)
        self._context = context
        try:
            return self._calls.outcome(order, context)
        finally:
            self._context = None
            if os.getpid() != self._pid:
                # A child made by os.fork came back from the task: it must not speak for it.
                self._flush()
                os._exit(0)

    def _prepared(self, order: Frame) -> Frame | None:
        # An earlier task may have put others there.
        sys.stdout, sys.stderr = self._streams
        if signal.getsignal(signal.SIGTERM) != self._on_sigterm:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        self._added = order_environment(order)
        os.environ.update(self._added)
        folder = order.get("cwd") or "/"
        try:
            os.chdir(folder)
        except OSError as exc:
            return folder_missing(folder, exc)
        return None

    def _flush(self) -> bool:
        """Send what was printed on its way; False when the task has broken our streams."""
        whole = True
        for stream in {sys.stdout, sys.stderr, *self._streams}:
            try:
                stream.flush()
            except Exception:
                whole = whole and stream not in self._streams
        return whole

    def _restore(self) -> None:
        os.chdir("/")
        wanted = self._environment
        _set_variables(self._added, wanted)
        if _raw_environment() != self._raw_environment or not self._raw_environment:
            _set_variables({**os.environ, **wanted}, wanted)

    def poll(self, context: Context) -> None:
        now = time.monotonic()
        if now - self._polled < POLL_INTERVAL:
            return
        self._polled = now
        while self._frames or select.select([self._sock], [], [], 0)[0]:
            self._obey(self._next(), context)

    def hear(self, context: Context) -> None:
        self._polled = 0.0
        self.poll(context)

    def wait(self, context: Context) -> None:
        while context.pausing and not context.stopping:
            self._obey(self._next(), context)

    def tell(self, op: str, context: Context) -> None:
        frame: Frame = {"op": op}
        if op == "progress":
            frame["values"] = context.values
        self._sock.sendall(encode(frame))

    def _obey(self, frame: Frame | None, context: Context) -> None:
        if frame is None:
            os._exit(1)  # the runner is gone
        if frame["op"] in ("pause", "resume"):
            context.pausing = frame["op"] == "pause"
        elif frame["op"] == "leave":
            context.leaving = True

    def _next(self) -> Frame | None:
        while not self._frames:
            data = self._sock.recv(1 << 18)
            if not data:
                return None
            self._frames = self._decoder.feed(data)
        return self._frames.pop(0)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        context = self._context
        if context is None:
            if threading.current_thread() is threading.main_thread():
                sys.exit(0)
        elif not context.stopping:  # once: what cleans up is not disturbed again
            context.stop()
            raise Terminated("SIGTERM")

    def _forked(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._sock.close()


def _set_variables(names: Iterable[str], wanted: dict[str, str]) -> None:
    """Give these variables the values they have in `wanted`; those that it does not have go."""
    for name in names:
        if name not in wanted:
            os.environ.pop(name, None)
        elif os.environ.get(name) != wanted[name]:
            os.environ[name] = wanted[name]


def _raw_environment() -> dict[bytes, bytes]:
    """What os.environ keeps, to compare in a microsecond; empty if a later Python keeps it elsewhere."""
    return getattr(os.environ, "_data", {})


def _has_children() -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _give_way() -> None:
    """A worker that wakes up does not push the runner aside that has just woken it (Linux; measured: 7 % more attempts)."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> None:
    descriptor, mode = int(sys.argv[1]), sys.argv[2]
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    faulthandler.enable()
    _give_way()
    del sys.argv[1:]
    if mode == "thread":
        from zquant_flow.runner.threads import Crowd

        Crowd(sock).serve()
        return
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False, errors="backslashreplace")  # type: ignore[union-attr]
    set_up_logging()
    Alone(sock).serve()


if __name__ == "__main__":
    main()
