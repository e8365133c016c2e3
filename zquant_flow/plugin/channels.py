"""How are channels and rules written in the settings?

`[notify.channels.NAME]` has a type, words that every channel may have, and those of its type, which are checked when that is known: it
may come from a plugin.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zquant_flow.core.notify import Notice
from zquant_flow.wording import joined, say

Name = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]


class Channel(BaseModel):
    """Words of any channel; what else is said is for its type.

    `every`: seconds in which the same notice of the same task is told once. `per_minute`: beyond so many messages in a minute they
    are gathered into one. `title`, `body`: templates. `log_lines`: so many of the attempt's last lines are added.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: Name
    language: Literal["en", "zh"] | None = None
    every: Annotated[float, Field(ge=0, le=604_800)] = 300.0
    per_minute: Annotated[int, Field(ge=1, le=10_000)] = 10
    title: Text | None = None
    body: Text | None = None
    log_lines: Annotated[int, Field(ge=0, le=200)] = 0

    @property
    def of_its_type(self) -> Mapping[str, Any]:
        """What is said to its type."""
        return self.__pydantic_extra__ or {}


class Rule(BaseModel):
    """Whom to tell of executions whatever their tasks say: of all tasks, or of those with one of the tags."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    on: Annotated[list[Notice], Field(min_length=1)] = [Notice.FAILURE, Notice.RECOVERY]
    channels: Annotated[list[Name], Field(min_length=1)]
    tags: list[str] = []


class NotifySettings(BaseModel):
    """All of `[notify]`. `public_url` is where people reach this server: messages link to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    public_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    channels: dict[Name, Channel] = {}
    rules: list[Rule] = []

    @field_validator("channels")
    @classmethod
    def _normal_names(cls, channels: dict[str, Channel]) -> dict[str, Channel]:
        return {unicodedata.normalize("NFC", name): channel for name, channel in channels.items()}

    @model_validator(mode="after")
    def _known_channels(self) -> NotifySettings:
        for rule in self.rules:
            for name in rule.channels:
                if name not in self.channels:
                    raise ValueError(
                        say(
                            "a rule names the channel {name!r}, which is not there: there are {known}",
                            name=name,
                            known=joined(", ", sorted(self.channels)) or say("none"),
                        )
                    )
        return self
