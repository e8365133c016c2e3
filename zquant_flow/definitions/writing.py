"""How is a definition that came over REST written into a file, and changed there?

ruamel keeps comments, order and quotes, so that an edit touches its own lines only; text that has no safe plain form is
quoted. Writes are atomic: a temporary file beside, then a rename; a file that changed since it was read is not overwritten.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zquant_flow.errors import Conflict, TasksFolderUnavailable
from zquant_flow.wording import say, spoken

_ORDER = [
    "name",
    "description",
    "tags",
    "task_type",
    "cron",
    "interval",
    "run_at",
    "schedules",
    "timezone",
    "start_at",
    "end_at",
    "catchup",
    "catchup_limit",
    "misfire_grace_time",
    "overlap",
    "after",
    "consumes",
    "produces",
    "webhook",
    "on_file",
    "notify",
    "max_active_runs",
    "enabled",
    "params",
    "command",
    "python",
    "executor",
    "config",
    "shell",
    "env",
    "working_dir",
    "isolation",
    "timeout",
    "max_retries",
    "retry_interval",
    "retry_backoff",
    "priority",
    "pool",
    "workflow_type",
    "on_failure",
    "max_parallel",
    "workflow_timeout",
    "tasks",
]
_EXPONENT = re.compile(r"[-+]?\.?[0-9][0-9.]*[eE][-+]?[0-9]+")
"""Numbers for our reader that ruamel takes for text."""


def file_name(task_id: int, name: str) -> str:
    """`<id>-<slug>.yaml`; the slug has letters, digits and dashes only, whatever the name is."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
    return f"{task_id}-{slug}.yaml" if slug else f"{task_id}.yaml"


def new_text(words: Mapping[str, Any]) -> str:
    """The text of a file with this one definition, keys in the order people write them."""
    known = [key for key in _ORDER if key in words]
    ordered = {key: words[key] for key in [*known, *(key for key in words if key not in known)]}
    return _dump([_tidy(ordered)])


def edited_text(text: str, document: int, words: Mapping[str, Any]) -> str:
    """The text with document number `document` changed: each word replaces its key, None removes it.

    Raises ValueError where ruamel can't read the text.
    """
    documents = _load(text)
    target = documents[document]
    for key, value in words.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = _tidy(value)
    return _dump(documents)


def without_document(text: str, document: int) -> str:
    """The text without that document. Raises as `edited_text` does."""
    documents = _load(text)
    del documents[document]
    return _dump(documents)


def content(path: Path) -> bytes | None:
    """What the file holds, None where it is not there. Raises TasksFolderUnavailable where that can't be found out."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise TasksFolderUnavailable(
            say("{path} can't be read: {reason}", path=str(path), reason=exc.strerror)
        ) from exc


def write(path: Path, data: bytes, *, expected: bytes | None) -> None:
    """Replace a file's content in one step.

    `expected` is what was read before, None for a file that must not be there. Raises Conflict where the file is not
    as expected, TasksFolderUnavailable where the folder can't be written.
    """
    _refuse_other(path, expected)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".zqf-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as exc:
        raise TasksFolderUnavailable(
            say("{folder} can't be written: {reason}", folder=str(path.parent), reason=exc.strerror)
        ) from exc


def remove(path: Path, *, expected: bytes) -> None:
    """Delete a file that is still as it was read. Raises as `write` does."""
    _refuse_other(path, expected)
    try:
        path.unlink()
    except OSError as exc:
        raise TasksFolderUnavailable(
            say("{path} can't be removed: {reason}", path=str(path), reason=exc.strerror)
        ) from exc


def _refuse_other(path: Path, expected: bytes | None) -> None:
    if content(path) != expected:
        raise Conflict(
            say(
                "{name} has changed on disk meanwhile; read the task again and repeat the change",
                name=path.name,
            )
        )


def _tidy(value: Any) -> Any:
    """Plain values as ruamel writes them best: text of several lines as a block, what can't be seen in quotes."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if isinstance(value, Mapping):
        return {_tidy(key): _tidy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tidy(item) for item in value]
    if not isinstance(value, str):
        return value
    if _is_block(value):
        return LiteralScalarString(value)
    if not value.isprintable() or _EXPONENT.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value


def _is_block(text: str) -> bool:
    """Whether a literal block keeps this text as it is: visible lines, no blank in front, one line end at the end."""
    if not text.endswith("\n") or text.endswith("\n\n") or text[0] in " \t\n":
        return False
    return all(line.isprintable() for line in text.split("\n"))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.version = None
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # never fold: lines of others stay as they are
    yaml.allow_unicode = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _load(text: str) -> list[Any]:
    from ruamel.yaml.error import YAMLError

    try:
        return [document for document in _yaml().load_all(text) if document is not None]
    except YAMLError as exc:
        raise ValueError(say("it can't be edited: {error}", error=spoken(exc))) from exc


def _dump(documents: list[Any]) -> str:
    out = io.StringIO()
    yaml = _yaml()
    if len(documents) == 1:
        yaml.dump(documents[0], out)
    else:
        yaml.dump_all(documents, out)
    return out.getvalue()
