"""How is a command described? The runner itself spawns it: no Python worker stands in between (SEMANTICS §5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from zquant_flow.plugin.contract import Executor


class CommandConfig(BaseModel):
    """`command`: a list is exact; a string is split into words, or run by a shell where it has shell operators."""

    model_config = ConfigDict(extra="forbid")

    command: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    shell: str | Literal[False] | None = None


class CommandExecutor(Executor):
    name = "command"
    Config = CommandConfig
