"""Who speaks to the runner, what do they want, and when is it over?

The socket, the newest connection, and the spool for outcomes that nobody has taken.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from zquant_flow.runner.address import Reachable
from zquant_flow.runner.attempts import Attempts
from zquant_flow.runner.loop import Loop, Stream, Timer, guarded
from zquant_flow.runner.protocol import SOCKET_FILE, SPOOL_FILE, VERSION, Frame, Key, encode
from zquant_flow.runner.strays import Strays
from zquant_flow.runner.workers import Workers

FIRST_CLIENT_SECONDS = 30.0
"""A runner that nobody ever spoke to ends after this."""


class Server:
    """Obeys the newest connection; without one nothing new starts, and the runner ends with its last attempt."""

    def __init__(
        self, loop: Loop, data_dir: str, attempts: Attempts, workers: Workers, strays: Strays
    ) -> None:
        self._loop = loop
        self._data_dir = data_dir
        self._attempts = attempts
        self._workers = workers
        self._strays = strays
        self._client: Stream | None = None
        self._stopping = False
        self._spooled = False
        self._waiting: Timer | None = loop.later(FIRST_CLIENT_SECONDS, self._nobody_came)
        self._listener = listen(data_dir)
        loop.watch(self._listener.fileno(), self._accept)
        loop.at_turn_end(self._report)

    def over(self) -> bool:
        """Whether the runner may end."""
        if self._attempts.running or self._strays.busy or len(self._workers):
            return False
        return self._stopping or (self._client is None and self._waiting is None)

    def close(self) -> None:
        """Leave the socket; keep what nobody acknowledged."""
        _unlink(os.path.join(self._data_dir, SOCKET_FILE))
        self._listener.close()
        self._spool(list(self._attempts.outcomes.values()))

    def shut_down(self) -> None:
        """The machine wants us gone (SIGTERM): end the attempts, then ourselves."""
        self._stopping = True
        self._workers.keep_warm(False)
        for key in list(self._attempts.running):
            self._attempts.terminate(key, "shutdown")

    def _nobody_came(self) -> None:
        self._waiting = None
        self._workers.keep_warm(False)

    def _accept(self, events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        Visitor(self, self._loop, sock)

    def welcome(self, stream: Stream) -> None:
        """This connection has said hello: from now on it is the one that is obeyed."""
        if self._client is not None:
            self._client.close()
        self._loop.cancel(self._waiting)
        self._waiting = None
        self._report()  # what is new until now is part of the hello
        self._client = stream
        self._workers.keep_warm(not self._stopping)
        hello: Frame = {
            "op": "hello",
            "version": VERSION,
            "pid": os.getpid(),
            "attempts": list(self._attempts.running),
            "outcomes": list(self._attempts.outcomes.values()),
        }
        stream.send(encode(hello))
        self._attempts.repeat()  # what was told while nobody listened

    def is_client(self, stream: Stream) -> bool:
        return stream is self._client

    def left(self, stream: Stream) -> None:
        if stream is self._client:
            self._client = None
            self._workers.keep_warm(False)
            self._spool(list(self._attempts.outcomes.values()))

    def obey(self, frame: Frame) -> None:
        op = frame.get("op")
        if op == "start" and self._stopping:
            self._attempts.refuse(frame["items"], "the runner is stopping")
        elif op == "start":
            for order in frame["items"]:
                guarded(self._attempts.start, (order,))
        elif op == "ack":
            self._acknowledge(frame)
        elif op == "terminate":
            self._attempts.terminate(_key(frame), frame.get("kind", "terminated"), frame.get("grace"))
        elif op == "pause":
            self._attempts.pause(_key(frame))
        elif op == "resume":
            self._attempts.resume(_key(frame))
        elif op == "stop":
            self._stopping = True
            self._workers.keep_warm(False)
        else:
            sys.stderr.write(f"action=unknown_op op={op!r}\n")

    def _acknowledge(self, frame: Frame) -> None:
        self._attempts.acknowledge(frame["items"])
        if self._spooled and not self._attempts.outcomes:
            self._spooled = False
            _unlink(os.path.join(self._data_dir, SPOOL_FILE))

    def _report(self) -> None:
        frames = self._attempts.news()
        if not frames:
            return
        if self._client is not None:
            self._client.send(b"".join(map(encode, frames)))
            return
        self._spool([outcome for frame in frames if frame["op"] == "outcomes" for outcome in frame["items"]])

    def _spool(self, outcomes: list[Frame]) -> None:
        """Put outcomes on the disk while nobody listens; the same one twice does no harm."""
        if not outcomes:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(os.path.join(self._data_dir, SPOOL_FILE), flags, 0o600)
            try:
                data = b"".join(map(encode, outcomes))
                while data:
                    data = data[os.write(fd, data) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            self._spooled = True
        except OSError as exc:
            sys.stderr.write(f"action=spool_failed error={exc} outcomes={json.dumps(outcomes)}\n")


class Visitor:
    """A connection, before and after its hello."""

    def __init__(self, server: Server, loop: Loop, sock: socket.socket) -> None:
        self._server = server
        self._stream = Stream(loop, sock, self._take, self._gone)

    def _take(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.get("op") == "hello":
                self._greet(frame)
            elif self._server.is_client(self._stream):
                guarded(self._server.obey, frame)

    def _greet(self, frame: Frame) -> None:
        if frame.get("version") == VERSION:
            self._server.welcome(self._stream)
            return
        self._stream.send(encode({"op": "hello", "version": VERSION, "pid": os.getpid(), "error": "version"}))
        self._stream.close()

    def _gone(self) -> None:
        self._server.left(self._stream)


def listen(data_dir: str) -> socket.socket:
    """The socket of this data folder, mode 0600, however long the folder's path is."""
    _unlink(os.path.join(data_dir, SOCKET_FILE))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        with Reachable(data_dir) as path:
            listener.bind(path)
    finally:
        os.umask(old_mask)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def _key(frame: Frame) -> Key:
    return frame["id"], frame["attempt"]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
