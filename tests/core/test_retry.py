"""After a failed attempt: how often again, and after how long (SCORECARD E9). Values by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from zquant_flow.core.model import Backoff, RetryPolicy
from zquant_flow.core.retry import may_retry, retry_delay


@pytest.mark.parametrize(
    ("allowed", "done", "more"), [(0, 0, False), (1, 0, True), (1, 1, False), (3, 2, True)]
)
def test_retries_are_those_after_the_first_try(allowed: int, done: int, more: bool) -> None:
    assert may_retry(RetryPolicy(max_retries=allowed), done) is more


@pytest.mark.parametrize("done", [0, 1, 50])
def test_a_fixed_wait_stays_as_it_is(done: int) -> None:
    assert retry_delay(RetryPolicy(interval=timedelta(seconds=7)), done) == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("done", "seconds"), [(0, 10.0), (1, 20.0), (2, 40.0), (3, 60.0), (4, 60.0), (5000, 60.0)]
)
def test_a_growing_wait_doubles_up_to_its_cap(done: int, seconds: float) -> None:
    policy = RetryPolicy(
        interval=timedelta(seconds=10), backoff=Backoff(factor=2.0, cap=timedelta(minutes=1))
    )
    assert retry_delay(policy, done).total_seconds() == seconds


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 7.5), (0.5, 10.0), (0.75, 11.25)])
def test_jitter_moves_the_wait_either_way_by_its_share(chance: float, seconds: float) -> None:
    policy = RetryPolicy(interval=timedelta(seconds=10), backoff=Backoff(factor=1.0, jitter=0.25))
    assert retry_delay(policy, 0, chance).total_seconds() == seconds


def test_without_a_cap_no_wait_is_longer_than_a_year() -> None:
    policy = RetryPolicy(interval=timedelta(days=1), backoff=Backoff(factor=10.0))
    assert retry_delay(policy, 400) == timedelta(days=365)
