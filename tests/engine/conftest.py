"""An engine whose clock and attempts are in the test's hands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.databases import KINDS, fresh_database
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


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    with fresh_database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def h(tmp_path: Path, url: str) -> Iterator[Harness]:
    with Harness(tmp_path, url=url) as harness:
        yield harness
