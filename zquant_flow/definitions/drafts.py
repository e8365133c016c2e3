"""What would a file say after a change over REST, and is that what was meant?

Everything is decided here before anything is written: the body is parsed as a whole definition, the text is read back as
the loader will read it, and both must say the same. Nothing is written that says something else.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zquant_flow.core.model import TaskDef, canonical, encode
from zquant_flow.definitions import rest_words, writing
from zquant_flow.definitions.actions import Executors
from zquant_flow.definitions.clothes import Dressed
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.loader import LoadedDefinition
from zquant_flow.definitions.nodes import TaskNames
from zquant_flow.definitions.registry import Entry
from zquant_flow.definitions.schema import ParsedDefinition, parse_definition
from zquant_flow.definitions.yaml_text import Document, YamlError, read_yaml
from zquant_flow.errors import Conflict
from zquant_flow.wording import say, spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The content of a file that is not written yet, and the definitions that it will have.

    `name`: of the task that it is about. `warnings`: what that task can't do yet.
    """

    data: bytes
    definitions: tuple[LoadedDefinition, ...]
    name: str = ""
    warnings: tuple[str, ...] = ()


def draft_new(raw: Mapping[str, Any], executors: Executors, task_name: TaskNames) -> Draft:
    """The file of a new task. Raises DefinitionErrors."""
    meant = parse_definition(raw, origin="rest", executors=executors, task_name=task_name)
    words = rest_words.created(raw, meant.task.name, executors, task_name)
    text = writing.new_text(words)
    definitions = _read_back(text, [words], "", executors)
    _refuse_other_meaning(definitions[0].task, meant.task)
    return Draft(data=text.encode(), definitions=definitions, name=meant.task.name, warnings=meant.warnings)


def draft_change(
    raw: Mapping[str, Any], before: bytes, entry: Entry, executors: Executors, task_name: TaskNames
) -> Draft:
    """The entry's file with the given fields changed; `None` clears one.

    Raises DefinitionErrors in the words of the body, Conflict where the file is not what was loaded.
    """
    values = [document.value for document in _documents(before, entry)]
    old = values[entry.document]
    dressed = rest_words.changed(raw, old, entry.definition.task_type, executors)
    meant = _meant(dressed, old, entry, executors, task_name)
    words = rest_words.named(dressed.words, task_name)
    if "name" in words:
        words["name"] = meant.task.name
    values[entry.document] = rest_words.merged(old, words)
    text = _edited(before, entry, {key: value for key, value in words.items() if not _same(old, key, value)})
    definitions = _read_back(text, values, entry.source, executors)
    _refuse_other_meaning(definitions[entry.document].task, meant.task)
    return Draft(data=text.encode(), definitions=definitions, name=meant.task.name, warnings=meant.warnings)


def draft_without(before: bytes, entry: Entry, executors: Executors) -> Draft | None:
    """The entry's file without its document; None if nothing is left, and the file can go. Raises as a change does."""
    values = [document.value for document in _documents(before, entry)]
    del values[entry.document]
    if not values:
        return None
    try:
        text = writing.without_document(_decoded(before), entry.document)
    except ValueError as exc:
        raise _by_hand(entry, exc) from exc
    return Draft(data=text.encode(), definitions=_read_back(text, values, entry.source, executors))


def _documents(before: bytes, entry: Entry) -> list[Document]:
    """The documents of a file that still has the entry where it was."""
    try:
        documents = read_yaml(before)
    except YamlError as exc:
        where = f"{entry.source}:{exc.line}:{exc.column}"
        raise Conflict(
            say("{where}: {message}; mend the file first", where=where, message=exc.message)
        ) from exc
    value = documents[entry.document].value if entry.document < len(documents) else None
    name = value.get("name", _stem(entry.source, documents)) if isinstance(value, dict) else None
    if not isinstance(name, str) or unicodedata.normalize("NFC", name) != entry.name:
        raise Conflict(
            say(
                "{source} does not define {name!r} any more; read the task again",
                source=entry.source,
                name=entry.name,
            )
        )
    return documents


def _meant(
    dressed: Dressed, old: Mapping[str, Any], entry: Entry, executors: Executors, task_name: TaskNames
) -> ParsedDefinition:
    """The whole definition that the changed body makes; its faults are told in the words of the body."""
    try:
        return parse_definition(
            {"name": entry.name, "max_retries": 0, **rest_words.merged(old, dressed.words)},
            origin="rest",
            executors=executors,
            folder=entry.folder,
            task_name=task_name,
        )
    except DefinitionErrors as exc:
        raise DefinitionErrors(
            [FieldError(dressed.path_of(error.path), error.message, error.code) for error in exc.errors]
        ) from exc


def _edited(before: bytes, entry: Entry, words: Mapping[str, Any]) -> str:
    try:
        return writing.edited_text(_decoded(before), entry.document, words)
    except ValueError as exc:
        raise _by_hand(entry, exc) from exc


def _read_back(
    text: str, values: Sequence[Any], source: str, executors: Executors
) -> tuple[LoadedDefinition, ...]:
    """The definitions of this text, as the loader will find them; its documents must say exactly `values`."""
    try:
        documents = read_yaml(text.encode())
    except YamlError as exc:
        raise DefinitionErrors(
            [FieldError((), say("no file can say this: {message}", message=exc.message))]
        ) from exc
    if [_text(document.value) for document in documents] != [_text(value) for value in values]:
        raise DefinitionErrors(
            [FieldError((), say("no file can say this: it would be read as something else"))]
        )
    return tuple(
        LoadedDefinition(task=task, line=document.line, document=document.index)
        for document in documents
        for task in [_parsed(document.value, source, documents, executors)]
    )


def _parsed(value: Any, source: str, documents: Sequence[Document], executors: Executors) -> TaskDef:
    return parse_definition(
        value,
        origin="file",
        executors=executors,
        default_name=_stem(source, documents),
        folder=source.rpartition("/")[0],
    ).task


def _refuse_other_meaning(found: TaskDef, meant: TaskDef) -> None:
    if canonical(encode(found)) != canonical(encode(meant)):
        raise DefinitionErrors([FieldError((), say("no file can say this: it would mean something else"))])


def _by_hand(entry: Entry, exc: ValueError) -> Conflict:
    return Conflict(
        say(
            "{source} can't be changed here ({error}); change it by hand",
            source=entry.source,
            error=spoken(exc),
        )
    )


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _stem(source: str, documents: Sequence[Document]) -> str | None:
    """The name of a task that says none: that of its file, where it is alone there."""
    return source.rpartition("/")[2].rsplit(".", 1)[0] if source and len(documents) == 1 else None


def _same(old: Mapping[str, Any], key: str, value: Any) -> bool:
    return key in old and value is not None and _text(old[key]) == _text(value)


def _text(value: Any) -> str:
    """Tells 1 from true and 1.0, as `==` does not."""
    return json.dumps(value, sort_keys=True)
