"""What do these files define? Answered in a child process.

`python -m zquant_flow.definitions.loader_process` reads requests, one JSON object a line, from the socket whose
descriptor it is given, and answers each path with one line, in order. YAML is read here, under a limit of memory;
Python in a forked child for each file. What kills or hangs this process costs one file (`loader`).
"""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import json
import os
import re
import resource
import signal
import socket
import stat
import sys
import traceback
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from zquant_flow.core.model import Action, TaskDef, decode, encode
from zquant_flow.definitions.actions import Executors
from zquant_flow.definitions.crossing import Error, received, sent
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.forked import Ending, run_forked
from zquant_flow.definitions.python_files import mentions_us, read_functions, read_task_file
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.definitions.yaml_text import MAX_BYTES, Document, YamlError, read_yaml
from zquant_flow.executors.installed import installed
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.plugin.policy import Refused, altered
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import say

MEMORY_ABOVE_START_BYTES = 1 << 30
MEMORY_OF_PYTHON_BYTES = 4 << 30
MAX_ERRORS_PER_FILE = 100
FILES_PER_COLLECTION = 500
CLIENT_WAITS_LONGER_SECONDS = 2.0
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+)', re.MULTILINE)
_MISSING_KEY = frozenset({"unknown_key", "not_available", "empty", "conflict"})


