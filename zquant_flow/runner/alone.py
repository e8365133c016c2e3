"""How does a worker carry one attempt at a time? (`isolation: process`)"""

from __future__ import annotations

import signal

from zquant_flow.runner.attempts import Attempt, Attempts
from zquant_flow.runner.pool import Idle, Parts, Worker, death, finish, sources_of
from zquant_flow.runner.protocol import Frame, encode


class Alone:
    """The carrier of `isolation: process`: a worker has one attempt, and its output is that attempt's."""

    attempts: Attempts

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._busy = 0
        self.idle = Idle(parts.loop)

    def start(self, attempt: Attempt) -> None:
        order = attempt.order
        key = sources_of(order)
        worker = self.idle.take(key)
        if worker is None:
            worker = Worker(
                self._parts, key, "process", self._parts.env, self._frames, self._output, self._exited
            )
        self._busy += 1
        self.idle.limit = max(self.idle.limit, self._busy)
        worker.attempt = attempt
        attempt.handle = worker
        worker.stream.send(encode({"op": "run", "order": order}))

    def terminate(self, attempt: Attempt) -> None:
        if attempt.ending == "shutdown":
            attempt.handle.stream.send(encode({"op": "leave"}))
        attempt.handle.signal(signal.SIGTERM)

    def kill(self, attempt: Attempt) -> None:
        attempt.handle.signal(signal.SIGKILL)

    def pause(self, attempt: Attempt) -> None:
        attempt.handle.stream.send(encode({"op": "pause"}))

    def resume(self, attempt: Attempt) -> None:
        attempt.handle.stream.send(encode({"op": "resume"}))

    def _output(self, worker: Worker, data: bytes) -> None:
        if worker.attempt is not None:
            worker.attempt.log.write(data)

    def _frames(self, worker: Worker, frames: list[Frame]) -> None:
        for frame in frames:
            attempt, op = worker.attempt, frame["op"]
            if attempt is None:
                return
            if op == "done":
                self._done(worker, attempt, frame)
            elif op == "progress":
                self.attempts.advanced(attempt, frame["values"])
            elif op == "paused":
                self.attempts.paused(attempt)
            elif op == "resumed":
                self.attempts.resumed(attempt)

    def _done(self, worker: Worker, attempt: Attempt, frame: Frame) -> None:
        del frame["op"]
        reuse = frame.pop("reuse") and attempt.ending is None
        worker.pipe.drain()
        self._release(worker, attempt)
        finish(self.attempts, attempt, frame)
        if reuse:
            self.idle.put(worker)
        else:
            worker.retire()
            worker.signal(signal.SIGTERM)  # for the children that it may have

    def _exited(self, worker: Worker, code: int) -> None:
        self.idle.remove(worker)
        attempt = worker.attempt
        self._parts.strays.attempt_ended((0, 0), worker.pid)
        if attempt is not None:
            self._release(worker, attempt)
            self.attempts.finish(attempt, "failed", **death(code, "the worker process"))

    def _release(self, worker: Worker, attempt: Attempt) -> None:
        worker.attempt = None
        self._busy -= 1
        self._parts.strays.attempt_ended(attempt.key, None, attempt.kill_at)
