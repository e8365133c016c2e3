"""What do plugins make of a definition before it counts? They may change it, or refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zquant_flow.core.model import TaskDef
from zquant_flow.wording import say

if TYPE_CHECKING:
    from zquant_flow.plugin.plugins import Plugins


class Refused(Exception):
    """Raised by `alter_definition`: this definition must not be registered, and why."""


def altered(plugins: Plugins, definition: TaskDef, source: str) -> TaskDef:
    """The definition as all plugins, one after the other, leave it. Raises Refused, also for a plugin that fails.

    A policy that can't be asked is not taken as met.
    """
    for implementation in plugins.implementations("alter_definition"):
        name = implementation.plugin_name
        said = {"definition": definition, "source": source}
        try:
            answer = implementation.function(*(said[argument] for argument in implementation.argnames))
        except Refused as refused:
            raise Refused(say("plugin {name} refuses it: {why}", name=name, why=str(refused))) from refused
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            raise Refused(say("plugin {name} can't judge it: {error}", name=name, error=why)) from exc
        if answer is not None:
            definition = _checked(answer, definition, name)
    return definition


def _checked(answer: object, before: TaskDef, name: str) -> TaskDef:
    if not isinstance(answer, TaskDef):
        what = type(answer).__name__
        raise Refused(
            say("plugin {name} can't judge it: it gives a {what}, not a TaskDef", name=name, what=what)
        )
    if answer.name != before.name:
        raise Refused(say("plugin {name} may not rename it to {other!r}", name=name, other=answer.name))
    return answer
