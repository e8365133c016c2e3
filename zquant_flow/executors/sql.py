"""Which executor is `sql`? `sql_config` says what a task tells it, `sql_work` does the work in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zquant_flow.executors.sql_config import SqlConfig
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class SqlExecutor(Executor):
    name = "sql"
    Config = SqlConfig

    def run(self, context: Context, config: SqlConfig) -> dict[str, Any]:
        """`columns`, `rows` and `row_count` of the last statement that gives rows."""
        from zquant_flow.executors.sql_work import Work

        return Work(context, config).carry_out()
