"""`make bench`: run all benchmarks, or those that are named, and print one table beside the targets."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.bench import (  # noqa: F401  (they register themselves)
    control_plane,
    housekeeping,
    latency,
    loading,
    plugged,
    recovery,
    several,
    simulations,
    throughput,
    workflows,
)
from tests.bench.harness import BENCHES, Figure


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
        return 2
    console = Console(width=110)
    figures: list[Figure] = []
    for name in names or BENCHES:
        console.print(f"[dim]{name} ...[/dim]")
        figures += BENCHES[name]()
    table = Table("figure", "measured", "target", "")
    for figure in figures:
        sign = "≥" if figure.least else "≤"
        mark = "[green]✔[/green]" if figure.reached else "[red]✘[/red]"
        table.add_row(
            figure.what,
            f"{figure.value:,.3g} {figure.unit}"
            if figure.value < 100
            else f"{figure.value:,.0f} {figure.unit}",
            f"{sign} {figure.target:,g} {figure.unit}",
            mark,
        )
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
