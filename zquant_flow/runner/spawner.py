"""How are many commands started at once, also on a busy machine?

posix_spawn waits until the child has been scheduled and has called exec: half a millisecond on an idle machine, several
on a busy one, and Python's own holds the GIL all that time. So a few threads call libc's, and the loop goes on. Measured
with two other processes that never sleep: 570 starts a second from one thread, 2,900 from four.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from zquant_flow.runner.loop import Loop, guarded
from zquant_flow.runner.starting import DEFAULT_SIGNALS, SpawnFailed, explain, find

THREADS = 4

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
_ROOM = 1024
"""More bytes than any libc's posix_spawnattr_t, posix_spawn_file_actions_t or sigset_t has."""


def libc_with_spawn() -> ctypes.CDLL | None:
    """The C library, where it can do all that we need (Linux: glibc 2.29, musl 1.1.24)."""
    if not sys.platform.startswith("linux") or not hasattr(os, "waitid"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "posix_spawn_file_actions_addchdir_np") else None


class Job:
    """One process to start; then its pid, or why there is none."""

    __slots__ = ("argv", "cwd", "done", "env", "error", "output", "pid")

    def __init__(
        self, argv: list[str], env: dict[str, str], cwd: str | None, output: int, done: Callable[[Job], None]
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.output = output
        self.done = done
        self.pid = 0
        self.error: SpawnFailed | None = None


class Spawner:
    """Owns its threads, which wait for jobs as long as the process lives. `submit` and `done` belong to the loop."""

    def __init__(self, loop: Loop, libc: ctypes.CDLL, null: int) -> None:
        self.pending = 0
        self._libc = libc
        self._null = null
        self._attributes = _attributes(libc)
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._finished: deque[Job] = deque()
        self._threads = 0
        reader, self._bell = os.pipe()
        os.set_blocking(reader, False)
        self._reader = reader
        loop.watch(reader, self._collect)

    def submit(self, job: Job) -> None:
        if self._threads < min(THREADS, self.pending + 1):
            self._hire()
        if not self._threads:
            reason = os.strerror(errno.EAGAIN)
            job.error = SpawnFailed("spawn_failed", f"{job.argv[0]} could not be started: {reason}")
            job.done(job)
            return
        self.pending += 1
        self._jobs.put(job)

    def _hire(self) -> None:
        """One thread more, unless the system has no room for it now."""
        try:
            threading.Thread(target=self._work, name="spawner", daemon=True).start()
        except RuntimeError:
            return
        self._threads += 1

    def _collect(self, events: int) -> None:
        os.read(self._reader, 4096)
        while self._finished:
            job = self._finished.popleft()
            self.pending -= 1
            guarded(job.done, job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.pid = self._start(job)
            except SpawnFailed as exc:
                job.error = exc
            except (OSError, ValueError) as exc:
                job.error = explain(exc, job.argv, job.env, job.cwd)
            except BaseException as exc:
                job.error = SpawnFailed("spawn_failed", f"{type(exc).__name__}: {exc}")
            self._finished.append(job)
            os.write(self._bell, b"x")

    def _start(self, job: Job) -> int:
        path = find(job.argv[0], job.env, job.cwd)
        argv, env = list(map(_bytes, job.argv)), [_variable(*pair) for pair in job.env.items()]
        try:
            return self._spawn(_bytes(path), argv, env, job)
        except OSError as exc:
            if exc.errno != errno.ENOEXEC:
                raise
            # No #! line: as execvp and every shell do.
            return self._spawn(b"/bin/sh", [b"/bin/sh", _bytes(path), *argv[1:]], env, job)

    def _spawn(self, path: bytes, argv: list[bytes], env: list[bytes], job: Job) -> int:
        libc = self._libc
        actions = ctypes.create_string_buffer(_ROOM)
        libc.posix_spawn_file_actions_init(actions)
        try:
            for source, target in ((self._null, 0), (job.output, 1), (job.output, 2)):
                libc.posix_spawn_file_actions_adddup2(actions, source, target)
            libc.posix_spawn_file_actions_addchdir_np(actions, _bytes(job.cwd or "/"))
            pid = ctypes.c_int()
            error = libc.posix_spawn(
                ctypes.byref(pid), path, actions, self._attributes, _array(argv), _array(env)
            )
        finally:
            libc.posix_spawn_file_actions_destroy(actions)
        if error:
            raise OSError(error, os.strerror(error))
        return pid.value


def _attributes(libc: ctypes.CDLL) -> ctypes.Array[ctypes.c_char]:
    """A new session, no blocked signals, and the default for those that Python treats in its own way."""
    attributes, signals = ctypes.create_string_buffer(_ROOM), ctypes.create_string_buffer(_ROOM)
    libc.posix_spawnattr_init(attributes)
    libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID))
    libc.sigemptyset(signals)
    libc.posix_spawnattr_setsigmask(attributes, signals)
    for number in DEFAULT_SIGNALS:
        libc.sigaddset(signals, int(signal.Signals(number)))
    libc.posix_spawnattr_setsigdefault(attributes, signals)
    return attributes


def _array(items: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)


def _bytes(text: str) -> bytes:
    data = os.fsencode(text)
    if b"\0" in data:
        raise ValueError("it has a NUL character")
    return data


def _variable(name: str, value: str) -> bytes:
    if not name or "=" in name:
        raise ValueError(f"{name!r} can't be the name of a variable")
    return _bytes(f"{name}={value}")
