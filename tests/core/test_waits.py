"""What a task waits for: all of it, within its window, each arrival once; held against a naive model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zquant_flow.core.status import Status
from zquant_flow.core.waits import On, Signal, arrived

HOUR = 3_600_000_000


def signal(source: str, at: int, execution: int = 1) -> Signal:
    return Signal(source, at, execution)


def test_one_source_is_complete_at_once() -> None:
    assert arrived(("a",), HOUR, {}, signal("a", 5)) == ({}, (signal("a", 5),))


def test_all_sources_are_needed_and_used_once() -> None:
    kept, complete = arrived(("a", "b"), HOUR, {}, signal("b", 1))
    assert complete is None
    kept, complete = arrived(("a", "b"), HOUR, kept, signal("a", 2))
    assert (kept, complete) == ({}, (signal("a", 2), signal("b", 1)))
    assert arrived(("a", "b"), HOUR, kept, signal("a", 3))[1] is None


def test_of_each_source_the_newest_counts() -> None:
    kept, _ = arrived(("a", "b"), HOUR, {}, signal("a", 1, 10))
    kept, _ = arrived(("a", "b"), HOUR, kept, signal("a", 2, 11))
    assert arrived(("a", "b"), HOUR, kept, signal("b", 3, 12))[1] == (signal("a", 2, 11), signal("b", 3, 12))


@pytest.mark.parametrize(("gap", "complete"), [(HOUR, True), (HOUR + 1, False)])
def test_what_is_older_than_the_window_is_forgotten(gap: int, complete: bool) -> None:
    kept, _ = arrived(("a", "b"), HOUR, {}, signal("a", 0))
    assert (arrived(("a", "b"), HOUR, kept, signal("b", gap))[1] is not None) is complete


def test_without_a_window_all_ages_count() -> None:
    kept, _ = arrived(("a", "b"), None, {}, signal("a", 0))
    assert arrived(("a", "b"), None, kept, signal("b", 1000 * HOUR))[1] is not None


@pytest.mark.parametrize(
    ("on", "takes"),
    [
        (On.SUCCESS, {Status.SUCCESS, Status.COMPLETED}),
        (On.FAILURE, {Status.FAILED, Status.TERMINATED}),
        (On.EITHER, {Status.SUCCESS, Status.COMPLETED, Status.FAILED, Status.TERMINATED}),
    ],
)
def test_which_ends_count(on: On, takes: set[Status]) -> None:
    ends = (Status.SUCCESS, Status.COMPLETED, Status.FAILED, Status.TERMINATED, Status.SKIPPED)
    assert {status for status in ends if on.takes(status)} == takes


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * HOUR)), max_size=30))
def test_it_fires_as_often_as_a_naive_model_says(events: list[tuple[str, int]]) -> None:
    events.sort(key=lambda event: event[1])
    kept, fired = {}, []
    log: list[tuple[str, int]] = []
    expected = []
    for source, at in events:
        kept, complete = arrived(("a", "b", "c"), HOUR, kept, signal(source, at))
        if complete is not None:
            fired.append(at)
        log.append((source, at))
        recent = {other for other, when in log if at - when <= HOUR}
        if recent == {"a", "b", "c"}:
            expected.append(at)
            log.clear()
    assert fired == expected
