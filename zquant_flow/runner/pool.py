"""What is a Python worker to the runner, and how long does it stay?

A process that is kept warm: the next attempt of the same interpreter and sources finds everything imported.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from zquant_flow.runner.attempts import Attempt, Attempts
from zquant_flow.runner.commands import Pipe, explain_exit
from zquant_flow.runner.loop import Loop, Stream, Timer
from zquant_flow.runner.processes import Processes
from zquant_flow.runner.protocol import Frame, Key
from zquant_flow.runner.starting import SpawnFailed
from zquant_flow.runner.strays import Strays

IDLE_SECONDS = 60.0
RETIRE_SECONDS = 10.0
"""A worker that was told to go and is still there after this is killed."""

MIN_IDLE = 8

WorkerKey = tuple[Any, ...]

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import sys; sys.path.append({parent!r}); sys.argv[0] = 'worker'; "
    "from zquant_flow.runner.worker import main; main()"
)


class Worker:
    """A worker process as the runner sees it. `key` says for what it is warm."""

    def __init__(
        self,
        parts: Parts,
        key: WorkerKey,
        mode: str,
        env: dict[str, str],
        on_frames: Callable[[Worker, list[Frame]], None],
        on_output: Callable[[Worker, bytes], None],
        on_exit: Callable[[Worker, int], None],
    ) -> None:
        self.key = key
        self.attempt: Attempt | None = None
        self.attempts: dict[Key, Attempt] = {}
        self.unsent: list[Frame] = []
        self.retired = False
        self.killed = False
        self._kill_timer: Timer | None = None
        self._parts = parts
        self._on_exit = on_exit
        ours, theirs, reader, writer = _channels()
        try:
            self.pid = parts.processes.spawn(
                _argv(key[0], mode), env, "/", writer, self._exited, channel=theirs.fileno()
            )
        except SpawnFailed:
            ours.close()
            os.close(reader)
            raise
        finally:
            theirs.close()
            os.close(writer)
        self.stream = Stream(parts.loop, ours, lambda frames: on_frames(self, frames), self.retire)
        self.pipe = Pipe(parts.loop, reader, lambda data: on_output(self, data))
        parts.workers.add(self)

    def retire(self) -> None:
        """Let it go: it ends when its channel closes."""
        if not self.retired:
            self.retired = True
            self.stream.close()
            self._kill_timer = self._parts.loop.later(RETIRE_SECONDS, lambda: self.signal(signal.SIGKILL))

    def signal(self, number: int) -> None:
        self._parts.processes.signal_group(self.pid, number)

    def _exited(self, code: int) -> None:
        self.stream.receive()  # what it said last
        self.pipe.drain()
        self.retired = True
        self._parts.loop.cancel(self._kill_timer)
        self.stream.close()
        self.pipe.close()
        self._parts.workers.discard(self)
        self._on_exit(self, code)


class Parts:
    """What all workers need."""

    def __init__(self, loop: Loop, processes: Processes, strays: Strays, env: dict[str, str]) -> None:
        self.loop = loop
        self.processes = processes
        self.strays = strays
        self.env = env
        self.workers: set[Worker] = set()


class Idle:
    """Workers that wait, the longest first; each for a minute at most, and not more of them than ever worked at once."""

    def __init__(self, loop: Loop) -> None:
        self.limit_seconds = IDLE_SECONDS
        self.limit = MIN_IDLE
        self._loop = loop
        self._waiting: dict[Worker, float] = {}
        self._timer: Timer | None = None

    def take(self, key: WorkerKey) -> Worker | None:
        """The one that worked last, for its memory is the warmest."""
        for worker in reversed(self._waiting):
            if worker.key == key and not worker.retired:
                del self._waiting[worker]
                return worker
        return None

    def put(self, worker: Worker) -> None:
        if worker.retired:
            return
        if self.limit_seconds == 0:
            worker.retire()
            return
        if self._timer is None:
            self._timer = self._loop.later(self.limit_seconds, self._end_old)
        self._waiting[worker] = self._loop.now() + self.limit_seconds
        if len(self._waiting) > self.limit:
            self._end(next(iter(self._waiting)))

    def remove(self, worker: Worker) -> None:
        self._waiting.pop(worker, None)

    def end_all(self) -> None:
        for worker in list(self._waiting):
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        del self._waiting[worker]
        worker.retire()

    def _end_old(self) -> None:
        self._timer = None
        now = self._loop.now()
        for worker, until in list(self._waiting.items()):
            if until <= now:
                self._end(worker)
        if self._waiting:
            self._timer = self._loop.later(next(iter(self._waiting.values())) - now, self._end_old)


def death(code: int, whose: str) -> Frame:
    """The facts of an attempt whose worker died under it."""
    facts = explain_exit(code)
    if code < 0:
        facts["error"] = f"{whose} was {facts['error']}"
    else:
        facts["error"] = f"{whose} ended under the task with exit code {code}: does it call os._exit?"
    facts["code"] = "worker_died"
    return facts


def interpreter() -> str:
    """The Python that tasks run in."""
    return os.environ.get("ZQUANT_FLOW_PYTHON") or sys.executable


def sources_of(order: Frame) -> tuple[str, str | None, str | None]:
    """What a worker has imported: the Python, the folder of sources, and the one below it that a task file stands in."""
    below = None if "entry" in order else order["config"].get("folder")
    return interpreter(), order.get("bundle"), below


def _argv(python: str, mode: str) -> list[str]:
    if python == sys.executable:
        return [python, "-P", "-m", "zquant_flow.runner.worker", "3", mode]
    # Another interpreter has its own packages: ours come last, and only for zquant_flow itself.
    return [python, "-P", "-c", _BOOT.format(parent=_PACKAGE_PARENT), "3", mode]


def _channels() -> tuple[socket.socket, socket.socket, int, int]:
    try:
        ours, theirs = socket.socketpair()
        try:
            return ours, theirs, *os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
    except OSError as exc:
        raise SpawnFailed("spawn_failed", f"no channel to a worker: {exc.strerror}") from exc


def finish(attempts: Attempts, attempt: Attempt, facts: Frame) -> None:
    facts.pop("id", None)
    facts.pop("attempt", None)
    progress = facts.pop("progress", None)
    if progress is not None:
        attempt.progress = progress
    attempts.finish(attempt, **facts)
