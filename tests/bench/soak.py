"""Does a server that works for an hour grow? `make soak`, or ARGS='--minutes 5 --rate 100'.

A real server fires so many tasks a second; the memory of all its processes is looked at every ten seconds. What it had
after the first sixth of the time, when all is warm, is held against what it has in the last sixth.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.bench.harness import Server, cpu_seconds, median, pss_megabytes, scratch, server

EVERY = 10.0
_PYTHON = """
from zquant_flow import task

{functions}
"""
_FUNCTION = """
@task(name="every-{number}", interval="1s", isolation="thread")
def every_{number}():
    return {number}
"""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=100, help="executions a second")
    asked = parser.parse_args(words)
    console = Console()
    with scratch() as folder:
        _write(folder, asked.rate)
        with server(folder) as live:
            samples = _watch(live, asked.minutes * 60, console)
            counted = _executions(live)
            expected = asked.rate * asked.minutes * 60
            share = cpu_seconds(live.processes()) / (asked.minutes * 60)
    sixth = max(1, len(samples) // 6)
    before, after = median(samples[sixth : 2 * sixth]), median(samples[-sixth:])
    growth = 100 * (after - before) / before
    console.print(f"executions   {counted:,} of {expected:,.0f}")
    console.print(f"processor    {100 * share:.0f} % of one core")
    console.print(f"memory       {before:.1f} MB -> {after:.1f} MB: {growth:+.1f} % (at most 5)")
    return 0 if growth <= 5 and counted >= 0.98 * expected else 1


def _write(folder: Path, rate: int) -> None:
    functions = "".join(_FUNCTION.format(number=number) for number in range(rate))
    (folder / "tasks" / "soak.py").write_text(_PYTHON.format(functions=functions))


def _watch(live: Server, seconds: float, console: Console) -> list[float]:
    samples: list[float] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(EVERY, left))
        samples.append(pss_megabytes(live.processes()))
        if len(samples) % 6 == 0:
            console.print(f"[dim]{left / 60:.0f} min to go, {samples[-1]:.1f} MB[/dim]")
    return samples


def _executions(live: Server) -> int:
    with live.client() as client:
        return int(client.get("/executions", params={"limit": 1, "status": "success"}).json()["total"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
