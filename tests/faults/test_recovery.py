"""SCORECARD A4: after a sudden death it schedules again at once, and every attempt is soon shown as what it is.

The full scale of 10,000 files and 1,000 live attempts is `make bench ARGS=recovery`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.recovery import recovered

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_start_after_a_sudden_death_schedules_again_and_finds_every_attempt_as_it_is(
    tmp_path: Path,
) -> None:
    found = recovered(tmp_path / "world", files=300, runs=30)
    assert found.wrong == []
    assert found.until_scheduling < 10
    assert found.until_right < 60
