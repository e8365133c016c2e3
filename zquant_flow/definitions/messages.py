"""What does pydantic's complaint mean in the user's words?"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from zquant_flow.complaints import complaint
from zquant_flow.core.expressions import is_template
from zquant_flow.definitions.clothes import Dressed
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.definitions.forms import (
    ApprovalForm,
    BackoffForm,
    NodeForm,
    NotifyForm,
    RuleForm,
    TaskForm,
)
from zquant_flow.wording import joined, say

MAX_FAULTS = 100


def explain(exc: ValidationError, dressed: Dressed) -> list[FieldError]:
    """The faults of a form, each where the user wrote it."""
    found = exc.errors(include_url=False, include_input=False)
    return [_fault(dict(error), dressed) for error in found[:MAX_FAULTS]]


def explain_config(exc: ValidationError, model: type[BaseModel], base: Path) -> list[FieldError]:
    """The faults of an executor's config, which stands at `base`. What a template becomes is not known yet: it has none."""
    out = []
    for error in exc.errors(include_url=False)[:MAX_FAULTS]:
        path, kind = (*base, *error["loc"]), error["type"]
        given = error["input"]
        if isinstance(given, str) and is_template(given) and kind != "extra_forbidden":
            continue
        if kind == "extra_forbidden" and len(error["loc"]) == 1:
            names = [field.alias or name for name, field in model.model_fields.items()]
            out.append(_unknown(path, names))
        else:
            out.append(
                FieldError(path, complaint(kind, path, error.get("ctx", {}), error["msg"]), _code(kind))
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
    elif len(path) > 1 and path[0] == "approval":
        form = ApprovalForm
    elif len(path) > 1 and path[0] == "notify":
        form = NotifyForm
    return list(form.model_fields)


def _fault(error: dict[str, Any], dressed: Dressed) -> FieldError:
    path: Path = error["loc"]
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(dressed.path_of(path), known_words(path))
    return FieldError(
        dressed.path_of(path), complaint(kind, path, error.get("ctx", {}), error["msg"]), _code(kind)
    )


def _unknown(path: Path, known: list[str]) -> FieldError:
    word = str(path[-1])
    hint = did_you_mean(word, known) or say(": known here are {known}", known=joined(", ", known))
    return FieldError(path, say("unknown key {word!r}{hint}", word=word[:100], hint=hint), "unknown_key")


def _code(kind: str) -> str:
    if kind == "missing":
        return "missing"
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
