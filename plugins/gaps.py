"""Which days does a file of quotes lack? An executor for tasks such as

    name: quotes-are-whole
    executor: gaps
    config: {file: market/data/daily_bars.csv}

A day counts where at least one symbol has a row for it; a symbol lacks it where it has rows both before and after. So no calendar
is needed, and a symbol that was listed later or is gone lacks nothing.
"""

from __future__ import annotations

import csv
from collections import defaultdict

from pydantic import Field

from zquant_flow import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.plugin import Config, Executor


class GapsConfig(Config):
    """`file` is relative to the working folder. More gaps than `most` are a failure."""

    file: str
    symbol: str = "symbol"
    day: str = "day"
    most: int = Field(default=0, ge=0)


class Gaps(Executor):
    name = "gaps"
    Config = GapsConfig

    def run(self, context: Context, config: GapsConfig) -> dict[str, object]:
        """The days that are missing, by symbol."""
        days: defaultdict[str, set[str]] = defaultdict(set)
        with open(config.file, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {config.symbol, config.day} - set(rows.fieldnames or ()):
                raise Failure("column_missing", f"{config.file} has no column {', '.join(sorted(missing))}")
            for row in context.track(rows, config.file):
                days[row[config.symbol]].add(row[config.day])
        traded = sorted(set().union(*days.values()))
        gaps = {
            symbol: lacking
            for symbol, own in sorted(days.items())
            if (lacking := [day for day in traded if min(own) < day < max(own) and day not in own])
        }
        for symbol, lacking in gaps.items():
            context.logger.warning("%s lacks %s", symbol, ", ".join(lacking))
        if (count := sum(map(len, gaps.values()))) > config.most:
            raise Failure(
                "gaps", f"{count} days are missing, of {len(gaps)} symbols: {', '.join(gaps)}"[:500]
            )
        return {"symbols": len(days), "days": len(traded), "gaps": gaps}
