"""What do plugins cost? A hundred at the start, twenty that observe while nodes go through."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from tests.bench.harness import Figure, bench, median, run_task, scheduler, scratch, server
from tests.bench.throughput import _WIDE
from zquant_flow.executors import builtin
from zquant_flow.plugin import hookimpl
from zquant_flow.plugin.events import AttemptEnd, ExecutionChange
from zquant_flow.plugin.plugins import Plugins, load_plugins
from zquant_flow.plugin.sources import Sources

_PLUGIN = """
from zquant_flow.plugin import Config, Executor

class Greet{number}(Executor):
    name = "greet{number}"

    class Config(Config):
        who: str = "world"
        times: int = 1

    def run(self, context, config):
        return config.who * config.times
"""


class Listener:
    """An observer that only takes what it gets."""

    @hookimpl
    def executions_changed(self, changes: Sequence[ExecutionChange]) -> None:
        self.heard = len(changes)

    @hookimpl
    def attempts_ended(self, attempts: Sequence[AttemptEnd]) -> None:
        self.heard = len(attempts)


class Counter:
    """An observer that looks at each fact."""

    def __init__(self) -> None:
        self.failed = 0
        self.seconds = 0.0

    @hookimpl
    def executions_changed(self, changes: Sequence[ExecutionChange]) -> None:
        self.failed += sum(change.status == "failed" for change in changes)

    @hookimpl
    def attempts_ended(self, attempts: Sequence[AttemptEnd]) -> None:
        self.seconds += sum(attempt.duration_seconds or 0 for attempt in attempts)


def _observers(kind: type, number: int) -> Plugins:
    made = {f"observer-{n}": kind() for n in range(number)}
    return load_plugins(Sources(entry_points=False), {"builtin": builtin, **made})


@bench
def observers() -> Sequence[Figure]:
    """Nodes a second with 20 observers beside none: rounds in turn in one scheduler, the median of their ratios."""
    size = 10_000
    ratios: dict[type, list[float]] = {Listener: [], Counter: []}
    with scratch() as folder:
        (folder / "tasks" / "wide.py").write_text(_WIDE.format(isolation="thread", size=size))
        with scheduler(folder, slots=64) as made:
            run_task(made, "warm")
            for _ in range(7):
                made.engine.observing.use(_observers(Listener, 0))
                alone = run_task(made, "wide")[1]
                for kind, found in ratios.items():
                    made.engine.observing.use(_observers(kind, 20))
                    found.append(run_task(made, "wide")[1] / alone)
    more = {kind: 100 * (median(found) - 1) for kind, found in ratios.items()}
    return [
        Figure("10,000 nodes with 20 observers, more time than without", more[Listener], "%", 5.0),
        Figure("the same, each looking at every fact", more[Counter], "%", 5.0),
    ]


def _write_packages(site: Path, number: int) -> None:
    """So many packages with a plugin each."""
    for n in range(number):
        package = f"bench_plugin_{n}"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[zquant_flow]\n{package} = {package}\n")
        (site / f"{package}.py").write_text(_PLUGIN.format(number=n))


def _ready_seconds(place: Path, path: str) -> float:
    (place / "tasks").mkdir(parents=True)
    with patch.dict(os.environ, {"PYTHONPATH": path}), server(place) as made:
        return made.seconds_to_ready


@bench
def plugins_at_start() -> Sequence[Figure]:
    """`serve` until ready with 100 installed plugins, an executor each, beside none; pairs, the median of their differences."""
    more = []
    with scratch() as folder:
        _write_packages(folder / "site", 100)
        for n in range(10):
            without = _ready_seconds(folder / f"{n}-without", "")
            more.append(_ready_seconds(folder / f"{n}-with", str(folder / "site")) - without)
    return [Figure("100 installed plugins, more time to start", 1000 * median(more[1:]), "ms", 50.0)]
