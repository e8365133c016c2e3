"""What does pydantic's complaint mean in the user's words?"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from zquant_flow.definitions.clothes import Dressed
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.definitions.forms import PLANNED, BackoffForm, NodeForm, RuleForm, TaskForm

MAX_FAULTS = 100
_WANTED = {
    "string": "text: write it in quotes",
    "string_sub": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of names to values",
    "model": "a mapping of keys to values",
}


def explain(exc: ValidationError, dressed: Dressed) -> list[FieldError]:
    """The faults of a form, each where the user wrote it."""
    found = exc.errors(include_url=False, include_input=False)
    return [_fault(dict(error), dressed) for error in found[:MAX_FAULTS]]


def explain_config(exc: ValidationError, model: type[BaseModel], base: Path) -> list[FieldError]:
    """The faults of an executor's config, which stands at `base`."""
    out = []
    for error in exc.errors(include_url=False, include_input=False)[:MAX_FAULTS]:
        path, kind = (*base, *error["loc"]), error["type"]
        if kind == "extra_forbidden" and len(error["loc"]) == 1:
            out.append(_unknown(path, list(model.model_fields)))
        else:
            out.append(
                FieldError(path, _message(kind, path, error.get("ctx", {}), error["msg"]), _code(kind))
            )
    return out


def known_words(path: Path) -> list[str]:
    """The keys that may stand beside the last one of `path`, a path in our words."""
    if path[:1] == ("tasks",) and len(path) > 2:
        form: type[BaseModel] = NodeForm
        path = path[2:]
    else:
        form = TaskForm
    if len(path) > 1 and path[0] == "retry_backoff":
        form = BackoffForm
    elif len(path) > 1 and path[0] == "schedules":
        form = RuleForm
    return list(form.model_fields)


def _fault(error: dict[str, Any], dressed: Dressed) -> FieldError:
    path: Path = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        if path[-1] in PLANNED:
            message = f"{path[-1]!r} is not available in this version: leave it out"
            return FieldError(dressed.path_of(path), message, "not_available")
        return _unknown(dressed.path_of(path), known_words(path))
    return FieldError(
        dressed.path_of(path), _message(kind, path, error.get("ctx", {}), error["msg"]), _code(kind)
    )


def _unknown(path: Path, known: list[str]) -> FieldError:
    word = str(path[-1])
    hint = did_you_mean(word, known) or f": known here are {', '.join(known)}"
    return FieldError(path, f"unknown key {word[:100]!r}{hint}", "unknown_key")


def _code(kind: str) -> str:
    if kind == "missing":
        return "missing"
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"


def _message(kind: str, path: Path, ctx: dict[str, Any], fallback: str) -> str:
    if kind == "value_error":
        return str(ctx.get("error", fallback))
    subject = next((repr(word) for word in reversed(path) if isinstance(word, str)), "this")
    return f"{subject} {_predicate(kind, ctx, fallback)}"


def _predicate(kind: str, ctx: dict[str, Any], fallback: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "enum":
        return f"must be one of {ctx['expected'].replace(' or ', ', ')}"
    if kind == "greater_than_equal":
        return f"must be at least {ctx['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {ctx['le']}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind in ("string_too_long", "too_long"):
        return f"is too long: at most {ctx['max_length']}"
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    return f"must be {wanted}" if wanted else f"is wrong: {fallback[:1].lower()}{fallback[1:]}"
