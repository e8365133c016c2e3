"""Which executor is `wait`? `wait_config` says what a task tells it, `wait_looks` does the work in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from zquant_flow.executors.wait_config import WaitConfig
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class WaitExecutor(Executor):
    name = "wait"
    Config = WaitConfig
    isolation: ClassVar[str] = "thread"

    def run(self, context: Context, config: WaitConfig) -> Any:
        """What was waited for; until it is there, each look ends with a wish to look again."""
        from zquant_flow.executors.wait_looks import NotYet, look

        context.checkpoint()
        seen = look(context, config)
        if isinstance(seen, NotYet):
            context.progress(message=f"waits for {seen.what}")
            context.defer(config.every_seconds if seen.seconds is None else seen.seconds)
        context.progress(percent=100, message="it is there")
        return seen.value
