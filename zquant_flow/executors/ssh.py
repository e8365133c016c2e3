"""Which executor is `ssh`? `ssh_config` says what a task tells it, `ssh_session` does the work in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zquant_flow.executors.ssh_config import SshConfig
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class SshExecutor(Executor):
    name = "ssh"
    Config = SshConfig

    def run(self, context: Context, config: SshConfig) -> dict[str, Any]:
        """`exit_status`, and the end of what it wrote."""
        from zquant_flow.executors import ending
        from zquant_flow.executors.ssh_session import Session

        return ending.run(context, Session(config).carry_out())
