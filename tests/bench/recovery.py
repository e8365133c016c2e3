"""How long does a start take after kill -9 with 10,000 task files and 1,000 live attempts?"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.harness import Figure, bench, scratch
from tests.faults.recovery import recovered


@bench
def recovery() -> Sequence[Figure]:
    with scratch() as folder:
        found = recovered(folder / "world", files=10_000, runs=1_000)
    where = "10,000 files and 1,000 live attempts, killed"
    return [
        Figure(f"{where}: scheduling again", found.until_scheduling, "s", 10),
        Figure(f"{where}: every attempt as it is", found.until_right, "s", 60),
        Figure(f"{where}: what is wrong in the end", len(found.wrong), "faults", 0),
    ]
