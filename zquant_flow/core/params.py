"""Which params does a task take, and is what it is given among them?

The words are JSON Schema's: `type, enum, minimum, maximum, description`, and `required`. A value may come in another form
where nothing is lost: `600000` for a text, `"5"` for a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from zquant_flow.errors import ParamsError
from zquant_flow.wording import Message, joined, say


class ParamType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"
    DATE = "date"
    DATETIME = "datetime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """What is said about one param; `type` None takes any value. Null is taken where it is not `required`."""

    type: ParamType | None = None
    required: bool = False
    enum: tuple[Any, ...] | None = None
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


Specs = Mapping[str, Param]


def checked(specs: Specs, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The params of an execution: what is given over the defaults, each in the form that its spec says.

    Raises ParamsError with every fault. A task without specs takes anything.
    """
    if not specs:
        return {**defaults, **given}
    known = specs.keys() | defaults.keys()
    faults = {name: _unknown(name, known) for name in given if name not in known}
    return _fitted(specs, {**defaults, **given}, faults)


def fitted(specs: Specs, params: Mapping[str, Any]) -> dict[str, Any]:
    """As `checked`, for params among which others may be: those of the workflow around a task."""
    return _fitted(specs, params, {}) if specs else dict(params)


def value_of(spec: Param, value: Any) -> Any:
    """The value in the form that its spec says; raises ValueError with a predicate such as `is no integer`."""
    if value is None and not spec.required:
        return None
    if spec.type is not None:
        found = next(_forms(spec.type, value), _NONE)
        if found is _NONE:
            raise ValueError(say("{value:.60} is no {type}", value=repr(value), type=spec.type.value))
        value = found
    if spec.enum is not None and not any(value == item and type(value) is type(item) for item in spec.enum):
        known = joined(", ", [str(item) for item in spec.enum[:20]])
        raise ValueError(say("{value:.60} is not one of {known}", value=repr(value), known=known))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if spec.minimum is not None and value < spec.minimum:
            raise ValueError(say("{value} is less than {bound:g}", value=value, bound=spec.minimum))
        if spec.maximum is not None and value > spec.maximum:
            raise ValueError(say("{value} is more than {bound:g}", value=value, bound=spec.maximum))
    return value


def json_schema(specs: Specs, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the params that a trigger may give."""
    names = [*dict.fromkeys((*defaults, *specs))]
    return {
        "type": "object",
        "properties": {name: _property(specs.get(name, Param()), name, defaults) for name in names},
        "required": [
            name for name in names if name in specs and specs[name].required and name not in defaults
        ],
        "additionalProperties": not specs,
    }


def encode_specs(specs: Specs) -> dict[str, Any]:
    """Specs as plain JSON values; what is not said is left out."""
    return {name: _words(spec) for name, spec in specs.items()}


def decode_specs(encoded: Mapping[str, Mapping[str, Any]]) -> dict[str, Param]:
    """The inverse of `encode_specs`."""
    return {
        name: Param(
            type=ParamType(words["type"]) if "type" in words else None,
            required=words.get("required", False),
            enum=tuple(words["enum"]) if "enum" in words else None,
            description=words.get("description", ""),
            minimum=words.get("minimum"),
            maximum=words.get("maximum"),
        )
        for name, words in encoded.items()
    }


def _fitted(specs: Specs, params: Mapping[str, Any], faults: dict[str, Message]) -> dict[str, Any]:
    out = dict(params)
    for name, spec in specs.items():
        if name not in params:
            if spec.required:
                faults[name] = say("{name} is required", name=name)
            continue
        try:
            out[name] = value_of(spec, params[name])
        except ValueError as error:
            faults[name] = say("{name}: {error}", name=name, error=error.args[0])
    if faults:
        listed = [
            {"field": f"params.{name}", "code": "invalid_params", "message": message}
            for name, message in faults.items()
        ]
        raise ParamsError(joined("; ", list(faults.values())[:10]), field=listed[0]["field"], errors=listed)
    return out


def _unknown(name: str, known: Any) -> Message:
    import difflib

    close = difflib.get_close_matches(name[:200], list(known), n=1)
    hint = say(" (did you mean {word!r}?)", word=close[0]) if close else ""
    return say("there is no param {name!r}{hint}", name=name, hint=hint)


_NONE = object()
_WHOLE = re.compile(r"[+-]?\d{1,19}")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def _forms(kind: ParamType, value: Any) -> Iterator[Any]:
    """The value in the form of a type, if it has one that loses nothing."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case ParamType.STRING if isinstance(value, str) or whole:
            yield str(value)
        case ParamType.INTEGER if whole:
            yield value
        case ParamType.INTEGER if isinstance(value, float) and value.is_integer():
            yield int(value)
        case ParamType.INTEGER if isinstance(value, str) and _WHOLE.fullmatch(value):
            yield int(value)
        case ParamType.NUMBER if whole or (isinstance(value, float) and math.isfinite(value)):
            yield value
        case ParamType.NUMBER if isinstance(value, str) and len(value) < 50 and _DECIMAL.fullmatch(value):
            if math.isfinite(number := float(value)):
                yield int(value) if _WHOLE.fullmatch(value) else number
        case ParamType.BOOLEAN if isinstance(value, bool):
            yield value
        case ParamType.BOOLEAN if value in ("true", "false"):
            yield value == "true"
        case ParamType.ARRAY if isinstance(value, (list, tuple)):
            yield value
        case ParamType.OBJECT if isinstance(value, Mapping):
            yield value
        case ParamType.DATE | ParamType.DATETIME if isinstance(value, str) or whole:
            yield from _instants(kind, str(value))


def _instants(kind: ParamType, text: str) -> Iterator[str]:
    """ISO 8601 text; a day also as `20260105`, which the command line takes for a number."""
    try:
        if kind is ParamType.DATETIME:
            yield datetime.fromisoformat(text).isoformat()
        elif len(text) in (8, 10):
            yield date.fromisoformat(text).isoformat()
    except ValueError:
        return


_FORMATS = {ParamType.DATE: "date", ParamType.DATETIME: "date-time"}


def _property(spec: Param, name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    out = _words(spec)
    out.pop("required", None)
    if spec.type in _FORMATS:
        out |= {"type": "string", "format": _FORMATS[spec.type]}
    if name in defaults:
        out["default"] = defaults[name]
        if defaults[name] is None and "type" in out:
            out["type"] = [out["type"], "null"]
    return out


def _words(spec: Param) -> dict[str, Any]:
    words: dict[str, Any] = {
        "type": spec.type.value if spec.type else None,
        "required": spec.required or None,
        "enum": None if spec.enum is None else list(spec.enum),
        "description": spec.description or None,
        "minimum": spec.minimum,
        "maximum": spec.maximum,
    }
    return {word: value for word, value in words.items() if value is not None}
