"""How is a process started, signalled and reaped?

One mechanism reaps everything: SIGCHLD wakes the loop, which takes each dead child in turn. A child keeps its pid until
then, so a signal to one that is not reaped yet can't meet a stranger; pidfds would add a descriptor to every attempt and
still not see the orphans that a subreaper adopts.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable

from zquant_flow.runner.loop import Loop, guarded

_DEFAULTS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD]
"""Signals that the runner or Python treat in their own way, and a command must not inherit so."""

SHELL_WORDS = frozenset(
    ("cd", "exit", "export", "source", ".", "set", "unset", "ulimit", "if", "for", "while")
)


class SpawnFailed(Exception):
    """The process did not start; `code` is for machines."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Processes:
    """Our children by pid, and whom to tell when one ends."""

    def __init__(self, loop: Loop) -> None:
        self.on_orphan_exit: Callable[[], None] = _nothing
        self.on_sigterm: Callable[[], None] = _nothing
        self._on_exit: dict[int, Callable[[int], None]] = {}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._wakeup, writer = socket.socketpair()
        self._wakeup.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        for number in (signal.SIGCHLD, signal.SIGTERM):  # the loop acts on them, by the byte that wakes it
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        loop.watch(self._wakeup.fileno(), self._woken)

    def __contains__(self, pid: int) -> bool:
        return pid in self._on_exit

    def __len__(self) -> int:
        return len(self._on_exit)

    def spawn(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None,
        output: int,
        on_exit: Callable[[int], None],
        channel: int | None = None,
    ) -> int:
        """Start a leader of a new session and return its pid; raises SpawnFailed.

        `output` becomes its stdout and stderr, `channel` its descriptor 3; `on_exit` gets the exit code, negative for
        a signal.
        """
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, self._null, 0)]
        actions += ((os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2))
        if channel is not None:
            actions.append((os.POSIX_SPAWN_DUP2, channel, 3))
        pid = _spawn_in(cwd, argv, env, actions)
        self._on_exit[pid] = on_exit
        return pid

    def reap(self) -> None:
        """Take every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
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
    """posix_spawn knows no folder: the runner, which has one thread, goes there for that moment."""
    if cwd:
        try:
            os.chdir(cwd)
        except OSError as exc:
            raise SpawnFailed(
                "working_dir_missing", f"the working directory {cwd} can't be entered: {exc.strerror}"
            ) from exc
    try:
        path = _find(argv[0], env, cwd)
        try:
            return _exec(path, argv, env, actions)
        except OSError as exc:
            if exc.errno != errno.ENOEXEC:
                raise
            # No #! line: as execvp and every shell do.
            return _exec("/bin/sh", ["/bin/sh", path, *argv[1:]], env, actions)
    except (OSError, ValueError) as exc:
        raise _explain(exc, argv, env) from exc
    finally:
        if cwd:
            os.chdir("/")


def _exec(path: str, argv: list[str], env: dict[str, str], actions: list[tuple[int, int, int]]) -> int:
    return os.posix_spawn(
        path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTS
    )


def _find(word: str, env: dict[str, str], cwd: str | None) -> str:
    """The program that `word` names, by the PATH that the command itself will see; raises SpawnFailed."""
    if "/" in word:
        return word
    search = env.get("PATH") or os.defpath
    places = [f"{folder or '.'}/{word}" for folder in search.split(os.pathsep)]
    for path in places:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    for path in places:
        if os.path.isfile(path):
            raise SpawnFailed("permission_denied", f"{path} is not executable: chmod +x {path}")
    hint = "; it is a word of the shell: write /bin/sh -c '...'" if word in SHELL_WORDS else ""
    raise SpawnFailed(
        "command_not_found", f"command not found: {word!r}{hint} (cwd {cwd or '/'}, PATH {search})"
    )


def _explain(exc: OSError | ValueError, argv: list[str], env: dict[str, str]) -> SpawnFailed:
    if isinstance(exc, ValueError):
        return SpawnFailed("spawn_failed", f"the command or its environment can't be passed on: {exc}")
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(argv[0]):
            return SpawnFailed(
                "command_not_found", f"{argv[0]} names an interpreter (#! line) that is not there"
            )
        return SpawnFailed("command_not_found", f"command not found: {argv[0]!r} (cwd {os.getcwd()})")
    if exc.errno in (errno.EACCES, errno.EPERM):
        return SpawnFailed("permission_denied", f"{argv[0]} can't be executed: {exc.strerror}")
    if exc.errno == errno.E2BIG:
        size = sum(map(len, argv)) + sum(len(name) + len(value) for name, value in env.items())
        return SpawnFailed(
            "spawn_failed", f"arguments and environment are too long for this system ({size} characters)"
        )
    return SpawnFailed("spawn_failed", f"{argv[0]} could not be started: {exc.strerror}")
