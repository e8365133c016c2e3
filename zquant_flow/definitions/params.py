"""Which params does a definition declare, as values or in the long form?

`symbol: ALL` is a default. `symbol: {type: string, enum: [ALL, SH], default: ALL}` says more: a mapping with `type` or
`required`, and no other words than those of a spec. Any other mapping is a default value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zquant_flow.core.params import Param, ParamType, value_of
from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.wording import joined, say, spoken

WORDS = ("type", "default", "enum", "required", "description", "minimum", "maximum")
_OTHERS_WORDS = {
    "choices": "enum",
    "options": "enum",
    "values": "enum",
    "min": "minimum",
    "max": "maximum",
    "desc": "description",
    "help": "description",
}
_TYPES = {kind.value for kind in ParamType}


def read_params(
    written: Mapping[str, Any], noted: Mapping[str, Param], errors: list[FieldError]
) -> tuple[dict[str, Any], dict[str, Param]]:
    """The defaults and the specs of a definition. `noted`: what the annotations of a function say."""
    defaults: dict[str, Any] = {}
    specs = dict(noted)
    for name, value in written.items():
        _refuse_others_words(name, value, errors)
        if not is_spec(value):
            defaults[name] = value
            continue
        before = len(errors)
        spec = _spec(value, ("params", name), errors)
        if len(errors) > before:
            continue
        specs[name] = spec
        if "default" in value or not spec.required:
            defaults[name] = value.get("default")
    for name in specs:
        if name in defaults:
            _check(defaults, name, specs[name], ("params", name), errors)
    return defaults, specs


def is_spec(value: Any) -> bool:
    """Whether a param is written in the long form."""
    return (
        isinstance(value, Mapping) and bool({"type", "required"} & value.keys()) and set(value) <= set(WORDS)
    )


def _refuse_others_words(name: str, value: Any, errors: list[FieldError]) -> None:
    """`{type: string, choices: [...]}` is a spec in another tool's words."""
    if not isinstance(value, Mapping) or value.get("type") not in _TYPES:
        return
    for word in value:
        if word in _OTHERS_WORDS and set(value) <= {*WORDS, *_OTHERS_WORDS}:
            message = say(
                "unknown key {word!r} of a param: write {ours!r}", word=word, ours=_OTHERS_WORDS[word]
            )
            errors.append(FieldError(("params", name, word), message, "unknown_key"))


def _spec(words: Mapping[str, Any], path: Path, errors: list[FieldError]) -> Param:
    kind = words.get("type")
    if kind is not None and kind not in _TYPES:
        known = joined(", ", [item.value for item in ParamType])
        message = say("there is no type {name:.60}: there is {known}", name=repr(kind), known=known)
        errors.append(FieldError((*path, "type"), message))
        return Param()
    for word, (wanted, is_right) in _SHAPES.items():
        if word in words and not is_right(words[word]):
            errors.append(FieldError((*path, word), say("{word} is {wanted}", word=word, wanted=wanted)))
            return Param()
    type_ = ParamType(kind) if kind is not None else None
    for word in ("minimum", "maximum"):
        if word in words and type_ not in (ParamType.INTEGER, ParamType.NUMBER):
            errors.append(
                FieldError((*path, word), say("{word} is for the types integer and number", word=word))
            )
    enum = words.get("enum")
    return Param(
        type=type_,
        required=words.get("required", False),
        enum=None if enum is None else _values(enum, type_, path, errors),
        description=words.get("description", ""),
        minimum=words.get("minimum"),
        maximum=words.get("maximum"),
    )


def _values(enum: list[Any], kind: ParamType | None, path: Path, errors: list[FieldError]) -> tuple[Any, ...]:
    values = list(enum)
    for index in range(len(values)):
        _check(values, index, Param(type=kind), (*path, "enum", index), errors)
    return tuple(values)


def _check(holder: Any, key: Any, spec: Param, path: Path, errors: list[FieldError]) -> None:
    """Brings a value into the form of its spec, or says why it can't be."""
    try:
        holder[key] = value_of(spec, holder[key])
    except ValueError as error:
        errors.append(FieldError(path, spoken(error)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "enum": (say("a list of values"), lambda value: isinstance(value, list) and bool(value)),
    "required": (say("true or false"), lambda value: isinstance(value, bool)),
    "description": (say("text"), lambda value: isinstance(value, str) and len(value) <= 10_000),
    "minimum": (say("a number"), _is_number),
    "maximum": (say("a number"), _is_number),
}
