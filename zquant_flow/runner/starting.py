"""Which program does a command mean, and why did it not start?"""

from __future__ import annotations

import errno
import os
import signal

DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGCHLD,
)
"""Signals that the runner or Python treat in their own way, and a command must not inherit so."""

SHELL_WORDS = frozenset(
    ("cd", "exit", "export", "source", ".", "set", "unset", "ulimit", "if", "for", "while")
)


class SpawnFailed(Exception):
    """The process did not start; `code` is for machines."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def find(word: str, env: dict[str, str], cwd: str | None) -> str:
    """The program that `word` names, by the PATH that the command itself will see; raises SpawnFailed.

    The answer may be relative to `cwd`, where the process starts.
    """
    if "/" in word:
        return word
    search = env.get("PATH") or os.defpath
    places = [f"{folder or '.'}/{word}" for folder in search.split(os.pathsep)]
    for path in places:
        where = _from(cwd, path)
        if os.access(where, os.X_OK) and not os.path.isdir(where):
            return path
    for path in places:
        if os.path.isfile(_from(cwd, path)):
            raise SpawnFailed("permission_denied", f"{path} is not executable: chmod +x {path}")
    if cwd and not os.path.isdir(cwd):
        raise _no_folder(cwd, "No such directory")
    hint = "; it is a word of the shell: write /bin/sh -c '...'" if word in SHELL_WORDS else ""
    raise SpawnFailed(
        "command_not_found", f"command not found: {word!r}{hint} (cwd {cwd or '/'}, PATH {search})"
    )


def explain(exc: OSError | ValueError, argv: list[str], env: dict[str, str], cwd: str | None) -> SpawnFailed:
    """What the system's refusal means for the user."""
    if isinstance(exc, ValueError):
        return SpawnFailed("spawn_failed", f"the command or its environment can't be passed on: {exc}")
    if cwd and exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and not os.access(cwd, os.X_OK):
        return _no_folder(cwd, exc.strerror)
    if cwd and not os.path.isdir(cwd):
        return _no_folder(cwd, exc.strerror)
    if exc.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(_from(cwd, argv[0])):
            return SpawnFailed(
                "command_not_found", f"{argv[0]} names an interpreter (#! line) that is not there"
            )
        return SpawnFailed("command_not_found", f"command not found: {argv[0]!r} (cwd {cwd or '/'})")
    if exc.errno in (errno.EACCES, errno.EPERM):
        return SpawnFailed("permission_denied", f"{argv[0]} can't be executed: {exc.strerror}")
    if exc.errno == errno.E2BIG:
        size = sum(map(len, argv)) + sum(len(name) + len(value) for name, value in env.items())
        return SpawnFailed(
            "spawn_failed", f"arguments and environment are too long for this system ({size} characters)"
        )
    return SpawnFailed("spawn_failed", f"{argv[0]} could not be started: {exc.strerror}")


def _no_folder(cwd: str, reason: str | None) -> SpawnFailed:
    return SpawnFailed("working_dir_missing", f"the working directory {cwd} can't be entered: {reason}")


def _from(cwd: str | None, path: str) -> str:
    return path if path.startswith("/") else os.path.join(cwd or "/", path)
