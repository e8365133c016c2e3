"""How does a worker carry many attempts at a time? (`isolation: thread`)"""

from __future__ import annotations

import signal

from zquant_flow.runner.attempts import Attempt, Attempts
from zquant_flow.runner.pool import Idle, Parts, Worker, WorkerKey, death, finish, sources_of
from zquant_flow.runner.protocol import Frame, encode


class Shared:
    """The carrier of `isolation: thread`: one worker for the same sources and environment, orders in batches."""

    attempts: Attempts

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._workers: dict[WorkerKey, Worker] = {}
        self._to_send: dict[Worker, None] = {}
        self.idle = Idle(parts.loop)
        parts.loop.at_turn_end(self._send)

    def start(self, attempt: Attempt) -> None:
        order = attempt.order
        env, cwd = order.get("env") or {}, order.get("cwd")
        key = (*sources_of(order), cwd, *sorted(env.items()))
        worker = self._workers.get(key)
        if worker is None or worker.retired:
            worker = self._workers[key] = Worker(
                self._parts,
                key,
                "thread",
                {**self._parts.env, **env},
                self._frames,
                self._output,
                self._exited,
            )
            self.idle.limit = max(self.idle.limit, len(self._workers))
        elif not worker.attempts:
            self.idle.remove(worker)
        attempt.handle = worker
        worker.attempts[attempt.key] = attempt
        worker.unsent.append(order)
        self._to_send[worker] = None

    def terminate(self, attempt: Attempt) -> None:
        self._ask("terminate", attempt)

    def kill(self, attempt: Attempt) -> None:
        """It did not heed: its worker goes, and with it the others, who are tried again."""
        worker: Worker = attempt.handle
        worker.killed = True
        worker.signal(signal.SIGKILL)
        self._forget(worker)

    def pause(self, attempt: Attempt) -> None:
        self._ask("pause", attempt)

    def resume(self, attempt: Attempt) -> None:
        self._ask("resume", attempt)

    def _ask(self, op: str, attempt: Attempt) -> None:
        self._send()
        frame = {"op": op, "id": attempt.key[0], "attempt": attempt.key[1], "kind": attempt.ending}
        attempt.handle.stream.send(encode(frame))

    def _send(self) -> None:
        for worker in self._to_send:
            worker.stream.send(encode({"op": "run", "items": worker.unsent}))
            worker.unsent = []
        self._to_send.clear()

    def _output(self, worker: Worker, data: bytes) -> None:
        """What C code or a forgotten thread writes: nobody knows whose it is."""
        for attempt in worker.attempts.values():
            attempt.log.write(data)

    def _frames(self, worker: Worker, frames: list[Frame]) -> None:
        for frame in frames:
            if frame["op"] == "done":
                for item in frame["items"]:
                    attempt = worker.attempts.pop((item["id"], item["attempt"]), None)
                    if attempt is not None:
                        finish(self.attempts, attempt, item)
                if not worker.attempts and self._workers.get(worker.key) is worker:
                    self.idle.put(worker)
                    if worker.retired:
                        self._forget(worker)
                continue
            attempt = worker.attempts.get((frame["id"], frame["attempt"]))
            if attempt is not None:
                self._tell(attempt, frame)

    def _tell(self, attempt: Attempt, frame: Frame) -> None:
        if frame["op"] == "progress":
            self.attempts.advanced(attempt, frame["values"])
        elif frame["op"] == "paused":
            self.attempts.paused(attempt)
        elif frame["op"] == "resumed":
            self.attempts.resumed(attempt)

    def _forget(self, worker: Worker) -> None:
        self.idle.remove(worker)
        if self._workers.get(worker.key) is worker:
            del self._workers[worker.key]

    def _exited(self, worker: Worker, code: int) -> None:
        self._forget(worker)
        self._to_send.pop(worker, None)
        self._parts.strays.attempt_ended((0, 0), worker.pid)
        others = len(worker.attempts) - 1
        whose = (
            f"the shared worker, with {others} other attempts in it," if others > 0 else "the shared worker"
        )
        for attempt in list(worker.attempts.values()):
            if worker.killed:
                self.attempts.finish(
                    attempt, "displaced", error="the shared worker was killed for another's sake"
                )
            else:
                self.attempts.finish(attempt, "failed", **death(code, whose))
        worker.attempts.clear()
