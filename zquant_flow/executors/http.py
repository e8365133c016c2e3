"""Which executor is `http`? `http_config` says what a task tells it, `http_request` does the work in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zquant_flow.executors.http_config import HttpConfig
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class HttpExecutor(Executor):
    name = "http"
    Config = HttpConfig

    def run(self, context: Context, config: HttpConfig) -> Any:
        """The answer, or the part of it that `result` names."""
        from zquant_flow.executors import ending
        from zquant_flow.executors.http_request import Request

        return ending.run(context, Request(context, config).carry_out())
