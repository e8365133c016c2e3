"""How is described what an attempt waits for? `wait_looks` looks whether it is there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from zquant_flow.definitions.durations import parse_duration
from zquant_flow.executors.http_config import HttpConfig
from zquant_flow.executors.sql_config import SqlConfig
from zquant_flow.wording import say

KINDS = ("file", "time", "http", "sql", "task")
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
"""A time of day, as `time` has it."""
_OF_UNTIL = {"every_seconds", "at_most_seconds"}


def _readable(time: str) -> str:
    if "{{" not in time and CLOCK.fullmatch(time) is None:
        try:
            datetime.fromisoformat(time)
        except ValueError:
            raise ValueError(
                say(
                    "time is HH:MM, or an instant such as 2026-01-05T09:30:00+08:00, and not {time!r}",
                    time=time,
                )
            ) from None
    return time


Text = Annotated[str, Field(min_length=1, max_length=1000)]
Time = Annotated[str, BeforeValidator(_readable), WithJsonSchema({"type": "string"})]
Since = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "number"]}),
    Field(gt=timedelta()),
]


class WaitConfig(BaseModel):
    """One of `file`, `time`, `http`, `sql` and `task`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    file: Text | None = None
    time: Time | None = None
    http: HttpConfig | None = None
    sql: SqlConfig | None = None
    task: Text | None = None
    since: Since | None = None
    every_seconds: Annotated[float, Field(ge=1, le=86_400)] = 30

    @model_validator(mode="after")
    def _is_one(self) -> WaitConfig:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError(say("wait for one of file, time, http, sql and task"))
        if self.since is not None and self.task is None:
            raise ValueError(say("since goes with task"))
        until = self.http.until if self.http is not None else None
        if until is not None and _OF_UNTIL & until.model_fields_set:
            raise ValueError(
                say(
                    "say every_seconds beside http, not in its until; the task's timeout says how long at most"
                )
            )
        return self
