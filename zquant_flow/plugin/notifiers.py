"""What must a notifier be, and what is it given to send?

One class: a name, a pydantic model of its config, and `send`. Whom to tell of what, texts, throttling, retries and the thread it
works in come with it. Fields that are `SecretStr` are hidden wherever an error is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel

from zquant_flow.plugin.contract import Config

Level = Literal["info", "success", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel is to send. `event` is `failure, success, retry, deadline, recovery, digest` or `test`.

    `facts` are JSON values, the same in every language; of a digest `notices`, a list of those. `id` is the same when it is sent
    again after a failure.
    """

    title: str
    body: str
    event: str
    level: Level = "info"
    facts: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid4().hex)


class Notifier:
    """Knows one way to reach people. Subclasses set `name` and `Config` and write `send`."""

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]] = Config

    def send(self, message: Message, config: Any) -> None:
        """Send it, within a time that this has set itself; raise to say that it did not get there: it is tried again.

        In the control plane, in the one thread of its channel: a slow one is late alone.
        """
        raise NotImplementedError(f"notifier {self.name!r} has no send()")
