"""How far something is, and when it ends: by hand."""

from __future__ import annotations

import pytest

from zquant_flow.core.estimates import Shares, seconds_left


@pytest.mark.parametrize(
    ("elapsed", "share", "usual", "left"),
    [
        (30.0, 0.25, None, 90.0),
        (30.0, 0.25, 1000.0, 90.0),  # what was done says more than the past
        (10.0, 0.02, 100.0, 90.0),  # until it is next to nothing
        (10.0, 0.02, None, 490.0),
        (200.0, 0.0, 100.0, 0.0),
        (10.0, 0.0, None, None),
        (10.0, 1.0, None, 0.0),
    ],
)
def test_what_is_left_follows_from_what_was_done_or_from_the_past(
    elapsed: float, share: float, usual: float | None, left: float | None
) -> None:
    assert seconds_left(elapsed, share, usual) == pytest.approx(left)


def test_a_node_counts_by_what_it_took() -> None:
    shares = Shares.by_time(["a", "b"], {"a": 10.0, "b": 30.0})
    assert shares.share([]) == 0
    assert shares.share([(0, 50.0)]) == 0.125
    shares.end(0)
    shares.end(0)
    assert shares.share([]) == 0.25
    assert shares.share([(1, 50.0)]) == 0.625
    shares.end(1)
    assert shares.share([]) == 1


def test_an_unknown_node_counts_as_the_middle_of_the_others() -> None:
    shares = Shares.by_time(["a", "b", "c", "new"], {"a": 1.0, "b": 10.0, "c": 1000.0})
    shares.end(3)
    assert shares.share([]) == pytest.approx(10 / 1021)


def test_without_a_past_nodes_count_the_same_and_none_are_all() -> None:
    shares = Shares.by_time(["a", "b", "c", "d"], {})
    shares.end(2)
    assert shares.share([]) == 0.25
    assert Shares.by_time([], {}).share([]) == 1
