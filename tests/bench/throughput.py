"""How fast do nodes go through? Workflows of Python functions and commands, beside what the machine can do bare."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from pathlib import Path
from random import Random

from tests.bench.harness import Figure, bench, median, run_task, scheduler, scratch
from tests.databases import fresh_database
from zquant_flow.store import queries

_WIDE = """
from zquant_flow import task, workflow

@task(isolation="{isolation}")
def noop():
    pass

@workflow(workflow_type="parallel")
def wide():
    for number in range({size}):
        noop().named(f"n{{number}}")

@workflow(workflow_type="parallel")
def warm():
    for number in range(300):
        noop().named(f"n{{number}}")
"""

_FIB = """
import time
from zquant_flow import task, workflow

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@task
def work(n: int):
    begin = time.perf_counter()
    fib(n)
    return time.perf_counter() - begin

@workflow
def chain(n: int = {n}):
    before = None
    for number in range({size}):
        node = work(n).named(f"n{{number}}")
        if number:
            node.after(before)
        before = node
"""


def _rate(isolation: str, size: int, slots: int, rounds: int = 3, url: str | None = None) -> float:
    """Nodes a second of a parallel workflow of no-op Python nodes, warm; the median of the rounds."""
    with scratch() as folder:
        (folder / "tasks" / "wide.py").write_text(_WIDE.format(isolation=isolation, size=size))
        with scheduler(folder, slots=slots, url=url) as made:
            run_task(made, "warm")
            seconds = []
            for _ in range(rounds):
                execution, took = run_task(made, "wide")
                assert queries.execution_row(made.database, execution).status == "success"
                seconds.append(took)
    return size / median(seconds)


@bench
def thread_nodes() -> Sequence[Figure]:
    return [
        Figure(
            "10,000 no-op nodes, isolation thread, 64 slots",
            _rate("thread", 10_000, 64),
            "nodes/s",
            8_000,
            True,
        )
    ]


_EACH = """
from zquant_flow import item, task, workflow

@task(isolation="thread")
def double(number):
    return 2 * number

@workflow(workflow_type="parallel")
def wide():
    double(number=item).for_each(range({size}))

@workflow(workflow_type="parallel")
def warm():
    double(number=item).for_each(range(300))
"""


@bench
def items() -> Sequence[Figure]:
    """`for_each` over 10,000 items, each with an argument and a result."""
    size, seconds = 10_000, []
    with scratch() as folder:
        (folder / "tasks" / "wide.py").write_text(_EACH.format(size=size))
        with scheduler(folder, slots=64) as made:
            run_task(made, "warm")
            for _ in range(3):
                execution, took = run_task(made, "wide")
                root = queries.execution_row(made.database, execution)
                [fan] = queries.children_of(made.database, root)
                assert json.loads(fan.result)[-1] == 2 * (size - 1)
                seconds.append(took)
    return [
        Figure("for_each over 10,000 items, isolation thread", size / median(seconds), "items/s", 5_000, True)
    ]


_LAYERS = """
import time
from zquant_flow import task, workflow

@task(isolation="thread")
def nap(seconds: float):
    time.sleep(seconds)

@workflow(workflow_type="parallel")
def layered():
    made = []
    for seconds, before in {nodes!r}:
        made.append(nap(seconds).named(f"n{{len(made)}}").after(*(made[other] for other in before)))
