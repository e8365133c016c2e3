"""What do the files in the tasks folder define?

The client of `loader_process`: it asks, waits no longer than the limits, and starts a new process when one hangs or dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zquant_flow.clock import SystemClock
from zquant_flow.core.model import TaskDef, decode
from zquant_flow.definitions.crossing import received
from zquant_flow.errors import Unavailable
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import say

_monotonic = SystemClock().monotonic
_START_SECONDS = 30.0
_MAX_FAILED_STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadError:
    """Why a file is not loaded; `line` and `column` count from 1, `field` is a dotted path or empty."""

    line: int
    column: int
    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDefinition:
    """One task of a file: the line where it starts, and which document (or decorator) of the file it is, from 0."""

    task: TaskDef
    line: int
    document: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The Python sources that a version runs from: text by path below the tasks folder; `digest` is its identity."""

    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """All that one file says. With errors there are no definitions: the file is the unit (SEMANTICS §1.2).

    `kind`: `tasks`, `helper` (Python that imports no zquant_flow) or `skipped`. `digest`: SHA-256 of its bytes, in hex,
    empty where they could not be read. `dependencies`: digests of the other modules of the folder that it imported.
    """

    path: str
    kind: str
    digest: str = ""
    size: int = 0
    mtime_ns: int = 0
    definitions: tuple[LoadedDefinition, ...] = ()
    errors: tuple[LoadError, ...] = ()
    dependencies: Mapping[str, str] = field(default_factory=dict)
    bundle: Bundle | None = None


class Loader:
    """Owns the loader process: starts it when first needed, ends it in `stop`.

    `load` may be called from any thread; one call goes on at a time. No thread of its own. Survives a stop before its
    start and a second stop; can be started again.
    """

    def __init__(
        self,
        tasks_dir: Path,
        *,
        yaml_timeout: float = 5.0,
        python_timeout: float = 30.0,
        timezone: str | None = None,
        plugins: Sources | None = None,
    ) -> None:
        """`timezone`: of instants without offset in tasks that name no zone; the machine's if None.

        `plugins`: whose executors tasks may name beside the built-in ones.
        """
        self._root = tasks_dir
        self._yaml_timeout, self._python_timeout = yaml_timeout, python_timeout
        self._timezone = timezone
        self._plugins = plugins or Sources(entry_points=False)
        self._turn = threading.Lock()
        self._life = threading.Lock()
        self._process: _Process | None = None
        self._stopped = False

    def start(self) -> None:
        """Starts the process without waiting for it; `load` does the same when it has to."""
        self._stopped = False
        self._current()

    def use(self, plugins: Sources) -> None:
        """Reads with these plugins from the next file on."""
        with self._turn:
            self._plugins = plugins
            self._drop()

    def stop(self) -> None:
        """Ends the process; a `load` that goes on in another thread raises Unavailable."""
        self._stopped = True
        self._drop()

    def load(self, paths: Sequence[str]) -> Iterator[LoadedFile]:
        """Reads these files (posix paths below the tasks folder) and yields each as it is read, in this order."""
        with self._turn:
            left = deque(paths)
            try:
                while left:
                    yield from self._load_until_failure(left)
            finally:
                if left:
                    self._drop()

    def _load_until_failure(self, left: deque[str]) -> Iterator[LoadedFile]:
        """Takes paths from `left` as they are answered; the first one unanswered, if any, has broken the process."""
        process = self._ready()
        process.send({"paths": list(left)})
        while left:
            path = left[0]
            failure = "load_crashed"
            try:
                answer = process.answer(self._yaml_timeout)
            except TimeoutError:
                answer, failure = None, "load_timeout"
            if self._stopped:
                raise Unavailable(say("the loader has been stopped"))
            left.popleft()
            if answer is None:
                self._drop()
                yield _broken(self._root, path, failure, self._yaml_timeout)
                return
            yield _loaded(answer)

    def _ready(self) -> _Process:
        for _ in range(_MAX_FAILED_STARTS):
            if self._stopped:
                raise Unavailable(say("the loader has been stopped"))
            process = self._current()
            if process.is_ready():
                return process
            self._drop()
        raise Unavailable(say("the loader process does not start; its messages are on standard error"))

    def _current(self) -> _Process:
        with self._life:
            if self._process is None:
                settings = {
                    "root": str(self._root.resolve()),
                    "python_timeout": self._python_timeout,
                    "timezone": self._timezone,
                    "plugins": self._plugins.to_json(),
                }
                self._process = _Process(json.dumps(settings))
            return self._process

    def _drop(self) -> None:
        with self._life:
            process, self._process = self._process, None
        if process is not None:
            process.end()


