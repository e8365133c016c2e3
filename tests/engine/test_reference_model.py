"""Random workflows end as a model says that knows nothing of the engine: rules, failures, conditions, items, crashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zquant_flow.core.model import ForEach, OnFailure, TriggerRule, WorkflowType
from zquant_flow.testing import Harness, command_node, workflow_task


@dataclass(frozen=True)
class Made:
    """A node of the model: the nodes before it, its rule, whether its condition holds, its leaves, and which of those fail."""

    before: tuple[int, ...]
    rule: str
    runs: bool
    items: int | None
    failing: frozenset[int]


def verdict(rule: str, before: list[str | None]) -> bool | None:
    """May a node start whose predecessors stand so? None: not yet known."""
    if not before:
        return True
    good, bad = before.count("success"), before.count("failed")
    done = None not in before
    return {
        "all_success": good == len(before) or (False if good < len([b for b in before if b]) else None),
        "all_done": done or None,
        "any_success": bool(good) or not before or (False if done else None),
        "any_failed": bool(bad) or (False if done else None),
        "none_failed": False if bad else (done or None),
    }[rule]


def model(
    nodes: Sequence[Made], serial: bool, stop: bool, picks: Iterator[int]
) -> Iterator[tuple[str, bool] | dict[int, str]]:
    """Yields each leaf that ends, and whether it fails; at last how all nodes have ended."""
    ended: dict[int, str] = {}
    left: dict[int, list[int]] = {}  # of a node that runs: its leaves that have not ended
    while len(ended) < len(nodes):
        for index, node in enumerate(nodes):
            if index in ended or index in left:
                continue
            may = verdict(node.rule, [ended.get(other) for other in node.before])
            stopped = stop and "failed" in ended.values() and node.rule not in ("all_done", "any_failed")
            if may is False or stopped or (may and not (serial and left) and not node.runs):
                ended[index] = "skipped"
            elif may and not (serial and left):
                left[index] = list(range(1 if node.items is None else node.items))
                if not left[index]:
                    ended[index] = "success"
                    del left[index]
            else:
                continue
            break
        else:
            leaves = [(i, leaf) for i in sorted(left) for leaf in (left[i][:1] if serial else left[i])]
            index, leaf = leaves[next(picks) % len(leaves)]
            node, count = nodes[index], 1 if nodes[index].items is None else nodes[index].items
            left[index].remove(leaf)
            yield f"n{index}" if node.items is None else f"n{index}[{leaf}]", leaf in node.failing
            failed = not node.failing.isdisjoint(set(range(count)) - set(left[index]))
            if not left[index] or (serial and stop and failed):
                ended[index] = "failed" if failed else "success"
                del left[index]
    yield ended


@st.composite
def workflows(draw: Any) -> list[Made]:
    nodes = []
    for index in range(draw(st.integers(1, 7))):
        items = draw(st.sampled_from([None, None, None, 0, 1, 3]))
        nodes.append(
            Made(
                before=tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3)))) if index else (),
                rule=draw(st.sampled_from([rule.value for rule in TriggerRule])),
                runs=draw(st.sampled_from([True, True, True, False])),
                items=items,
                failing=draw(st.sampled_from([frozenset(), frozenset(), frozenset({0}), frozenset({1})])),
            )
        )
    return nodes


@settings(max_examples=60, deadline=None)
@given(
    workflows(),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 50), min_size=30, max_size=30),
    st.integers(0, 40),
)
def test_a_workflow_ends_as_the_model_says(
    nodes: list[Made], serial: bool, stop: bool, picks: list[int], crash: int
) -> None:
    with TemporaryDirectory() as folder, Harness(Path(folder), slots=100) as h:
        root = begin(h, nodes, serial, stop)
        for step, told in enumerate(model(nodes, serial, stop, iter(picks))):
            settle(h)
            if step == crash:
                h.restart()
            if isinstance(told, tuple):
                leaf, fails = told
                h.end(h.backend.node(leaf), "failed" if fails else "success", result="1")
                continue
            assert not h.backend.active
            assert h.nodes(root) == {f"n{index}": status for index, status in told.items()}
            failed = "failed" in told.values()
            assert h.status(root) == ("success" if not failed else "failed" if stop else "completed")


def begin(h: Harness, nodes: list[Made], serial: bool, stop: bool) -> int:
    made = [
        command_node(
            f"n{index}",
            *(f"n{other}" for other in node.before),
            trigger_rule=TriggerRule(node.rule),
            when=None if node.runs else "false",
            for_each=None if node.items is None else ForEach(range=(0, node.items, 1)),
        )
        for index, node in enumerate(nodes)
    ]
    (task,) = h.define(
        workflow_task(
            "w",
            made,
            workflow_type=WorkflowType.SERIAL if serial else WorkflowType.PARALLEL,
            on_failure=OnFailure.STOP if stop else OnFailure.CONTINUE,
        )
    )
    return h.operations.trigger(task, actor="u")


def settle(h: Harness) -> None:
    """Until nothing is left to be decided; a node without items ends a turn later."""
    while h.engine.lifecycle.workflows._behind:
        h.settle()
    h.settle()
