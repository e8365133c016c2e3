"""Which results of earlier nodes does a command get? (SEMANTICS §5.2)

They stay text from end to end, or files: nobody but the command reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from zquant_flow.core.graph import Plan
from zquant_flow.core.model import Workflow
from zquant_flow.core.references import referenced_nodes
from zquant_flow.engine.memory import Execution, Filed, Result
from zquant_flow.engine.scope import workflow_of
from zquant_flow.result_files import LARGEST

LIMIT = 4 * 1024 * 1024
"""Characters of JSON that one attempt gets of small results."""
FILED_LIMIT = LARGEST
"""Bytes that one attempt gets of large ones: as many as the largest has."""
ITEM_LIMIT = 32 * 1024
"""Characters of a result that each item of a node gets: a long list is not for each of its items once more."""


def before_commands(workflow: Workflow, plan: Plan, commands: Collection[str]) -> frozenset[int]:
    """The nodes that commands wait for; of a task that a node refers to it is not known here whether it is one."""
    return frozenset(
        earlier
        for node, waits_for in zip(workflow.nodes, plan.dependencies, strict=True)
        if node.task is not None or (node.action is not None and node.action.executor in commands)
        for earlier in waits_for
    )


def passed(execution: Execution) -> tuple[dict[str, str], dict[str, Filed], list[str]]:
    """The results of the nodes that a command waits for, by node, as JSON and in files; and the nodes whose are too large besides."""
    texts: dict[str, str] = {}
    files: dict[str, Filed] = {}
    left_out: list[str] = []
    size = filed = 0
    for name, result in _earlier(execution):
        if isinstance(result, Filed):
            if filed + result.size > FILED_LIMIT:
                left_out.append(name)
            else:
                files[name] = result
                filed += result.size
        elif size + len(result) > LIMIT:
            left_out.append(name)
        else:
            texts[name] = result
            size += len(result)
    return texts, files, left_out


def from_files(execution: Execution) -> dict[str, Filed]:
    """The large results that its function takes as they are: it reads them itself."""
    parent = execution.parent
    if parent is None or parent.run is None or not execution.inline:
        return {}
    workflow = workflow_of(parent)
    if workflow.run is None or not workflow.run.filed:
        return {}
    named = referenced_nodes(parent.run.nodes[execution.node].arguments)
    return {name: filed for name, filed in workflow.run.filed.items() if name in named}


def arguments_of(execution: Execution, filed: Mapping[str, Filed]) -> list[str]:
    """The params in which it takes them."""
    parent = execution.parent
    assert parent is not None and parent.run is not None
    arguments = parent.run.nodes[execution.node].arguments
    return [name for name, value in arguments.items() if referenced_nodes(value) & filed.keys()]


def takes_results(execution: Execution, commands: Collection[str]) -> bool:
    """Whether it is a command that comes after nodes with results."""
    action = execution.action
    return action is not None and action.executor in commands and any(_earlier(execution))


def _earlier(execution: Execution) -> Iterator[tuple[str, Result]]:
    """What the nodes that it waits for have given, in the order of its dependencies. An item waits for what its node does."""
    limit: int | None = None
    parent, node = execution.parent, execution.node
    if parent is not None and parent.run is not None and parent.run.items is not None:
        parent, node, limit = workflow_of(parent), parent.node, ITEM_LIMIT
    if parent is None or parent.run is None or not parent.run.passed:
        return
    run = parent.run
    for earlier in run.plan.dependencies[node]:
        result = run.passed.get(earlier)
        if result is not None and (limit is None or (isinstance(result, str) and len(result) <= limit)):
            yield run.plan.names[earlier], result
