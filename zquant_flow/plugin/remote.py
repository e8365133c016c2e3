"""How does an executor look after work that lives elsewhere: a job of a cluster, a query of a warehouse, a container?

It starts the work once, remembers a handle, and polls. Between two looks it has no place; a restart attaches again by the handle, and
starts nothing twice.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, ClassVar

from zquant_flow.plugin.contract import Executor

MOST_FAILURES = 5
"""So many polls in a row may raise before the attempt fails: a network may be away for a while."""


@dataclass(frozen=True, slots=True)
class Done:
    """The work has succeeded; `result` is a JSON value. Work that has failed raises."""

    result: Any = None


class JobFailed(Exception):
    """The work elsewhere has failed: raised by `poll`, and never tried again in this attempt."""


class RemoteExecutor(Executor):
    """Work that lives elsewhere. Subclasses write `start`, `poll` and `cancel`; their `Config` may have `poll_seconds`."""

    isolation: ClassVar[str] = "thread"
    poll_seconds: ClassVar[float] = 10.0
    """Seconds between two looks, where the config says nothing."""

    def start(self, context: Any, config: Any) -> Any:
        """Begin the work and return its handle: a JSON value of at most 64 KiB, by which it is found again.

        A crash between the start and the moment when the handle is kept would start it twice: name the work by
        `context.execution_id` and `context.attempt`, where the other side refuses a second one of a name.
        """
        raise NotImplementedError(f"executor {self.name!r} has no start()")

    def poll(self, context: Any, config: Any, handle: Any) -> Done | None:
        """None while it goes on; Done when it has succeeded. Raises JobFailed when it has failed; anything else is tried again."""
        raise NotImplementedError(f"executor {self.name!r} has no poll()")

    def cancel(self, context: Any, config: Any, handle: Any) -> None:
        """End the work: the attempt is to end."""

    def run(self, context: Any, config: Any) -> Any:
        kept = context.handle
        if kept is None:
            kept = {"handle": self.start(context, config), "failures": 0}
            context.remember(kept)
        try:
            done = self.poll(context, config, kept["handle"])
        except JobFailed:
            raise
        except Exception:
            self._bear(context, kept)
            done = None
        else:
            if kept["failures"]:
                context.remember({**kept, "failures": 0})
        if done is None:
            return context.defer(getattr(config, "poll_seconds", self.poll_seconds))
        return done.result

    def terminate(self, context: Any, config: Any) -> None:
        if context.handle is not None:
            self.cancel(context, config, context.handle["handle"])

    def _bear(self, context: Any, kept: dict[str, Any]) -> None:
        """The exception of a poll is borne, unless it was one too many."""
        if kept["failures"] + 1 >= MOST_FAILURES:
            raise
        context.logger.warning(
            "the poll has failed, and is tried again:\n%s", traceback.format_exc().rstrip()
        )
        context.remember({**kept, "failures": kept["failures"] + 1})
