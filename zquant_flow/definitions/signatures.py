"""What do the annotations of a function say about its params?"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal

from zquant_flow.core.params import Param, ParamType, value_of

_TYPES: dict[Any, ParamType] = {
    str: ParamType.STRING,
    int: ParamType.INTEGER,
    float: ParamType.NUMBER,
    bool: ParamType.BOOLEAN,
    list: ParamType.ARRAY,
    tuple: ParamType.ARRAY,
    dict: ParamType.OBJECT,
    date: ParamType.DATE,
    datetime: ParamType.DATETIME,
}


def specs_of(function: Callable[..., Any]) -> dict[str, Param]:
    """A spec for each parameter; none at all where no annotation has a type that we know, or where `**kwargs` takes anything.

    An annotation that the default contradicts says nothing.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL) for item in parameters):
        return {}
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name that only a type checker knows
        return {}
    found = {item.name: _spec(item, hints.get(item.name)) for item in parameters}
    return found if any(spec.type or spec.enum for spec in found.values()) else {}


def _spec(parameter: inspect.Parameter, hint: Any) -> Param:
    required = parameter.default is parameter.empty
    kind, enum, nullable = _read(hint)
    spec = Param(type=kind, enum=enum, required=required and not nullable)
    if not required and not _agrees(spec, parameter.default):
        return Param()
    return spec


def _agrees(spec: Param, default: Any) -> bool:
    if isinstance(default, date):
        return spec.type in (ParamType.DATE, ParamType.DATETIME)
    try:
        return bool(value_of(spec, default) == default)
    except ValueError:
        return False


def _read(hint: Any) -> tuple[ParamType | None, tuple[Any, ...] | None, bool]:
    """Type, enum, and whether None is among what an annotation takes."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [item for item in typing.get_args(hint) if item is not type(None)]
        nullable = len(options) < len(typing.get_args(hint))
        kind, enum, _ = _read(options[0]) if len(options) == 1 else (None, None, False)
        return kind, enum, nullable
    if origin is Literal:
        values = typing.get_args(hint)
        kinds = {_TYPES.get(type(value)) for value in values}
        return (kinds.pop() if len(kinds) == 1 else None), values, None in values
    if origin is typing.Annotated:
        return _read(typing.get_args(hint)[0])
    return _TYPES.get(origin or hint), None, False