class FileReader:
    """Reads one file after another; keeps what they share: folder, executors, limits."""

    def __init__(
        self,
        root: Path,
        connection: socket.socket,
        python_timeout: float,
        zone: str | None,
        plugins: Sources,
    ) -> None:
        self._root, self._connection, self._python_timeout = root, connection, python_timeout
        self._zone = ZoneInfo(zone) if zone else None
        self._sources = plugins
        self._executors: Executors | None = None

    def read(self, path: str) -> dict[str, Any]:
        """The JSON of a LoadedFile (`loader`); a fault of ours is an error of that file only."""
        answer: dict[str, Any] = {"path": path, "kind": "tasks"}
        try:
            data = self._bytes(path, answer)
            if data is not None:
                self._content(path, data, answer)
                self._alter(path, answer)
        except MemoryError:
            _fail(answer, (1, 1, "", "too_large", say("reading this file needs too much memory: split it")))
        except RecursionError:
            _fail(answer, (1, 1, "", "too_deep", say("this file is nested too deeply")))
        except Exception as exc:
            traceback.print_exc()
            _fail(
                answer,
                (
                    1,
                    1,
                    "",
                    "internal_error",
                    say("the loader failed: {error}", error=f"{type(exc).__name__}: {exc}"),
                ),
            )
        return answer

    @property
    def executors(self) -> Executors:
        if self._executors is None:
            self._executors = self.plugins.configs
        return self._executors

    @cached_property
    def plugins(self) -> Plugins:
        return installed(self._sources)

    def _alter(self, path: str, answer: dict[str, Any]) -> None:
        """Let plugins change or refuse what the file defines."""
        if not self.plugins.implementations("alter_definition"):
            return
        errors: list[Error] = []
        for item in answer.get("definitions", ()):
            before = decode(item["task"])
            try:
                after = altered(self.plugins, before, path)
            except Refused as refused:
                errors.append((item["line"], 1, "", "refused", refused.args[0]))
                continue
            if after is not before:
                item["task"] = encode(after)
        if errors:
            _fail(answer, *errors)

    def _bytes(self, path: str, answer: dict[str, Any]) -> bytes | None:
        """The content of a regular file; opened so that a FIFO can't hold us."""
        try:
            descriptor = _open(self._root, path)
        except OSError as exc:
            code = "file_missing" if isinstance(exc, FileNotFoundError) else "unreadable"
            answer["kind"] = "skipped"
            _fail(answer, (1, 1, "", code, say("can't be read: {reason}", reason=exc.strerror)))
            return None
        try:
            state = os.fstat(descriptor)
            answer["size"], answer["mtime_ns"] = state.st_size, state.st_mtime_ns
            if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
                answer["kind"] = "skipped"
                message = (
                    say("not a regular file")
                    if state.st_size <= MAX_BYTES
                    else say("over {count:,} bytes", count=MAX_BYTES)
                )
                _fail(answer, (1, 1, "", "skipped", message))
                return None
            data = _all_bytes(descriptor, state.st_size)
        finally:
            os.close(descriptor)
        answer["digest"] = hashlib.sha256(data).hexdigest()
        return data

    def _content(self, path: str, data: bytes, answer: dict[str, Any]) -> None:
        if path.endswith((".yaml", ".yml")):
            self._yaml(path, data, answer)
        elif not path.endswith(".py"):
            answer["kind"] = "skipped"
        elif mentions_us(data):
            self._python(path, data, answer)
        else:
            answer["kind"] = "helper"

    def _yaml(self, path: str, data: bytes, answer: dict[str, Any]) -> None:
        if not data.strip():
            # Perhaps its writer has only begun: an empty file must not archive what stood in it.
            why = say("the file is empty: write a task, or delete the file to archive what was in it")
            return _fail(answer, (1, 1, "", "empty_file", why))
        try:
            documents = read_yaml(data)
        except YamlError as exc:
            return _fail(answer, (exc.line, exc.column, "", "invalid_yaml", exc.message))
        errors: list[Error] = []
        found: list[tuple[Document, TaskDef, tuple[str, ...]]] = []
        folder, _, file_name = path.rpartition("/")
        stem = file_name.rsplit(".", 1)[0] if len(documents) == 1 else None
        names: dict[str, int] = {}
        for document in documents:
            parsed = self._document(document, stem, folder, errors)
            if parsed is None:
                continue
            _refuse_double(parsed[0].name, document, names, errors)
            found.append((document, *parsed))
        if not errors and (entries := list(_entries(found))):
            self._functions(path, entries, answer, errors)
        if errors:
            return _fail(answer, *errors)
        bundle = answer.get("bundle")
        for document, task, warnings in found:
            encoded = encode(task)
            if bundle and any(_python_actions(task)):
                encoded["bundle"] = bundle["digest"]
            answer.setdefault("definitions", []).append(
                {"task": encoded, "line": document.line, "document": document.index, "warnings": warnings}
            )
        return None

    def _document(
        self, document: Document, stem: str | None, folder: str, errors: list[Error]
    ) -> tuple[TaskDef, tuple[str, ...]] | None:
        value = document.value
        if not isinstance(value, dict):
            message = say(
                "a task is a mapping of keys to values, such as `name: daily`, not {what}",
                what=_kind_of(value),
            )
            errors.append((*document.locate(()), "", "invalid_value", message))
            return None
        try:
            parsed = parse_definition(
                value,
                origin="file",
                executors=self.executors,
                default_name=stem,
                default_zone=self._zone,
                folder=folder,
            )
        except DefinitionErrors as exc:
            errors += (_placed(error, document) for error in exc.errors)
            return None
        return parsed.task, parsed.warnings

    def _functions(
        self,
        path: str,
        entries: list[tuple[Document, tuple[str | int, ...], str, str]],
        answer: dict[str, Any],
        errors: list[Error],
    ) -> None:
        wanted = [(module, function) for _, _, module, function in entries]
        ending = self._forked(lambda: read_functions(self._root, path, wanted).to_json())
        if ending.result is None:
            document, where, module, _ = entries[0]
            why = self._explain(ending, path)[1]
            failed = say("{name}.py can't be imported: {message}", name=module, message=why)
            errors.append((*document.locate((*where, "python")), "python", "python_failed", failed))
            return
        result = json.loads(ending.result)
        answer["dependencies"], answer["bundle"] = result["dependencies"], result["bundle"]
        for _, position, _, code, message in map(received, result["errors"]):
            document, where, _, _ = entries[position]
            errors.append(
                (*document.locate((*where, "python")), ".".join(map(str, (*where, "python"))), code, message)
            )

    def _python(self, path: str, data: bytes, answer: dict[str, Any]) -> None:
        executors = self.executors
        ending = self._forked(lambda: read_task_file(self._root, path, data, executors, self._zone).to_json())
        if ending.result is None:
            line, message = self._explain(ending, path)
            code = "python_timeout" if ending.timed_out else "python_crashed"
            return _fail(answer, (line, 1, "", code, message))
        answer.update(json.loads(ending.result))
        if answer["errors"]:
            _fail(answer, *map(received, answer["errors"]))
        return None

    def _forked(self, work: Any) -> Ending:
        def limited() -> bytes:
            _limit_memory(MEMORY_OF_PYTHON_BYTES)
            return work()  # type: ignore[no-any-return]

        self._announce(self._python_timeout)
        return run_forked(limited, timeout=self._python_timeout, close=[self._connection.fileno()])

    def _announce(self, seconds: float) -> None:
        """Tells the client that this file takes longer than YAML may."""
        self._connection.sendall(_encode({"wait": seconds + CLIENT_WAITS_LONGER_SECONDS}).encode() + b"\n")

    def _explain(self, ending: Ending, path: str) -> tuple[int, str]:
        """The user's line that ran last, and how the import ended."""
        prefix = str(self._root) + os.sep
        frames = [(found["file"], int(found["line"])) for found in _FRAME.finditer(ending.trace)]
        own = [frame for frame in frames if frame[0].startswith(prefix)]
        line = next((number for file, number in own if file == prefix + path), 1)
        where = (
            say(" at {path}:{line}", path=own[0][0].removeprefix(prefix), line=own[0][1])
            if own and own[0] != (prefix + path, line)
            else ""
        )
        if ending.timed_out:
            message = say(
                "the import did not end within {seconds:g} s{where}: a task file only defines tasks",
                seconds=self._python_timeout,
                where=where,
            )
        elif ending.signal is not None:
            message = say(
                "the import crashed with {name}{where}", name=signal.Signals(ending.signal).name, where=where
            )
        else:
            message = say(
                "the import ended its process with exit code {exit_code}{where}",
                exit_code=ending.exit_code,
                where=where,
            )
        last = ending.output.strip().rsplit("\n", 1)[-1].strip()
        if last:
            message = say("{message}; its last output: {text!r}", message=message, text=last[:200])
        return line, message


