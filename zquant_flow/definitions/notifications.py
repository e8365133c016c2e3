"""Whom does a task, or a node, have told of what happens to it?"""

from __future__ import annotations

from collections.abc import Collection

from zquant_flow.core.model import TaskDef
from zquant_flow.core.notify import Notice, Notify
from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.definitions.forms import NodeForm, NotifyForm
from zquant_flow.wording import say


def build_notify(form: NotifyForm | None) -> Notify | None:
    """What it says under `notify`; None where it names nobody."""
    if form is None:
        return None
    said = {notice.value: getattr(form, f"on_{notice.value}") or () for notice in Notice}
    notify = Notify(**{notice: tuple(dict.fromkeys(channels)) for notice, channels in said.items()})
    return notify if any(notify.channels()) else None


def build_node_notify(form: NodeForm, name: str, base: Path, errors: list[FieldError]) -> Notify | None:
    """The same of a node. A recovery is told of whole tasks: the short form means failures alone here."""
    if form.notify is None:
        return None
    if form.task is not None or form.task_id is not None:
        message = say(
            "node {name!r} refers to a task, and {word!r} belongs to that task: set it there",
            name=name,
            word="notify",
        )
        errors.append(FieldError((*base, "notify"), message, "conflict"))
    short = form.notify.on_failure == form.notify.on_recovery
    if form.notify.on_recovery is not None and not short:
        message = say("a recovery is told of tasks and workflows, not of node {name!r}", name=name)
        errors.append(FieldError((*base, "notify", "on_recovery"), message, "conflict"))
    return build_notify(form.notify.model_copy(update={"on_recovery": None}))


def unknown_channels(definition: TaskDef, known: Collection[str]) -> list[str]:
    """The channels that a task or its nodes name and that are not there."""
    nodes = definition.workflow.nodes if definition.workflow is not None else ()
    said = (definition.notify, *(node.notify for node in nodes))
    named = dict.fromkeys(name for notify in said if notify is not None for name in notify.channels())
    return [name for name in named if name not in known]
