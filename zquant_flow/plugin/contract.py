"""What must an executor be?

One class: a name, a pydantic model of its config, and `run`. Validation, JSON Schema, retries, timeouts, logs, progress
and termination come with it. `run` is called in a worker process under the runner, never in the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from zquant_flow.core.model import Isolation


class Config(BaseModel):
    """What a task says under `config:`. Unknown keys are refused; it is built when it is first used, which keeps a start short."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class Executor:
    """Knows one kind of work. Subclasses set `name` and `Config` and write `run`."""

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]] = Config
    isolation: ClassVar[Isolation | str] = "process"
    """What holds for tasks that don't say: `process`, or `thread` for work that only waits for others."""

    takes_results: ClassVar[bool] = False
    """Whether `context.results` has the results of the nodes before."""

    def run(self, context: Any, config: Any) -> Any:
        """Do the work and return a JSON value; raise to fail. May be `async`. `context` is `zquant_flow.Context`."""
        raise NotImplementedError(f"executor {self.name!r} has no run()")

    def terminate(self, context: Any, config: Any) -> None:
        """End what `run` has begun elsewhere; `context.handle` finds it. Called after `run`, when the attempt is to end, in the time of its grace.

        Not when a server stops that is to go on with it: a start finds the handle again.
        """

    @staticmethod
    def command_line(config: Any) -> Sequence[str]:
        """The words of a command that does the work, for an executor that writes this in place of `run`; raises to fail.

        Pure and quick: it is called in the control plane, when an attempt starts. What commands have comes with it: a process
        group, exit codes, pause by SIGSTOP, ZQUANT_FLOW_OUTPUT, earlier results in the environment.
        """
        raise NotImplementedError("this executor is no command line")

    @classmethod
    def entry(cls) -> str:
        """Where a worker finds this class: `module:Class`."""
        return f"{cls.__module__}:{cls.__qualname__}"


class Configs(dict[str, type[BaseModel]]):
    """The config model of each executor by its name, and what holds for tasks that don't say."""

    isolations: Mapping[str, str]
    """By name, of those that have an `isolation` of their own."""

    @classmethod
    def of(cls, executors: Mapping[str, type[Executor]]) -> Configs:
        configs = cls({name: kind.Config for name, kind in executors.items()})
        configs.isolations = {
            name: str(kind.isolation)
            for name, kind in executors.items()
            if kind.isolation != Executor.isolation
        }
        return configs