def main(arguments: list[str]) -> None:
    """`arguments`: a descriptor, and what `Loader` says in JSON: root, python_timeout (seconds), timezone, plugins."""
    descriptor, settings = int(arguments[0]), json.loads(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    connection = socket.socket(fileno=descriptor)
    reader = FileReader(
        Path(settings["root"]),
        connection,
        settings["python_timeout"],
        settings["timezone"],
        Sources.from_json(settings["plugins"]),
    )
    _limit_memory(MEMORY_ABOVE_START_BYTES)
    # What a file makes lives until its answer is written; the collector would only look through it again and again.
    gc.disable()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b'{"hello": 1}\n')
        for line in connection.makefile("rb"):
            for number, path in enumerate(json.loads(line)["paths"]):
                connection.sendall(_line(reader.read(path)))
                if number % FILES_PER_COLLECTION == 0:
                    gc.collect(0 if number else 1)


def _line(answer: dict[str, Any]) -> bytes:
    return _encode(answer).encode() + b"\n"


def _open(root: Path, path: str) -> int:
    """A descriptor of the file; a link is followed only below the tasks folder (SEMANTICS §1.5)."""
    full, flags = os.path.join(root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(full, flags | os.O_NOFOLLOW)
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
    real = os.path.realpath(full)
    if not real.startswith(str(root) + os.sep):
        raise PermissionError(errno.EACCES, say("this link leads out of the tasks folder"))
    return os.open(real, flags)


def _all_bytes(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size + 1)
    while len(data) > size and len(data) <= MAX_BYTES:  # it has grown since the look at its size
        more = os.read(descriptor, MAX_BYTES)
        if not more:
            break
        size, data = size + len(more), data + more
    return data


def _fail(answer: dict[str, Any], *errors: Error) -> None:
    """The file is the unit: with an error it defines nothing (SEMANTICS §1.2)."""
    first = sorted(errors, key=lambda error: error[:2])[:MAX_ERRORS_PER_FILE]
    answer["errors"] = [sent(error) for error in first]
    answer["definitions"], answer["bundle"] = [], None


def _placed(error: FieldError, document: Document) -> Error:
    line, column = document.locate(error.path, key=error.code in _MISSING_KEY)
    return (line, column, error.field, error.code, error.message)


def _refuse_double(name: str, document: Document, names: dict[str, int], errors: list[Error]) -> None:
    if name in names:
        message = say(
            "two documents of this file are named {name!r}, this and the one at line {line}: rename one",
            name=name,
            line=names[name],
        )
        errors.append((*document.locate(("name",)), "name", "duplicate_name", message))
    names.setdefault(name, document.line)


def _entries(
    found: list[tuple[Document, TaskDef, tuple[str, ...]]],
) -> Iterator[tuple[Document, tuple[str | int, ...], str, str]]:
    for document, task, _ in found:
        for where, action in _python_actions(task):
            yield document, where, action.config["module"], action.config["function"]


def _python_actions(task: TaskDef) -> Iterator[tuple[tuple[str | int, ...], Action]]:
    if task.action and task.action.executor == "python":
        yield (), task.action
    for index, node in enumerate(task.workflow.nodes if task.workflow else ()):
        if node.action and node.action.executor == "python":
            yield ("tasks", index), node.action


def _kind_of(value: Any) -> str:
    if isinstance(value, list):
        return say("a list: put each task in a document of its own, between ---")
    return say("text") if isinstance(value, str) else say("a single value")


def _limit_memory(above: int) -> None:
    """Lets this process grow by `above` bytes of address space; the hard limit stays, so that a child can have more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = pages * resource.getpagesize() + above
        resource.setrlimit(
            resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main(sys.argv[1:])
