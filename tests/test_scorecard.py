"""Every row of the scorecard names tests that are there, or says why there is none."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.bench import __main__ as _benches  # noqa: F401  (they register themselves)
from tests.bench.harness import BENCHES
from tests.faults.__main__ import PARTS

TESTS = Path(__file__).parent
PAGE = (TESTS / "SCORECARD.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in PAGE.splitlines()
    if re.match(r"\| [A-G]\d+ ", line)
]
SIZES = {"A": 10, "B": 12, "C": 9, "D": 11, "E": 10, "F": 7, "G": 15}
every_row = pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])


@cache
def names_in(path: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", (TESTS / path).read_text(encoding="utf-8"), re.MULTILINE))


def test_no_row_is_left_out() -> None:
    assert [row[0] for row in ROWS] == [
        f"{table}{number}" for table, size in SIZES.items() for number in range(1, size + 1)
    ]


@every_row
def test_the_names_in_a_row_are_there_or_it_says_why_not(row: list[str]) -> None:
    _, _, named, _, note = row
    tests = re.findall(r"`([^`]+)`", named)
    assert tests or note
    for test in tests:
        path, _, name = test.partition("::")
        assert name in names_in(path), test


def test_what_runs_a_row_at_full_scale_is_there() -> None:
    """Variables that tests read, benchmarks, and parts of `make faults`."""
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    for variable in re.findall(r"ZQUANT_FLOW_TEST_\w+", PAGE):
        assert f'"{variable}"' in sources, variable
    for arguments in re.findall(r'make bench ARGS="?([\w ]+)"?', PAGE):
        assert set(arguments.split()) <= BENCHES.keys()
    for part in re.findall(r"--only (\w+)", PAGE):
        assert part in PARTS
