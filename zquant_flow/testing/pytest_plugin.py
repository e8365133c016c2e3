"""Which fixtures does pytest get from us? `zqf`, `zqf_harness`, and one for conformance suites.

pytest loads this at each of its starts, in the projects of all who have zquant-flow installed: nothing is imported before a
fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zquant_flow.testing.flow import Flow
    from zquant_flow.testing.harness import Harness

CHECKS = "zquant_flow.testing.checks"

if CHECKS not in sys.modules:
    pytest.register_assert_rewrite(CHECKS)  # a check that fails shows its values


@pytest.fixture
def zqf(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Flow]:
    """A real scheduler in a folder of its own: `zqf.run(definition)`, `zqf.fires("tasks/nightly.yaml", start, end)`.

    It starts when it is first used. Paths begin at pytest's root folder, whose `plugins/` counts.
    """
    from zquant_flow.testing.flow import Flow

    root = pytestconfig.rootpath
    with Flow(tmp_path / "zqf", root=root, plugins_dir=root / "plugins") as flow:
        yield flow


@pytest.fixture
def zqf_harness(tmp_path: Path) -> Iterator[Harness]:
    """An engine whose clock and whose attempts are in the hands of the test: nothing runs, and nothing waits."""
    from zquant_flow.testing.harness import Harness

    with Harness(tmp_path) as harness:
        yield harness


@pytest.fixture(scope="class")
def zqf_of_class(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """One real scheduler for all checks of a conformance suite."""
    with request.cls.made_in(tmp_path_factory.mktemp("conformance")) as flow:
        yield flow
