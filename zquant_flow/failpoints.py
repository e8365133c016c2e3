"""Where may a test let this process die? At named points, by `ZQUANT_FLOW_FAILPOINT=NAME:N`: at the N-th time there, SIGKILL.

A point stands where a crash could tear apart what belongs together: around commits, around the start of an attempt. Unarmed,
it costs one comparison. `POINTS` is what the fault tests go through.
"""

from __future__ import annotations

import os
import signal

from zquant_flow.environment import failpoint

POINTS = (
    "turn.decided",
    "commit.written",
    "turn.committed",
    "turn.acted",
    "register.decided",
    "register.saved",
    "runner.ordered",
    "runner.started",
    "runner.ended",
    "runner.acknowledged",
)

_name, _, _count = failpoint().partition(":")
_left = int(_count) if _count.isdecimal() else 1


def reached(point: str) -> None:
    """This process has come to that point."""
    global _left
    if point != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
