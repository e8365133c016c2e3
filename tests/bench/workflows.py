"""What does a large workflow cost, and what does it cost others? The engine alone: attempts end as soon as they start."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.bench.harness import Figure, bench, median, percentile, scratch
from zquant_flow.clock import SystemClock
from zquant_flow.core.graph import plan_nodes
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.core.progress import Progress
from zquant_flow.core.status import Status
from zquant_flow.testing import FakeBackend, Harness, command_node, workflow_task


@bench
def plans() -> Sequence[Figure]:
    """From the names of the nodes, each with three edges, to the first that may start; then what one that ends costs."""
    figures, costs = [], {}
    for size in (1_000, 10_000, 100_000):
        names = [f"n{number}" for number in range(size)]
        waits = {
            name: [names[other] for other in {n // 2, n // 3, n - 1} if 0 <= other < n]
            for n, name in enumerate(names)
        }
        rounds, ends = [], []
        for _ in range(3):
            begin = time.perf_counter()
            plan = plan_nodes(names, waits)
            progress = Progress(
                plan,
                [TriggerRule.ALL_SUCCESS] * size,
                workflow_type=WorkflowType.PARALLEL,
                on_failure=OnFailure.STOP,
            )
            ready = progress.start().ready
            rounds.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            while ready:
                node = ready.pop()
                progress.began(node)
                ready += progress.finish(node, Status.SUCCESS).ready
            ends.append((time.perf_counter() - begin) / size)
            assert progress.finished
        costs[size] = median(ends)
        target = {1_000: 10, 10_000: 60, 100_000: 1_000}[size]
        figures.append(
            Figure(f"{size:,} nodes, 3 edges each, to the first ready", median(rounds) * 1e3, "ms", target)
        )
    growth = costs[100_000] / costs[1_000]
    return [*figures, Figure("a node that ends among 100,000, against among 1,000", growth, "x", 3)]


class _Quick(FakeBackend):
    """Every attempt ends as soon as it starts; `watched` names the node whose start is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()

    def start_attempts(self, orders: Sequence[dict[str, Any]], acknowledged: object) -> None:
        if any(order.get("node") == "small" for order in orders):
            self.started.set()
        ended = [
            {
                "id": order["id"],
                "attempt": order["attempt"],
                "kind": "success",
                "started": 1,
                "ended": 2,
                "seconds": 0.001,
            }
            for order in orders
        ]
        if ended:
            self.on_event({"op": "outcomes", "items": ended})


@bench
def beside_a_crowd() -> Sequence[Figure]:
    """A workflow of one node, triggered again and again from the moment on in which one of 100,000 is, until 20,000 of those are done."""
    with scratch() as folder:
        harness = Harness(folder, clock=SystemClock())  # type: ignore[arg-type]
        backend = harness.backend = _Quick()
        harness._make()
        with harness as h:
            nodes = [command_node(f"n{number}") for number in range(100_000)]
            crowd = workflow_task("crowd", nodes, workflow_type=WorkflowType.PARALLEL)
            [small] = h.define(workflow_task("single", [command_node("small")]))
            [large] = h.define(crowd)
            gc.collect()
            gc.freeze()  # as a server does once its tasks are loaded
            h.operations.trigger(large, actor="bench")
            [root] = h.engine.memory.tasks[large].active.values()
            delays = []
            while root.run is None or root.run.progress.settled < 20_000:
                backend.started.clear()
                begin = time.perf_counter()
                h.operations.trigger(small, actor="bench")
                assert backend.started.wait(60)
                delays.append(time.perf_counter() - begin)
                while h.engine.memory.tasks[small].active:
                    time.sleep(0.001)
    what = f"first node beside a workflow of 100,000, p99 of {len(delays):,}"
    return [Figure(what, percentile(delays, 0.99) * 1e3, "ms", 100)]
