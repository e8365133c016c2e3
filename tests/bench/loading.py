"""How fast do files become tasks?"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.bench.harness import Figure, bench, median, percentile, scratch, server, until


def _fill(folder: Path, count: int) -> None:
    for number in range(count):
        text = f'name: task-{number}\ncron: "{number % 60} {number % 24} * * 1-5"\ncommand: echo {number}\n'
        (folder / "tasks" / f"t{number}.yaml").write_text(text)


def _ready_seconds(folder: Path) -> float:
    """From the start of `serve` until it is ready, which it is when all files are loaded."""
    with server(folder) as made:
        return made.seconds_to_ready


@bench
def first_start() -> Sequence[Figure]:
    empty, figures = [], []
    for _ in range(5):
        with scratch() as folder:
            _fill(folder, 1)
            empty.append(_ready_seconds(folder))
    base = median(empty)
    for count, target in ((1_000, 0.5), (10_000, 4.0)):
        seconds = []
        for _ in range(3):
            with scratch() as folder:
                _fill(folder, count)
                seconds.append(_ready_seconds(folder))
                restarts = [_ready_seconds(folder) for _ in range(3)] if count == 10_000 else []
        figures.append(
            Figure(f"{count:,} files, first start, beyond an empty one", median(seconds) - base, "s", target)
        )
    figures.append(Figure("10,000 files, restart, beyond an empty one", median(restarts) - base, "s", 1.5))
    return figures


def _drop(client: httpx.Client, folder: Path, number: int) -> float:
    """Seconds from the rename of a file until the API lists its task."""
    name = f"dropped-{number}"
    new = folder / f"{name}.yaml"
    new.write_text(f'name: {name}\ncron: "0 18 * * 1-5"\ncommand: echo\n')
    begin = time.perf_counter()
    os.rename(new, folder / "tasks" / new.name)
    until(lambda: client.get("/tasks", params={"q": name, "limit": 1}).json()["total"])
    return time.perf_counter() - begin


@bench
def dropped_file() -> Sequence[Figure]:
    figures = []
    for count in (0, 10_000):
        with scratch() as folder:
            _fill(folder, count)
            with server(folder) as made, made.client() as client:
                _drop(client, folder, 0)
                milliseconds = [1000 * _drop(client, folder, number) for number in range(1, 41)]
        where = f", {count:,} files there" if count else ""
        if not count:
            figures.append(Figure("file moved in until listed, p50", median(milliseconds), "ms", 15))
        target = 100 if count else 30
        figures.append(
            Figure(f"file moved in until listed, p95{where}", percentile(milliseconds, 0.95), "ms", target)
        )
    return figures
