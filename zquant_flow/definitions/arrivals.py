"""What does a task take from the events outside that start it?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from zquant_flow.core.expressions import check
from zquant_flow.core.model import OnFile, Webhook
from zquant_flow.core.params import Param, ParamType
from zquant_flow.core.references import TEMPLATE, expressions, references
from zquant_flow.definitions.faults import FieldError, did_you_mean
from zquant_flow.definitions.forms import OnFileForm, WebhookForm
from zquant_flow.definitions.templates import Known, check_arguments, with_templates
from zquant_flow.wording import say

FILE = "file"
"""The param that has the path of the file which started an execution."""


def build_webhook(
    form: WebhookForm | None, known: Collection[str], errors: list[FieldError], *, typed: bool
) -> Webhook | None:
    """The webhook that a form describes; `known` are the params of its task, which takes no others if it is `typed`."""
    if form is None:
        return None
    params = with_templates(form.params or {})
    before = len(errors)
    for name in params if typed else ():
        if name not in known:
            message = say("there is no param {name!r}{hint}", name=name, hint=did_you_mean(name, known))
            errors.append(FieldError(("webhook", "params", name), message))
    for name, value in params.items():
        path = ("webhook", "params", name)
        check_arguments({name: value}, path, Known(known), errors)
        if len(errors) == before and any(root != "event" for root in _roots(value)):
            message = say("what a webhook gives is made of `event` alone, such as event.body.ref")
            errors.append(FieldError(path, message, "invalid_reference"))
    return Webhook(name=form.name, params=params)


def build_on_file(
    form: OnFileForm | None, specs: Mapping[str, Param], errors: list[FieldError]
) -> OnFile | None:
    """The files that a form describes, for a task that says this of its params."""
    if form is None:
        return None
    spec = specs.get(FILE, Param())
    if spec.type not in (None, ParamType.STRING):
        message = say(
            "on_file gives the path as the param `file`: make that a string, not a {type}", type=spec.type
        )
        errors.append(FieldError(("on_file",), message, "conflict"))
    return OnFile(glob=form.glob, settle=form.settle)


def given_by_arrivals(
    webhook: Webhook | None, on_file: OnFile | None, required: Collection[str]
) -> Iterator[FieldError]:
    """The faults of params without a default that nothing would give."""
    for name in sorted(set(required) - {FILE}) if on_file is not None else ():
        message = say("the parameter {name!r} has no default, and a file gives none: add one", name=name)
        yield FieldError(("on_file",), message, "missing_default")
    for name in sorted(set(required) - webhook.params.keys()) if webhook is not None else ():
        message = say(
            "the parameter {name!r} has no default, and the webhook gives none: add one, or `params` of the webhook",
            name=name,
        )
        yield FieldError(("webhook",), message, "missing_default")


def _roots(value: object) -> Iterator[str]:
    """The names at the top of all references and expressions inside a value, which have been checked."""
    yield from (str(path[0]) for path in references(value))
    for kind, text in expressions(value):
        yield from (str(path[0]) for path in check(text, template=kind == TEMPLATE).paths)