class _Process:
    """One life of the loader process and the socket to it."""

    def __init__(self, settings: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [
                sys.executable,
                "-P",
                "-m",
                "zquant_flow.definitions.loader_process",
                str(descriptor),
                settings,
            ]
            self._child = subprocess.Popen(
                command,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._greeted = False

    def is_ready(self) -> bool:
        """Waits for the greeting of a new process; False when there is none."""
        if not self._greeted:
            with contextlib.suppress(TimeoutError):
                self._greeted = self.answer(_START_SECONDS) is not None
        return self._greeted and self._child.poll() is None

    def send(self, request: Mapping[str, Any]) -> None:
        self._socket.settimeout(_START_SECONDS)
        with contextlib.suppress(OSError):  # the missing answer tells
            self._socket.sendall(json.dumps(request).encode() + b"\n")

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None when the process is gone, TimeoutError when it takes longer than `seconds`.

        The process may ask for more time than that.
        """
        deadline = _monotonic() + seconds
        while True:
            if self._lines:
                answer: dict[str, Any] = json.loads(self._lines.popleft())
                if "wait" not in answer:
                    return answer
                deadline = _monotonic() + answer["wait"]
                continue
            try:
                self._socket.settimeout(max(0.001, deadline - _monotonic()))
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not data:
                return None
            self._feed(data)

    def end(self) -> None:
        """Ends the process now: it holds nothing that would be lost."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._child.kill()
        self._child.wait()
        self._socket.close()

    def _feed(self, data: bytes) -> None:
        *whole, rest = (self._buffer + data).split(b"\n")
        self._lines.extend(whole)
        self._buffer = rest


def _loaded(answer: dict[str, Any]) -> LoadedFile:
    get = answer.get
    bundle = get("bundle")
    return LoadedFile(
        path=answer["path"],
        kind=answer["kind"],
        digest=get("digest", ""),
        size=get("size", 0),
        mtime_ns=get("mtime_ns", 0),
        definitions=tuple(
            LoadedDefinition(
                task=decode(item["task"]),
                line=item["line"],
                document=item["document"],
                warnings=tuple(item["warnings"]),
            )
            for item in get("definitions", ())
        ),
        errors=tuple(
            LoadError(line=line, column=column, field=field, code=code, message=message)
            for line, column, field, code, message in map(received, get("errors", ()))
        ),
        dependencies=get("dependencies", {}),
        bundle=Bundle(digest=bundle["digest"], files=bundle["files"]) if bundle else None,
    )


def _broken(root: Path, path: str, code: str, seconds: float) -> LoadedFile:
    """A file that took the loader process with it; its digest is taken here, so that it is not tried again unchanged."""
    message = say("reading this file crashed the loader process")
    if code == "load_timeout":
        message = say("reading this file took longer than {seconds:g} s", seconds=seconds)
    error = LoadError(line=1, column=1, field="", code=code, message=message)
    try:
        state = os.stat(root / path)
        digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
    except OSError:
        return LoadedFile(path=path, kind="tasks", errors=(error,))
    return LoadedFile(
        path=path,
        kind="tasks",
        digest=digest,
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        errors=(error,),
    )
