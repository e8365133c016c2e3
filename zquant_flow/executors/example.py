"""The origin's demonstration task: steps with live progress, and success by chance."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class ExampleConfig(BaseModel):
    """`success_rate` is the chance from 0 to 1 that the last step does not fail."""

    model_config = ConfigDict(extra="forbid")

    duration_seconds: Annotated[float, Field(ge=0, le=86_400)] = 3.0
    success_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    message: str = "example"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 10


class ExampleExecutor(Executor):
    name = "example"
    Config = ExampleConfig

    def run(self, context: Context, config: ExampleConfig) -> dict[str, object]:
        """Take `duration_seconds` in `steps` steps; raises RuntimeError where chance says so."""
        pause = config.duration_seconds / config.steps
        for step in context.track(range(config.steps), "steps"):
            context.cancelled.wait(pause)
            print(f"{config.message}: step {step + 1} of {config.steps}")  # noqa: T201  (this is its log)
        if random.random() >= config.success_rate:  # noqa: S311
            raise RuntimeError(f"{config.message}: failed by chance (success_rate {config.success_rate})")
        return {"message": config.message, "steps": config.steps}
