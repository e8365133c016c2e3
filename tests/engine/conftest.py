"""An engine whose clock and attempts are in the test's hands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from zquant_flow.core.model import Action, RetryPolicy, Rule, Schedule
from zquant_flow.testing import Harness

EVERY_MINUTE = Schedule(rules=(Rule(cron="* * * * *"),))


def retrying(times: int, seconds: int = 60) -> Action:
    """`true`, tried again so often at this interval."""
    return Action(
        executor="command",
        config={"command": "true"},
        retry=RetryPolicy(max_retries=times, interval=timedelta(seconds=seconds)),
    )


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness
