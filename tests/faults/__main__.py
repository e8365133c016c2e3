"""`make faults`: a thousand sudden deaths on every database, and the table of what was found.

`make faults ARGS="--rounds 100 --kinds sqlite --seed 7"`. Each world lives through 25 rounds; every line names the seed to
repeat it with.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.databases import KINDS, fresh_database
from tests.faults.checker import Report
from tests.faults.trials import killed_at_random, killed_in_turn
from zquant_flow.failpoints import POINTS

ROUNDS_OF_A_WORLD = 25
_KINDS = ("lost", "duplicate", "stuck", "unrecorded", "orphans", "damage")


def main(arguments: Sequence[str]) -> int:
    """Run all, print the table; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--rounds", type=int, default=1000, help="random kills on each database")
    parser.add_argument("--points", type=int, default=20, help="deaths at each named point on each database")
    parser.add_argument("--pairs", type=int, default=120, help="kills of one of two schedulers")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(arguments)
    console = Console(width=140)
    table = Table("what", "rounds", "due instants", "executions", "attempts", *_KINDS, "minutes")
    clean = True
    for kind in wanted.kinds:
        for what, rounds, points in (
            (f"{kind}: killed at random", wanted.rounds, ()),
            (f"{kind}: at each of {len(POINTS)} points", wanted.points * len(POINTS), POINTS),
        ):
            begin = time.monotonic()
            reports = _run(console, kind, what, rounds, points, wanted.seed)
            clean &= not any(report.faults for report in reports)
            table.add_row(
                what,
                str(rounds),
                *(
                    f"{sum(getattr(report, name) for report in reports):,}"
                    for name in ("instants", "executions", "attempts")
                ),
                *(_zero(sum(len(getattr(report, name)) for report in reports)) for name in _KINDS),
                f"{(time.monotonic() - begin) / 60:.1f}",
            )
    if "postgresql" in wanted.kinds and wanted.pairs:
        clean &= _pairs(console, table, wanted.pairs, wanted.seed)
    console.print(table)
    return 0 if clean else 1


def _pairs(console: Console, table: Table, rounds: int, seed: int) -> bool:
    begin = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="zqf-faults-"))
    with fresh_database("postgresql", root) as url:
        report = killed_in_turn(root / "pair", rounds=rounds, seed=seed, url=url)
    console.print(f"[dim]two schedulers: {rounds} kills, seed {seed}: {report.faults or 'clean'}[/dim]")
    table.add_row(
        "postgresql: two schedulers, one killed each 5 s",
        str(rounds),
        *(f"{getattr(report, name):,}" for name in ("instants", "executions", "attempts")),
        *(_zero(len(getattr(report, name))) for name in _KINDS),
        f"{(time.monotonic() - begin) / 60:.1f}",
    )
    if not report.faults:
        shutil.rmtree(root, ignore_errors=True)
    return not report.faults


def _run(
    console: Console, kind: str, what: str, rounds: int, points: Sequence[str], seed: int
) -> list[Report]:
    reports = []
    for number, start in enumerate(range(0, rounds, ROUNDS_OF_A_WORLD)):
        root = Path(tempfile.mkdtemp(prefix="zqf-faults-"))
        count = min(ROUNDS_OF_A_WORLD, rounds - start)
        with fresh_database(kind, root) as url:
            report = killed_at_random(
                root / "world",
                rounds=count,
                seed=seed + number,
                url=None if kind == "sqlite" else url,
                points=points,
            )
        reports.append(report)
        found = report.faults or "clean"
        console.print(f"[dim]{what}: {start + count} of {rounds}, seed {seed + number}: {found}[/dim]")
        if report.faults:
            console.print(f"its world stays in {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)
    return reports


def _zero(count: int) -> str:
    return "[green]0[/green]" if count == 0 else f"[red]{count}[/red]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
