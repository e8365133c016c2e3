"""What does a Python file define?

Runs inside a forked child (`forked`): imports the file as a worker would, collects what its decorators made, and packs the
sources that it was made of.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from zquant_flow.core.model import encode
from zquant_flow.definitions import authoring
from zquant_flow.definitions.actions import Executors
from zquant_flow.definitions.crossing import Error, sent
from zquant_flow.definitions.faults import DefinitionErrors
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.definitions.signatures import specs_of
from zquant_flow.wording import joined, say, spoken

PYTHON_FAILED = "python_failed"


@dataclass(slots=True)
class PythonFile:
    """What was found; the parts of a `LoadedFile` that come from importing."""

    kind: str = "tasks"
    definitions: list[dict[str, Any]] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)
    dependencies: dict[str, str] = field(default_factory=dict)
    bundle: dict[str, Any] | None = None

    def to_json(self) -> bytes:
        names = ("kind", "definitions", "dependencies", "bundle")
        found = {name: getattr(self, name) for name in names}
        return json.dumps({**found, "errors": [sent(error) for error in self.errors]}).encode()


def mentions_us(source: bytes) -> bool:
    """A quick look: False means that the file is a script or helper, without parsing it."""
    return b"zquant_flow" in source


def read_task_file(
    root: Path, path: str, source: bytes, executors: Executors, zone: ZoneInfo | None
) -> PythonFile:
    """The definitions of a Python file, or none where its syntax tree does not import zquant_flow."""
    found = PythonFile()
    try:
        if not _imports_us(ast.parse(source, path)):
            found.kind = "helper"
            return found
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        found.errors.append(_syntax_error(exc))
        return found
    module = _import(root, path, found)
    if module is not None and not found.errors:
        _collect(module, root, path, executors, zone, found)
    _pack(root, path, found)
    return found


def read_functions(root: Path, path: str, wanted: Sequence[tuple[str, str]]) -> PythonFile:
    """Checks `module:function` pairs that a YAML file names, and packs their sources; the line of an error is 0."""
    found = PythonFile()
    _enter(root, path)
    for position, (name, function) in enumerate(wanted):
        _check_function(root, path, name, function, position, found)
    _pack(root, path, found)
    return found


def _check_function(
    root: Path, path: str, name: str, function: str, position: int, found: PythonFile
) -> None:
    folder = root / path.rpartition("/")[0]
    parts = folder.joinpath(*name.split("."))
    if not parts.with_name(parts.name + ".py").is_file() and not (parts / "__init__.py").is_file():
        message = say("there is no {name}.py beside this file", name=name.replace(".", "/"))
        found.errors.append((0, position, "python", "function_missing", message))
        return
    try:
        module = importlib.import_module(name)
    except BaseException as exc:
        why = _explained(exc, root, path)[1]
        found.errors.append(
            (
                0,
                position,
                "python",
                PYTHON_FAILED,
                say("{name}.py can't be imported: {message}", name=name, message=why),
            )
        )
        return
    if not callable(getattr(module, function, None)):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        message = say(
            "{name}.py has no function {function!r}: it has {known}",
            name=name,
            function=function,
            known=joined(", ", known[:10]) or say("none"),
        )
        found.errors.append((0, position, "python", "function_missing", message))


def _imports_us(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] == "zquant_flow"
        ):
            return True
        if isinstance(node, ast.Import) and any(
            name.name.split(".")[0] == "zquant_flow" for name in node.names
        ):
            return True
    return False


def _syntax_error(exc: BaseException) -> Error:
    if isinstance(exc, SyntaxError):
        message = say("Python can't read this: {error}", error=exc.msg)
        return (exc.lineno or 1, exc.offset or 1, "", "python_syntax", message)
    message = say("Python can't read this: {error}", error=f"{type(exc).__name__}: {exc}")
    return (1, 1, "", "python_syntax", message)


def _enter(root: Path, path: str) -> None:
    """The surroundings that a worker gives: modules beside the file, then those of the tasks folder."""
    folder = root / path.rpartition("/")[0]
    sys.path[:0] = [str(folder), str(root)] if folder != root else [str(root)]
    sys.dont_write_bytecode = True
    sys.argv = [str(root / path)]
    os.chdir(folder)


def _import(root: Path, path: str, found: PythonFile) -> ModuleType | None:
    name = path.rpartition("/")[2].removesuffix(".py")
    if "." in name:
        found.errors.append(
            (1, 1, "", "file_name", say("a task file's name has no dot but that of .py: rename it"))
        )
        return None
    if name in sys.modules or name in sys.stdlib_module_names:
        message = say(
            "the name {name}.py hides Python's or a library's module {name!r}: rename the file", name=name
        )
        found.errors.append((1, 1, "", "file_name", message))
        return None
    _enter(root, path)
    try:
        module = importlib.import_module(name)
    except BaseException as exc:
        line, why = _explained(exc, root, path)
        found.errors.append((line, 1, "", PYTHON_FAILED, why))
        _note_failed_helpers(exc, root, path, found)
        return None
    if (module.__file__ or "") != str(root / path):
        found.errors.append(
            (
                1,
                1,
                "",
                "file_name",
                say("{name}.py is hidden by {file}: rename one of them", name=name, file=module.__file__),
            )
        )
    return module


def _collect(
    module: ModuleType, root: Path, path: str, executors: Executors, zone: ZoneInfo | None, found: PythonFile
) -> None:
    try:
        made = authoring.raw_definitions(module.__name__)
    except BaseException as exc:
        line, message = _explained(exc, root, path)
        found.errors.append((line, 1, "", PYTHON_FAILED, message))
        return
    lines: dict[str, int] = {}
    for position, (maker, raw) in enumerate(made):
        function = maker.__wrapped_task__
        line = function.__code__.co_firstlineno
        first = lines.setdefault(maker.name, line)
        if first != line:
            double = say(
                "two tasks of this file are named {name!r}, this and the one at line {line}: rename one",
                name=maker.name,
                line=first,
            )
            found.errors.append((line, 1, "name", "duplicate_name", double))
            continue
        try:
            parsed = parse_definition(
                raw,
                origin="file",
                executors=executors,
                default_zone=zone,
                folder=path.rpartition("/")[0],
                required=authoring.required_params(function),
                specs=specs_of(function),
            )
        except DefinitionErrors as exc:
            found.errors += ((line, 1, error.field, error.code, error.message) for error in exc.errors)
            continue
        task = encode(parsed.task)
        found.definitions.append(
            {"task": task, "line": line, "document": position, "warnings": list(parsed.warnings)}
        )


def _explained(exc: BaseException, root: Path, path: str) -> tuple[int, str]:
    """The line of the task file that led to an exception, and what it means for its author."""
    own, prefix = str(root / path), str(root) + os.sep
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename.startswith(prefix)]
    line = next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == own), None)
    if line is None:
        line = getattr(exc, "line", None) or 1
    message = _meaning(exc)
    where: tuple[str, int | None] = (own, None)
    if isinstance(exc, SyntaxError) and exc.filename and exc.filename != own:
        where = exc.filename, exc.lineno
    elif frames:
        where = frames[-1].filename, frames[-1].lineno
    if where[0] == own:
        return line, message
    path, number = where[0].removeprefix(prefix), where[1]
    return line, say("{message} ({path}:{line})", message=message, path=path, line=number)


def _meaning(exc: BaseException) -> str:
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        package = exc.name.split(".")[0]
        return say(
            "there is no module {name!r} beside the file or in {python}: {python} -m pip install {package}",
            name=exc.name,
            python=sys.executable,
            package=package,
        )
    if isinstance(exc, SystemExit):
        return say(
            "sys.exit({code}) while the file is imported: put it under if __name__ == '__main__'",
            code=repr(exc.code),
        )
    if isinstance(exc, authoring.AuthoringError):
        return spoken(exc)
    try:
        text = str(exc)
    except Exception:  # a broken __str__ of the user's
        text = "?"
    return f"{type(exc).__name__}: {text[:1000]}" if text else type(exc).__name__


def _note_failed_helpers(exc: BaseException, root: Path, path: str, found: PythonFile) -> None:
    """A helper that failed is no module any more; when it is mended the file has to be read again."""
    prefix = str(root) + os.sep
    names = {frame.filename for frame in traceback.extract_tb(exc.__traceback__)}
    if isinstance(exc, SyntaxError) and exc.filename:
        names.add(exc.filename)
    for name in names:
        if name.startswith(prefix) and name != str(root / path):
            try:
                data = Path(name).read_bytes()
            except OSError:
                continue
            found.dependencies[Path(name).relative_to(root).as_posix()] = hashlib.sha256(data).hexdigest()


def _pack(root: Path, path: str, found: PythonFile) -> None:
    """The sources of all modules under `root` that are imported now (SEMANTICS §2.4)."""
    prefix = str(root) + os.sep
    files: dict[str, str] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.startswith(prefix) or not name.endswith(".py"):
            continue
        relative = Path(name).relative_to(root).as_posix()
        try:
            data = Path(name).read_bytes()
            files[relative] = data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            found.errors.append(
                (
                    1,
                    1,
                    "",
                    "not_utf8",
                    say("{relative} can't be stored: {error}", relative=relative, error=spoken(exc)),
                )
            )
            continue
        if relative != path:
            found.dependencies[relative] = hashlib.sha256(data).hexdigest()
    if files and not found.errors:
        digest = bundle_digest(files)
        found.bundle = {"digest": digest, "files": files}
        for definition in found.definitions:
            definition["task"]["bundle"] = digest


def bundle_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over the sorted paths and contents, in hex."""
    total = hashlib.sha256()
    for relative in sorted(files):
        for part in (relative, files[relative]):
            data = part.encode()
            total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()
