"""How are Python attempts carried?

By warm worker processes: `Alone` gives one an attempt at a time, `Shared` gives it many.
"""

from __future__ import annotations

from zquant_flow.runner.alone import Alone
from zquant_flow.runner.attempts import Attempts
from zquant_flow.runner.loop import Loop
from zquant_flow.runner.pool import IDLE_SECONDS, Parts
from zquant_flow.runner.processes import Processes
from zquant_flow.runner.shared import Shared
from zquant_flow.runner.strays import Strays


class Workers:
    """Both carriers of Python attempts."""

    def __init__(self, loop: Loop, processes: Processes, strays: Strays, env: dict[str, str]) -> None:
        self._parts = Parts(loop, processes, strays, env)
        self.alone = Alone(self._parts)
        self.shared = Shared(self._parts)

    def __len__(self) -> int:
        return len(self._parts.workers)

    def bind(self, attempts: Attempts) -> None:
        self.alone.attempts = self.shared.attempts = attempts

    def keep_warm(self, wanted: bool) -> None:
        """Whether workers without work stay for the next attempt; if not, those that wait end now."""
        for carrier in (self.alone, self.shared):
            carrier.idle.limit_seconds = IDLE_SECONDS if wanted else 0.0
            if not wanted:
                carrier.idle.end_all()
