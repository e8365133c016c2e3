"""Can the params of a request be kept? By JSON, by every database, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.definitions.json_values import to_plain
from zquant_flow.errors import ParamsError
from zquant_flow.wording import joined, say

MAX_CHARACTERS = 1_000_000
_MAX_INT = 2**63


def checked(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The params as plain JSON values. Raises ParamsError with the field of every value that can't be kept."""
    if params is None:
        return None
    errors: list[FieldError] = []
    plain: dict[str, Any] = to_plain(params, errors, ("params",))
    errors += _large_numbers(plain, ("params",))
    if not errors and (size := len(json.dumps(plain, ensure_ascii=False))) > MAX_CHARACTERS:
        message = say(
            "{count:,} characters as JSON, more than {limit:,}: send the place of the data instead",
            count=size,
            limit=MAX_CHARACTERS,
        )
        errors.append(FieldError(("params",), message, "too_large"))
    if errors:
        raise ParamsError(
            joined("; ", (error.described for error in errors[:10])),
            errors=[{"field": error.field, "code": error.code, "message": error.message} for error in errors],
        )
    return plain


def _large_numbers(value: Any, path: Path) -> Iterator[FieldError]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _large_numbers(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _large_numbers(item, (*path, index))
    elif isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
        yield FieldError(path, say("a whole number of more than 64 bits: write it as text"), "not_json")
