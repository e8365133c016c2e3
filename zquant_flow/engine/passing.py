"""Which results of earlier nodes does a command get? (SEMANTICS §5.2)

They stay text from end to end: nobody but the command reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from zquant_flow.core.graph import Plan
from zquant_flow.core.model import Workflow
from zquant_flow.engine.memory import Execution
from zquant_flow.engine.scope import workflow_of
from zquant_flow.executors.installed import command_lines

LIMIT = 4 * 1024 * 1024
"""Characters of JSON that one attempt gets: as many as the largest result of one attempt has."""
ITEM_LIMIT = 32 * 1024
"""Characters of a result that each item of a node gets: a long list is not for each of its items once more."""


def before_commands(workflow: Workflow, plan: Plan) -> frozenset[int]:
    """The nodes that commands wait for; of a task that a node refers to it is not known here whether it is one."""
    commands = {"command", *command_lines()}
    return frozenset(
        earlier
        for node, waits_for in zip(workflow.nodes, plan.dependencies, strict=True)
        if node.task is not None or (node.action is not None and node.action.executor in commands)
        for earlier in waits_for
    )


def passed(execution: Execution) -> tuple[dict[str, str], list[str]]:
    """The results of the nodes that a command waits for, as JSON by node; and the nodes whose results are too large besides."""
    found: dict[str, str] = {}
    left_out: list[str] = []
    size = 0
    for name, result in _earlier(execution):
        if size + len(result) > LIMIT:
            left_out.append(name)
        else:
            found[name] = result
            size += len(result)
    return found, left_out


def takes_results(execution: Execution) -> bool:
    """Whether it is a command that comes after nodes with results."""
    action = execution.action
    return action is not None and is_command(action.executor) and any(_earlier(execution))


def is_command(executor: str) -> bool:
    """Whether it is carried out as a command: `command` itself, or by a command line of its own."""
    return executor == "command" or (executor != "python" and executor in command_lines())


def _earlier(execution: Execution) -> Iterator[tuple[str, str]]:
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
        if result is not None and (limit is None or len(result) <= limit):
            yield run.plan.names[earlier], result
