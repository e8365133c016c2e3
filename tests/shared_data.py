"""Where are inputs of public test suites, which are read and never copied? In `../shared/data`, or where a variable says.

A test that reads them is skipped, with a message, where they are not.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(
    os.environ.get("ZQUANT_FLOW_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where this part of the data is not there."""
    return pytest.mark.skipif(
        not (DATA / name).exists(), reason=f"no {name} in {DATA} (ZQUANT_FLOW_TEST_DATA)"
    )
