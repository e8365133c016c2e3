"""After a failed attempt: try again, and when?

Sources: SEMANTICS §7.3; `max_retries` counts the tries after the first (the origin gave one retry for three: fault 9).
"""

from __future__ import annotations

from datetime import timedelta

from zquant_flow.core.model import RetryPolicy


def may_retry(policy: RetryPolicy, retry_count: int) -> bool:
    """Whether one more try is left after `retry_count` retries."""
    return retry_count < policy.max_retries


def retry_delay(policy: RetryPolicy, retry_count: int, chance: float = 0.5) -> timedelta:
    """How long to wait before retry number `retry_count` + 1.

    Fixed without backoff, else interval x factor^retry_count, at most the cap, then moved by up to the share `jitter`
    of itself either way; `chance` in [0, 1) is the caller's random number.
    """
    backoff = policy.backoff
    seconds = policy.interval.total_seconds()
    if backoff is None:
        return timedelta(seconds=seconds)
    ceiling = backoff.cap.total_seconds() if backoff.cap else timedelta(days=365).total_seconds()
    try:
        grown = seconds * backoff.factor**retry_count
    except OverflowError:
        grown = ceiling
    bounded = min(grown, ceiling)
    return timedelta(seconds=bounded * (1 + backoff.jitter * (2 * chance - 1)))
