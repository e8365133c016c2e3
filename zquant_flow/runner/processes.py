"""How is a process started, signalled and reaped?

One mechanism reaps everything: SIGCHLD wakes the loop, which takes each dead child in turn. A child keeps its pid until
then, so a signal to one that is not reaped yet can't meet a stranger; pidfds would add a descriptor to every attempt and
still not see the orphans that a subreaper adopts.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from zquant_flow.runner.loop import Loop, guarded
from zquant_flow.runner.spawner import Job, Spawner, libc_with_spawn
from zquant_flow.runner.starting import DEFAULT_SIGNALS, SpawnFailed, explain, find

OnExit = Callable[[int], None]
"""Gets the exit code, negative for a signal."""


class Processes:
    """Our children by pid, and whom to tell when one ends."""

    def __init__(self, loop: Loop) -> None:
        self.on_orphan_exit: Callable[[], None] = _nothing
        self.on_sigterm: Callable[[], None] = _nothing
        self._on_exit: dict[int, OnExit] = {}
        self._children = f"/proc/self/task/{os.getpid()}/children"
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        libc = libc_with_spawn()
        self._spawner = Spawner(loop, libc, self._null) if libc is not None else None
        self._wakeup, self._writer = socket.socketpair()
        self._wakeup.setblocking(False)
        self._writer.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM):  # the loop acts on them, by the byte that wakes it
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        loop.watch(self._wakeup.fileno(), self._woken)

    def __contains__(self, pid: int) -> bool:
        return pid in self._on_exit

    def launch(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None,
        output: int,
        on_start: Callable[[int], None],
        on_failure: Callable[[SpawnFailed], None],
        on_exit: OnExit,
    ) -> None:
        """Start a leader of a new session soon; `output` must stay open until one of the first two calls."""

        def done(job: Job) -> None:
            if job.error is not None:
                on_failure(job.error)
                return
            self._on_exit[job.pid] = on_exit
            guarded(on_start, job.pid)
            self.reap()  # it may have ended before we knew it

        if self._spawner is not None:
            self._spawner.submit(Job(argv, env, cwd, output, done))
            return
        try:
            pid = self.spawn(argv, env, cwd, output, on_exit)
        except SpawnFailed as exc:
            on_failure(exc)
        else:
            on_start(pid)

    def spawn(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None,
        output: int,
        on_exit: OnExit,
        channel: int | None = None,
    ) -> int:
        """Start a leader of a new session now and return its pid; raises SpawnFailed.

        `output` becomes its stdout and stderr, `channel` its descriptor 3.
        """
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, self._null, 0)]
        actions += ((os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2))
        if channel is not None:
            actions.append((os.POSIX_SPAWN_DUP2, channel, 3))
        pid = _spawn_in(cwd, argv, env, actions)
        self._on_exit[pid] = on_exit
        return pid

    def reap(self) -> None:
        """Take every child that has ended; but not one that a spawner's thread has not told us of yet."""
        while True:
            try:
                pid, status = self._take()
            except ChildProcessError:
                return
            if pid == 0:
                return
            on_exit = self._on_exit.pop(pid, None)
            if on_exit is not None:
                guarded(on_exit, os.waitstatus_to_exitcode(status))
            else:
                self.on_orphan_exit()

    def signal_group(self, pid: int, number: int) -> None:
        """Signal the group of a child that is not reaped yet; wakes stopped members so that they can obey."""
        if pid not in self._on_exit:
            return
        try:
            os.killpg(pid, number)
            if number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(pid, signal.SIGCONT)
        except (ProcessLookupError, PermissionError):
            return

    def orphans(self) -> list[int]:
        """Children that we did not start: the kernel lists them, with our workers, under the main thread."""
        try:
            with open(self._children, "rb", buffering=0) as file:
                return [pid for pid in map(int, file.read(1 << 20).split()) if pid not in self._on_exit]
        except OSError:
            return []

    def can_list_orphans(self) -> bool:
        return os.path.exists(self._children)

    def _take(self) -> tuple[int, int]:
        """Pid and status of the next dead child, (0, 0) for none that may be taken now.

        While threads start children, one that is neither registered nor an orphan is theirs: it stays a zombie, and
        keeps its pid, until they have told.
        """
        if self._spawner is None or not self._spawner.pending:
            return os.waitpid(-1, os.WNOHANG)
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if dead is None or (dead.si_pid not in self._on_exit and dead.si_pid not in self.orphans()):
            return 0, 0
        return os.waitpid(dead.si_pid, 0)

    def _woken(self, events: int) -> None:
        try:
            numbers = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        self.reap()
        if signal.SIGTERM in numbers:
            self.on_sigterm()


def _nothing() -> None:
    pass


def _spawn_in(
    cwd: str | None, argv: list[str], env: dict[str, str], actions: list[tuple[int, int, int]]
) -> int:
    """os.posix_spawn knows no folder: the runner goes there for that moment."""
    try:
        if cwd:
            os.chdir(cwd)
        path = find(argv[0], env, cwd)
        return os.posix_spawn(
            path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=DEFAULT_SIGNALS
        )
    except (OSError, ValueError) as exc:
        raise explain(exc, argv, env, cwd) from exc
    finally:
        if cwd:
            os.chdir("/")
