"""What starts a task besides its schedule and people?"""

from __future__ import annotations

from collections.abc import Sequence

from zquant_flow.core.model import TaskDef
from zquant_flow.wording import Message, joined, say


def starters_of(task: TaskDef) -> list[Message]:
    """In words, without a subject: `after sync`, `for each new file in/*.csv`."""
    return starters(
        after=task.after.tasks if task.after is not None else (),
        consumes=task.consumes,
        on_file=task.on_file.glob if task.on_file is not None else None,
        webhook=task.webhook.name if task.webhook is not None else None,
    )


def starters(
    *, after: Sequence[str], consumes: Sequence[str], on_file: str | None, webhook: str | None
) -> list[Message]:
    """The same, of what a definition says."""
    found = []
    if after or consumes:
        found.append(say("after {names}", names=joined(", ", [*after, *consumes])))
    if on_file is not None:
        found.append(say("for each new file {glob}", glob=on_file))
    if webhook is not None:
        found.append(say("when its webhook {name} is called", name=webhook))
    return found
