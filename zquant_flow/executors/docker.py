"""Which executor is `docker`? `docker_config` says what a task tells it, `docker_container` does the work in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zquant_flow.executors.docker_config import DockerConfig
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from zquant_flow.executors.context import Context


class DockerExecutor(Executor):
    name = "docker"
    Config = DockerConfig

    def run(self, context: Context, config: DockerConfig) -> dict[str, Any]:
        """`exit_code`, and the end of what it wrote."""
        from zquant_flow.executors.docker_container import Job

        return Job(context, config).carry_out()
