"""What may a node say that waits for somebody's answer?"""

from __future__ import annotations

from datetime import timedelta

from zquant_flow.core.approval import Approval
from zquant_flow.core.expressions import is_template
from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.definitions.forms import ActionForm, NodeForm
from zquant_flow.definitions.templates import Known, check_text
from zquant_flow.wording import say

_OF_WHAT_RUNS = (*ActionForm.model_fields, "task", "task_id")
"""Keys that mean nothing where nothing runs."""


def build_approval(form: NodeForm, name: str, base: Path, known: Known, errors: list[FieldError]) -> Approval:
    """The question of a node whose form has `approval`; adds its faults to `errors`."""
    question = form.approval
    assert question is not None
    for word in _OF_WHAT_RUNS:
        if getattr(form, word) is not None:
            message = say(
                "node {name!r} waits for an answer and runs nothing: leave out {word!r}", name=name, word=word
            )
            errors.append(FieldError((*base, word), message, "conflict"))
    if is_template(question.message):
        check_text(question.message, (*base, "approval", "message"), known, errors, template=True)
    return Approval(
        message=question.message,
        who=tuple(dict.fromkeys(question.who)),
        timeout=question.timeout if isinstance(question.timeout, timedelta) else None,
        on_timeout=question.on_timeout,
    )
