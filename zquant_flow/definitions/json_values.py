"""Can this be kept as JSON, and by PostgreSQL?

Text without NUL or lone surrogates, finite numbers, keys that are text, no deep nesting. What Python authors write by
habit (tuples, datetimes, timedeltas, enums, paths) becomes its plain form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.wording import say

MAX_DEPTH = 50
_DROPPED = object()
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def is_plain(value: Any) -> bool:
    """A quick look: False means that `to_plain` has to look closer."""
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return "\\u0000" not in text and text.count("[") + text.count("{") <= MAX_DEPTH


def to_plain(value: Any, errors: list[FieldError], path: Path = ()) -> Any:
    """The value in plain JSON types; parts that have none are left out and added to `errors`."""
    result = _plain(value, errors, path)
    return None if result is _DROPPED else result


def _plain(value: Any, errors: list[FieldError], path: Path) -> Any:
    if len(path) > MAX_DEPTH:
        return _drop(errors, path[:5], say("more than {count} levels deep", count=MAX_DEPTH))
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, errors, path)
    if isinstance(value, (int, float)):
        return _number(value, errors, path)
    if isinstance(value, Mapping):
        return _mapping(value, errors, path)
    if isinstance(value, (list, tuple)):
        items = (_plain(item, errors, (*path, index)) for index, item in enumerate(value))
        return [item for item in items if item is not _DROPPED]
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    return _drop(
        errors,
        path,
        say("{kind} is no JSON value: use text, numbers, lists or mappings", kind=type(value).__name__),
    )


_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (datetime, lambda value: value.isoformat()),
    (date, lambda value: value.isoformat()),
    (time, lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (PurePath, str),
)


def _text(value: str, errors: list[FieldError], path: Path) -> Any:
    if "\0" in value:
        return _drop(errors, path, say("text can't hold the character NUL"))
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        return _drop(
            errors, path, say("text can't hold {value!a}, half of a UTF-16 pair", value=value[exc.start])
        )
    return value


def _number(value: float, errors: list[FieldError], path: Path) -> Any:
    if isinstance(value, float) and value - value != 0:
        return _drop(
            errors, path, say("{value} is no JSON number: leave it out, or write it as text", value=value)
        )
    if isinstance(value, int) and value.bit_length() > 14_000:
        return _drop(errors, path, say("a number of more than 4,000 digits: write it as text"))
    return value


def _mapping(value: Mapping[Any, Any], errors: list[FieldError], path: Path) -> dict[str, Any]:
    out = {}
    for key, item in value.items():
        if not isinstance(key, str):
            _drop(
                errors,
                (*path, str(key)),
                say("the key {key} must be text: write {text!r}", key=repr(key), text=str(key)),
            )
            continue
        if _text(key, errors, (*path, "?")) is _DROPPED:
            continue
        plain = _plain(item, errors, (*path, key))
        if plain is not _DROPPED:
            out[key] = plain
    return out


def _drop(errors: list[FieldError], path: Path, message: str) -> Any:
    errors.append(FieldError(path, message, "not_json"))
    return _DROPPED
