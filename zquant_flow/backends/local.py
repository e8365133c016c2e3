"""How does the engine reach the runner of its data folder?

Starts one when none answers, attaches to one that a former engine left, and turns its frames into calls.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zquant_flow.errors import RunnerUnavailable
from zquant_flow.runner.address import Reachable
from zquant_flow.runner.environment import SECRETS
from zquant_flow.runner.protocol import SPOOL_FILE, VERSION, BrokenFrame, Decoder, Frame, decode, encode
from zquant_flow.wording import say, spoken

START_SECONDS = 15.0
STOP_SECONDS = 15.0
LOG_LIMIT = 1024 * 1024


class LocalBackend:
    """Attempts on this machine.

    `on_event(frame)` and `on_lost()` are called on a thread of ours, which `start` makes and which ends with the
    connection; `on_lost` only when nobody stopped us. All other methods are for any thread. A stop before the start
    and a second stop do nothing.
    """

    def __init__(
        self,
        data_dir: Path,
        on_event: Callable[[Frame], None] = lambda frame: None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._on_event = on_event
        self._on_lost = on_lost
        self._sock: socket.socket | None = None
        self._sending = threading.Lock()
        self._reader: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._unused = False
        self._spool_size = 0

    def attach(self, on_event: Callable[[Frame], None], on_lost: Callable[[], None]) -> LocalBackend:
        """Take the engine's callbacks, where it was made before the engine."""
        self._on_event, self._on_lost = on_event, on_lost
        return self

    def launch(self) -> None:
        """Start a runner where none answers, and don't wait for it: `start` will find it ready."""
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        sock = self._connect()
        if sock is None:
            self._spawn()
            self._unused = True
        else:
            sock.close()

    def start(self) -> Frame:
        """Reach a runner and return its hello: `attempts` that run, `outcomes` that nobody took, the spooled included.

        Raises RunnerUnavailable.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stopped = self._unused = False
        sock, hello, decoder, frames = self._reach()
        spooled = self._read_spool()
        outcomes = {(outcome["id"], outcome["attempt"]): outcome for outcome in spooled + hello["outcomes"]}
        hello["outcomes"] = list(outcomes.values())
        self._sock = sock
        self._reader = threading.Thread(
            target=self._read, args=(sock, decoder, frames), name="runner-reader", daemon=True
        )
        self._reader.start()
        return hello

    def start_attempts(self, orders: Sequence[Frame], acknowledged: Sequence[Sequence[int]] = ()) -> None:
        """Start attempts (docs/architecture.md: an order); outcomes `[id, attempt]` that are in the database go first."""
        frames: list[Frame] = []
        if acknowledged:
            frames.append({"op": "ack", "items": acknowledged})
        if orders:
            frames.append({"op": "start", "items": orders})
        self.send(*frames)

    def terminate(
        self, execution_id: int, attempt: int, kind: str = "terminated", grace: float | None = None
    ) -> None:
        """End an attempt; `kind` (`terminated` or `shutdown`) is what its outcome will say, `grace` is in seconds."""
        frame: Frame = {"op": "terminate", "id": execution_id, "attempt": attempt, "kind": kind}
        if grace is not None:
            frame["grace"] = grace
        self.send(frame)

    def pause(self, execution_id: int, attempt: int) -> None:
        self.send({"op": "pause", "id": execution_id, "attempt": attempt})

    def resume(self, execution_id: int, attempt: int) -> None:
        self.send({"op": "resume", "id": execution_id, "attempt": attempt})

    def send(self, *frames: Frame) -> None:
        """Send frames; raises RunnerUnavailable when the connection is gone."""
        data = b"".join(map(encode, frames))
        sock = self._sock
        if sock is None:
            raise RunnerUnavailable(say("there is no connection to the runner"))
        try:
            with self._sending:
                sock.sendall(data)
        except OSError as exc:
            raise RunnerUnavailable(
                say("the connection to the runner is lost: {error}", error=spoken(exc))
            ) from exc

    def forget_spool(self) -> None:
        """The spooled outcomes are in the database. A spool that has grown since is left for the next start."""
        path = self._data_dir / SPOOL_FILE
        try:
            if path.stat().st_size == self._spool_size:
                path.unlink()
        except FileNotFoundError:
            pass

    def stop(self, keep_attempts: bool = False) -> None:
        """Leave the runner. It ends when its last attempt has; unless `keep_attempts`, wait for that."""
        self._stopped = True
        sock, reader = self._sock, self._reader
        if sock is None or reader is None:
            self._end_unused()
            return
        if not keep_attempts:
            self._ask_to_end(sock)
            _join(reader, STOP_SECONDS)
        self._sock = None
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        _join(reader, 1.0)
        if not keep_attempts:
            self._reap()

    def _end_unused(self) -> None:
        """A runner that was started ahead, and that nobody came to."""
        if self._unused and self._process is not None:
            self._unused = False
            self._process.terminate()
            self._reap()

    def _ask_to_end(self, sock: socket.socket) -> None:
        try:
            with self._sending:
                sock.sendall(encode({"op": "stop"}))
        except OSError:
            return

    def _reach(self) -> tuple[socket.socket, Frame, Decoder, list[Frame]]:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            sock = self._connect()
            if sock is not None:
                found = _greet(sock)
                if found is not None:
                    return sock, *found
                sock.close()
            elif self._process is None or self._process.poll() is not None:
                self._spawn()
            time.sleep(0.005)
        raise RunnerUnavailable(
            say(
                "no runner answers in {folder}; see {log}",
                folder=str(self._data_dir),
                log=str(self._data_dir / "runner.log"),
            )
        )

    def _connect(self) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(START_SECONDS)
        try:
            with Reachable(self._data_dir) as path:
                sock.connect(path)
        except OSError:
            sock.close()
            return None
        return sock

    def _spawn(self) -> None:
        path = self._data_dir / "runner.log"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            if os.fstat(fd).st_size > LOG_LIMIT:
                os.ftruncate(fd, 0)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "zquant_flow.runner", os.path.abspath(self._data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                env={name: value for name, value in os.environ.items() if name not in SECRETS},
                cwd="/",
                start_new_session=True,
            )
            # Whenever it ends, even long after we left it, it leaves no zombie.
            threading.Thread(target=self._process.wait, name="runner-reaper", daemon=True).start()
        except OSError as exc:
            raise RunnerUnavailable(say("the runner can't be started: {error}", error=spoken(exc))) from exc
        finally:
            os.close(fd)

    def _read_spool(self) -> list[Frame]:
        """Outcomes of a runner that ended alone; a last line that was cut by a crash is left out."""
        try:
            data = (self._data_dir / SPOOL_FILE).read_bytes()
        except FileNotFoundError:
            return []
        self._spool_size = len(data)
        outcomes = []
        for line in data.splitlines():
            try:
                outcomes.append(decode(line))
            except BrokenFrame:
                continue
        return outcomes

    def _read(self, sock: socket.socket, decoder: Decoder, frames: list[Frame]) -> None:
        try:
            with sock:
                self._pass_on(sock, decoder, frames)
        finally:
            if not self._stopped:
                self._sock = None
                self._reap()
                if self._on_lost is not None:
                    self._on_lost()

    def _pass_on(self, sock: socket.socket, decoder: Decoder, frames: list[Frame]) -> None:
        while True:
            for frame in frames:
                self._on_event(frame)
            try:
                data = sock.recv(1 << 18)
                frames = decoder.feed(data)
            except (OSError, BrokenFrame):
                return
            if not data:
                return

    def _reap(self) -> None:
        """Take the exit status of a runner that was our child and has ended."""
        process = self._process
        if process is None:
            return
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            return  # it goes on without us
        self._process = None


def _join(thread: threading.Thread, seconds: float) -> None:
    if thread is not threading.current_thread():
        thread.join(seconds)


def _greet(sock: socket.socket) -> tuple[Frame, Decoder, list[Frame]] | None:
    """Exchange hellos; None when the runner was just leaving. Also what came with its hello."""
    decoder = Decoder()
    frames: list[Frame] = []
    try:
        sock.sendall(encode({"op": "hello", "version": VERSION}))
        while not frames:
            data = sock.recv(1 << 18)
            if not data:
                return None
            frames = decoder.feed(data)
    except (OSError, BrokenFrame):
        return None
    hello = frames.pop(0)
    if hello.get("version") != VERSION:
        raise RunnerUnavailable(
            say(
                "the runner (pid {pid}) speaks version {theirs} of the protocol and this is version {ours}: let its attempts end, or end it (kill {pid})",
                pid=hello.get("pid"),
                theirs=hello.get("version"),
                ours=VERSION,
            ),
            pid=hello.get("pid"),
        )
    sock.settimeout(None)
    return hello, decoder, frames
