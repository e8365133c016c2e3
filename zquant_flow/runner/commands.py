"""How is a command carried?

Own session, one pipe for its output, and it ends when its process ends, whoever else still holds the pipe.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from zquant_flow.errors import DefinitionError
from zquant_flow.runner.attempts import Attempt, Attempts
from zquant_flow.runner.earlier import ResultsFile, complaint
from zquant_flow.runner.environment import order_environment
from zquant_flow.runner.loop import CHUNK, Loop, Timer
from zquant_flow.runner.output import OutputFile
from zquant_flow.runner.processes import Processes
from zquant_flow.runner.protocol import Frame
from zquant_flow.runner.results import kept
from zquant_flow.runner.starting import SpawnFailed
from zquant_flow.runner.strays import Strays
from zquant_flow.runner.words import split_command

PROGRESS_INTERVAL = 0.25


class Pipe:
    """What someone writes into a pipe, passed on in pieces. Owns the reading end."""

    __slots__ = ("_fd", "_loop", "_take")

    def __init__(self, loop: Loop, fd: int, take: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._take = take
        loop.watch(fd, self._ready)

    def drain(self) -> None:
        """Pass on what is in the pipe now; at most what a pipe holds, for someone may write for ever."""
        for _ in range(16):
            if self._fd < 0 or not self._read():
                return

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ready(self, events: int) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._take(data)
        return True


class Command:
    """A command that runs, or is about to: then it has no pid yet."""

    __slots__ = ("output", "pid", "pipe", "results", "stopped", "writer")

    def __init__(self, pipe: Pipe, writer: int, output: OutputFile, results: ResultsFile) -> None:
        self.pid = 0
        self.pipe = pipe
        self.writer = writer
        self.output = output
        self.results = results
        self.stopped = False


class Commands:
    """The carrier of commands."""

    attempts: Attempts

    def __init__(
        self, loop: Loop, processes: Processes, strays: Strays, env: dict[str, str], output_dir: str
    ) -> None:
        self._loop = loop
        self._processes = processes
        self._strays = strays
        self._env = env
        self._output_dir = output_dir
        self._running: dict[str, Attempt] = {}
        self._timer: Timer | None = None

    def start(self, attempt: Attempt) -> None:
        order = attempt.order
        argv = _argv(order)
        output = OutputFile(os.path.join(self._output_dir, f"{attempt.key[0]}-{attempt.key[1]}"))
        results = ResultsFile(f"{output.path}.results.json", order)
        env = {
            **self._env,
            "ZQUANT_FLOW_OUTPUT": output.path,
            **results.environment(),
            **order_environment(order),
        }
        results.write()
        try:
            reader, writer = os.pipe()
        except OSError as exc:
            results.remove()
            raise SpawnFailed("spawn_failed", f"no pipe for the output: {exc.strerror}") from exc
        attempt.handle = Command(Pipe(self._loop, reader, attempt.log.write), writer, output, results)
        attempt.log.write(complaint(order))
        self._processes.launch(
            argv,
            env,
            order.get("cwd"),
            writer,
            lambda pid: self._started(attempt, pid),
            lambda exc: self._failed(attempt, exc),
            lambda code: self._ended(attempt, code),
        )

    def _started(self, attempt: Attempt, pid: int) -> None:
        """It runs; what was asked of it before is told it now."""
        command: Command = attempt.handle
        command.pid = pid
        os.close(command.writer)
        self._running[os.path.basename(command.output.path)] = attempt
        if self._timer is None:
            self._timer = self._loop.later(PROGRESS_INTERVAL, self._look_for_progress)
        if attempt.ending is not None:
            self.terminate(attempt)
        elif command.stopped:
            self._processes.signal_group(pid, signal.SIGSTOP)

    def _failed(self, attempt: Attempt, exc: SpawnFailed) -> None:
        os.close(attempt.handle.writer)
        attempt.handle.pipe.close()
        attempt.handle.results.remove()
        self.attempts.finish(attempt, "failed", code=exc.code, error=str(exc))

    def terminate(self, attempt: Attempt) -> None:
        self._processes.signal_group(attempt.handle.pid, signal.SIGTERM)

    def kill(self, attempt: Attempt) -> None:
        self._processes.signal_group(attempt.handle.pid, signal.SIGKILL)

    def pause(self, attempt: Attempt) -> None:
        attempt.handle.stopped = True
        self._processes.signal_group(attempt.handle.pid, signal.SIGSTOP)
        self.attempts.paused(attempt)

    def resume(self, attempt: Attempt) -> None:
        attempt.handle.stopped = False
        self._processes.signal_group(attempt.handle.pid, signal.SIGCONT)
        self.attempts.resumed(attempt)

    def _look_for_progress(self) -> None:
        """One look into the folder for all commands: few of them ever write there."""
        for name in self._written():
            attempt = self._running.get(name)
            if attempt is not None and attempt.handle.output.grew():
                progress = attempt.handle.output.read()[1]
                if progress and progress != attempt.progress:
                    self.attempts.advanced(attempt, progress)
        self._timer = self._loop.later(PROGRESS_INTERVAL, self._look_for_progress) if self._running else None

    def _written(self) -> list[str]:
        try:
            return os.listdir(self._output_dir)
        except OSError:
            return []

    def _ended(self, attempt: Attempt, code: int) -> None:
        command: Command = attempt.handle
        self._strays.attempt_ended(attempt.key, command.pid, attempt.kill_at)
        del self._running[os.path.basename(command.output.path)]
        command.pipe.drain()
        command.pipe.close()
        command.results.remove()
        facts = explain_exit(code, by_us=attempt.ending is not None)
        if command.output.exists():
            result, progress = command.output.read()
            if progress:
                attempt.progress = progress
            if result:
                facts = {**kept(json.dumps(result, ensure_ascii=False), attempt.order), **facts}
            command.output.remove()
        self.attempts.finish(attempt, "failed" if "code" in facts else "success", **facts)


def explain_exit(code: int, by_us: bool = False) -> Frame:
    """The facts of an exit code, negative for a signal, as an outcome has them. `by_us`: we had asked it to end."""
    if code >= 0:
        return {"exit_code": code, **({"code": "exit_code", "error": f"exit code {code}"} if code else {})}
    number = -code
    error = f"killed by {signal_name(number)} (signal {number})"
    if number == signal.SIGKILL and not by_us:
        error += ", perhaps out of memory"
    return {"signal": number, "code": "signal", "error": error}


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > 31 else "a signal"


def _argv(order: Frame) -> list[str]:
    config = order["config"]
    if not config.get("command"):
        raise SpawnFailed("nothing_to_run", "this task has no command")
    try:
        return split_command(config["command"], config.get("shell"))
    except DefinitionError as exc:
        raise SpawnFailed("invalid_command", exc.detail) from exc
