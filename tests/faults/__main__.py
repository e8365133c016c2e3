"""`make faults`: a thousand sudden deaths on every database, and the table of what was found.

`make faults ARGS="--rounds 100 --kinds sqlite --seed 7"`. Each world lives through 25 rounds; every line names the seed to
repeat it with. `--only network restarts locks` lives through those parts alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.databases import KINDS, fresh_database
from tests.faults.checker import Report
from tests.faults.locks import served_while_held
from tests.faults.network import over_a_restarting_server, through_a_bad_network
from tests.faults.trials import killed_at_random, killed_in_turn
from zquant_flow.failpoints import POINTS

ROUNDS_OF_A_WORLD = 25
TOLD_SECONDS = 10.0
"""SCORECARD C1: a lock that lasts is told within them."""
PARTS = ("kills", "pairs", "network", "restarts", "locks")
_KINDS = ("lost", "duplicate", "stuck", "unrecorded", "orphans", "damage")


def main(arguments: Sequence[str]) -> int:
    """Run all, print the table; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--rounds", type=int, default=1000, help="random kills on each database")
    parser.add_argument("--points", type=int, default=20, help="deaths at each named point on each database")
    parser.add_argument("--pairs", type=int, default=120, help="kills of one of two schedulers")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--network", type=int, default=120, help="calamities of the network to PostgreSQL")
    parser.add_argument("--restarts", type=int, default=90, help="restarts and crashes of PostgreSQL")
    parser.add_argument(
        "--locks",
        type=float,
        nargs="*",
        default=[1, 30, 300],
        help="seconds that an SQLite file is locked for",
    )
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="these parts alone")
    wanted = parser.parse_args(arguments)
    console = Console(width=140)
    table = Table("what", "rounds", "due instants", "executions", "attempts", *_KINDS, "minutes")
    clean = True
    for kind in wanted.kinds if "kills" in wanted.only else ():
        for what, rounds, points in (
            (f"{kind}: killed at random", wanted.rounds, ()),
            (f"{kind}: at each of {len(POINTS)} points", wanted.points * len(POINTS), POINTS),
        ):
            begin = time.monotonic()
            reports = _run(console, kind, what, rounds, points, wanted.seed)
            clean &= _add(table, what, rounds, reports, begin)
    for part in wanted.only:
        if part in _TRIALS and ("sqlite" if part == "locks" else "postgresql") in wanted.kinds:
            clean &= _TRIALS[part](console, table, wanted)
    console.print(table)
    return 0 if clean else 1


def _pairs(console: Console, table: Table, wanted: Namespace) -> bool:
    def lived(root: Path, url: str) -> Report:
        return killed_in_turn(root / "pair", rounds=wanted.pairs, seed=wanted.seed, url=url)

    what = "postgresql: two schedulers, one killed each 5 s"
    return _one(console, table, what, wanted.pairs, lived)


def _network(console: Console, table: Table, wanted: Namespace) -> bool:
    def lived(root: Path, url: str) -> Report:
        return through_a_bad_network(root / "world", rounds=wanted.network, seed=wanted.seed, url=url)

    what = "postgresql: cut, slow by 5 s, answers to COMMIT lost"
    return _one(console, table, what, wanted.network, lived)


def _restarts(console: Console, table: Table, wanted: Namespace) -> bool:
    def lived(root: Path, url: str) -> Report:
        return over_a_restarting_server(root / "world", rounds=wanted.restarts, seed=wanted.seed)

    what = "postgresql: restarted, or a backend killed, each 5 to 35 s"
    return _one(console, table, what, wanted.restarts, lived)


def _locks(console: Console, table: Table, wanted: Namespace) -> bool:
    """Each lock that is held for longer than ten seconds has to be told within them."""

    def lived(root: Path, seconds: float) -> Report:
        held = served_while_held(root / "world", seconds=seconds, seed=wanted.seed)
        if seconds > TOLD_SECONDS and (held.told_after is None or held.told_after > TOLD_SECONDS):
            held.report.damage.append(f"told after {held.told_after} s")
        return held.report

    clean = True
    for seconds in wanted.locks:
        what = f"sqlite: locked by another process for {seconds:g} s"
        clean &= _one(console, table, what, 1, lambda root, url, seconds=seconds: lived(root, seconds))  # type: ignore[misc]
    return clean


_TRIALS = {"pairs": _pairs, "network": _network, "restarts": _restarts, "locks": _locks}


def _one(
    console: Console, table: Table, what: str, rounds: int, lived: Callable[[Path, str], Report]
) -> bool:
    """One world, and its row of the table; whether nothing was found."""
    begin = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="zqf-faults-"))
    with fresh_database("sqlite" if what.startswith("sqlite") else "postgresql", root) as url:
        report = lived(root, url)
    console.print(f"[dim]{what}: {rounds} rounds: {report.faults or 'clean'}[/dim]")
    if report.faults:
        console.print(f"its world stays in {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    return _add(table, what, rounds, [report], begin)


def _add(table: Table, what: str, rounds: int, reports: Sequence[Report], begin: float) -> bool:
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
    return not any(report.faults for report in reports)


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
