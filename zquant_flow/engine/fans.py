"""What becomes of a node with `for_each`?

An execution of its own that needs no place (`Run` with `items`), and below it one for each item, as nodes below a workflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zquant_flow.core.estimates import Shares
from zquant_flow.core.fan import items_of
from zquant_flow.core.graph import Alike, plan_items
from zquant_flow.core.model import Node, TriggerRule, Workflow, WorkflowType
from zquant_flow.core.progress import Progress
from zquant_flow.core.status import Status
from zquant_flow.engine.memory import UNBOUNDED, Execution, Filed, Result, Reused, Run

DEFAULT_LIMIT = 100_000
"""Items of one node, where no setting says otherwise."""

LARGEST = 16 * 1024 * 1024
"""Characters of JSON that the results of a node's items may have together."""

ReusableItems = Callable[[Execution, int, Sequence[Any]], Sequence[Reused]]
"""Reads which items of a node of a resumed workflow need not be done again."""


def fan_of(workflow: Workflow, node: Node, scope: Mapping[str, Any], limit: int) -> Run:
    """The run over a node's items, nothing started yet. Raises what `core.fan.items_of` does."""
    assert node.for_each is not None
    return _run_over(workflow, node, items_of(node.for_each, scope, limit))


def remains_of(workflow: Workflow, node: Node, begun: Mapping[int, str | None]) -> Run:
    """The run of items that nobody knows any more, but for the params of those that have `begun`: they may end. It has failed."""
    items: list[Any] = [None] * (max(begun, default=-1) + 1)
    for number, params in begun.items():
        items[number] = json.loads(params).get("item") if params else None
    run = _run_over(workflow, node, items)
    run.progress.failures = 1
    run.progress.abandon()
    return run


def gather(run: Run, item: int, result: Result | None) -> None:
    """Keep what an item has given, as JSON; once they are too large together, none of them."""
    if isinstance(result, Filed):
        if result.text is None and result.size <= LARGEST:
            run.gathered_fault = f"{run.plan.names[item]}: {result.fault}"
            return
        result = result.text or " " * (LARGEST + 1)
    if result is None or run.gathered_size > LARGEST:
        return
    run.gathered[item] = result
    run.gathered_size += len(result)
    if run.gathered_size > LARGEST:
        run.gathered = []


def gathered(run: Run) -> str | None:
    """The results of all items as one JSON list, null where there is none; None where they are too large together."""
    if run.gathered_size > LARGEST:
        return None
    return "[" + ",".join(result or "null" for result in run.gathered) + "]"


def ended_as(run: Run) -> Status:
    """How a node has ended whose items have: as a list with holes is no success, one failure is one, and so is no list."""
    whole = run.progress.failures == 0 and run.gathered_size <= LARGEST and run.gathered_fault is None
    return Status.SUCCESS if whole else Status.FAILED


def _run_over(workflow: Workflow, node: Node, items: Sequence[Any]) -> Run:
    plan = plan_items(node.name, len(items))
    one = replace(node, for_each=None, when=None, trigger_rule=TriggerRule.ALL_SUCCESS)
    progress = Progress(
        plan,
        Alike(TriggerRule.ALL_SUCCESS, len(items)),
        workflow_type=WorkflowType.PARALLEL,
        on_failure=workflow.on_failure,
    )
    return Run(
        plan=plan,
        nodes=Alike(one, len(items)),
        progress=progress,
        shares=Shares.alike(len(items)),
        max_parallel=node.max_parallel or _width(workflow),
        items=items,
        gathered=[None] * len(items),
    )


def _width(workflow: Workflow) -> int:
    if workflow.workflow_type is WorkflowType.SERIAL:
        return 1
    return workflow.max_parallel or UNBOUNDED