"""


@bench
def makespan() -> Sequence[Figure]:
    """A random layered workflow against what list scheduling would need for it with the same slots, 1 ms a node aside."""
    slots, shares = 8, []
    for seed in range(3):
        nodes = _layered(Random(seed))
        with scratch() as folder:
            (folder / "tasks" / "layered.py").write_text(_LAYERS.format(nodes=nodes))
            with scheduler(folder, slots=slots) as made:
                run_task(made, "layered")  # its workers are warm from here on
                _, took = run_task(made, "layered")
        shares.append((took - 0.001 * len(nodes)) / _ideal(nodes, slots))
    return [Figure("300 layered nodes on 8 slots, beside list scheduling", median(shares), "times", 1.03)]


def _layered(random: Random) -> list[tuple[float, list[int]]]:
    """20 layers of 15 nodes that take 5 to 200 ms; each waits for up to three of the layer before."""
    nodes: list[tuple[float, list[int]]] = []
    for layer in range(20):
        for _ in range(15):
            before = range(15 * (layer - 1), 15 * layer)
            waits = random.sample(before, random.randint(1, 3)) if layer else []
            nodes.append((round(random.uniform(0.005, 0.2), 3), waits))
    return nodes


def _ideal(nodes: Sequence[tuple[float, list[int]]], slots: int) -> float:
    """When the last one ends if whoever is ready, in order, takes each place the moment that it is free."""
    left = [len(before) for _, before in nodes]
    ready, running, now = [index for index, count in enumerate(left) if not count], [], 0.0
    while ready or running:
        while ready and len(running) < slots:
            index = heappop(ready)
            heappush(running, (now + nodes[index][0], index))
        now, ended = heappop(running)
        for index, (_, before) in enumerate(nodes):
            if ended in before:
                left[index] -= 1
                if not left[index]:
                    heappush(ready, index)
    return now


@bench
def postgresql() -> Sequence[Figure]:
    """Beside SQLite, in turns, so that a noisy machine is noisy for both."""
    shares = []
    for _ in range(3):
        ours = _rate("thread", 10_000, 64, 1)
        with scratch() as folder, fresh_database("postgresql", folder) as url:
            shares.append(100 * _rate("thread", 10_000, 64, 1, url) / ours)
    return [Figure("10,000 thread nodes on PostgreSQL, share of SQLite", median(shares), "%", 60, True)]


@bench
def process_nodes() -> Sequence[Figure]:
    return [
        Figure(
            "10,000 no-op nodes, warm processes, 64 slots",
            _rate("process", 10_000, 64),
            "nodes/s",
            4_000,
            True,
        )
    ]


@bench
def flat_cost() -> Sequence[Figure]:
    small, large = _rate("thread", 10_000, 64, 3), _rate("thread", 100_000, 64, 1)
    return [Figure("cost of a node, 100,000 beside 10,000", small / large, "times", 1.3)]


def _bare_commands(count: int, threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: subprocess.run(["true"], check=True), range(count)))
        return count / (time.perf_counter() - begin)


def _command_file(folder: Path, count: int) -> None:
    nodes = "".join(f'  - name: n{number}\n    command: "true"\n' for number in range(count))
    (folder / "tasks" / "commands.yaml").write_text(
        f"name: commands\nworkflow_type: parallel\ntasks:\n{nodes}"
    )


@bench
def commands() -> Sequence[Figure]:
    return [*_commands(64), *_commands(10)]


def _commands(slots: int) -> list[Figure]:
    """Beside as many threads that call subprocess.run; 10 is the default of slots."""
    count = 500
    with scratch() as folder:
        _command_file(folder, count)
        with scheduler(folder, slots=slots) as made:
            run_task(made, "commands")
            ours, bare = [], []
            for _ in range(5):
                bare.append(_bare_commands(count, slots))
                ours.append(count / run_task(made, "commands")[1])
    shares = [100 * own / other for own, other in zip(ours, bare, strict=True)]
    return [
        Figure(f"500 commands, {slots} slots, share of bare subprocess.run", median(shares), "%", 60, True),
        Figure(f"500 commands, {slots} slots", median(ours), "commands/s", 0, True),
    ]


@bench
def sequential() -> Sequence[Figure]:
    with scratch() as folder:
        (folder / "tasks" / "chain.py").write_text(_FIB.format(n=10, size=40))
        with scheduler(folder) as made:
            run_task(made, "chain")
            seconds = [run_task(made, "chain")[1] for _ in range(9)]
    return [Figure("40 sequential nodes of fib(10), warm", median(seconds), "s", 0.06)]


@bench
def overhead() -> Sequence[Figure]:
    with scratch() as folder:
        (folder / "tasks" / "chain.py").write_text(_FIB.format(n=33, size=10))
        with scheduler(folder) as made:
            run_task(made, "chain")
            shares = []
            for _ in range(3):
                execution, took = run_task(made, "chain")
                row = queries.execution_row(made.database, execution)
                # Timed inside the very runs: from one process to another these machines differ by more than we look for.
                bare = sum(float(child.result) for child in queries.children_of(made.database, row))
                shares.append(100 * (took / bare - 1))
    return [Figure("10 sequential nodes of fib(33), over the bare function", median(shares), "%", 1.5)]
