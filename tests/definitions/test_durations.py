from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zquant_flow.definitions.durations import parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("1d 2h 3m 4s", 93_784),
        (" 1.5h ", 5400),
        (timedelta(minutes=2), 120),
    ],
)
def test_seconds_and_units_are_durations(written, seconds):
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    ["", " ", "5 parsecs", "m5", "30m1h", "1h1h", "12:30", "-5s", "1e3", "٣s", True, None, [5], {}, "9" * 50],
)
def test_anything_else_is_refused_with_the_way_out(written):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize("written", [-1, float("nan"), float("inf"), 10**12, "99999999d", 10**400])
def test_what_no_clock_can_count_is_out_of_range(written):
    with pytest.raises(ValueError, match="out of range"):
        parse_duration(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_any_value_gives_a_duration_or_a_value_error(value):
    try:
        assert parse_duration(value) >= timedelta(0)
    except ValueError:
        pass
