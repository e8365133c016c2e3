"""From whose kept state may an attempt of a resumed execution go on?

From that of the execution which the resumed one stands for: the task, the node, the item before, if what it does is unchanged.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zquant_flow.core.model import Action, Node
from zquant_flow.core.status import Status
from zquant_flow.engine.memory import Execution, Memory
from zquant_flow.engine.resuming import Resuming
from zquant_flow.engine.rows import json_text
from zquant_flow.store import queries
from zquant_flow.store.database import Database

MOST = 20
"""Executions that are looked back at: each resumes the one before."""
REMEMBERED = 8
"""Executions whose rows are kept at hand, so that a workflow of many nodes reads them once."""


@dataclass(slots=True)
class _Past:
    """An execution that has ended."""

    row: Any
    nodes: Mapping[str, Node]
    children: Mapping[str, Any]
    items: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By node, then by the item's value as JSON; None where two items have the same."""


class Earlier:
    """Looks back along the executions that were resumed. Owned by the engine's thread."""

    def __init__(self, database: Database, memory: Memory, resuming: Resuming) -> None:
        self._database = database
        self._memory = memory
        self._resuming = resuming
        self._known: OrderedDict[int, _Past] = OrderedDict()

    def of(self, execution: Execution) -> Sequence[int]:
        """The ids of the executions that it goes on from, the latest first; none for most, at no cost.

        Nothing from before a success is taken, nor from before a change.
        """
        found: list[int] = []
        before = execution.root.resume_from
        for _ in range(MOST):
            past = self._past(before) if before is not None else None
            if past is None:
                break
            row = self._counterpart(past, execution)
            if row is not None:
                if Status(row.status) is Status.SUCCESS or not self._is_unchanged(past, execution, row):
                    break
                found.append(row.reused_from or row.id)
            before = past.row.resume_from_execution_id
        return found

    def _counterpart(self, past: _Past, execution: Execution) -> Any:
        """The row of what it stands for in that execution; None where that has not run."""
        parent = execution.parent
        if parent is None:
            return past.row
        if parent.run is None:
            return None
        if parent.parent is None:
            return past.children.get(parent.run.plan.names[execution.node])
        if parent.run.items is None or parent.parent.parent is not None or parent.parent.run is None:
            return None  # a workflow within one begins anew
        node = parent.parent.run.plan.names[parent.node]
        return self._items(past, node).get(json_text(parent.run.items[execution.node]))

    def _is_unchanged(self, past: _Past, execution: Execution, row: Any) -> bool:
        parent = execution.parent
        if parent is None:
            if (row.task_id, row.version) == (execution.task.id, execution.version):
                return True
            was = self._resuming.definition(row.task_id, row.version).action
            return _does(was) == _does(execution.action)
        workflow = execution.root.definition.workflow
        top = execution if parent.parent is None else parent
        assert workflow is not None
        now = workflow.nodes[top.node]
        before = past.nodes.get(now.name)
        if before is not None and before.for_each is not None:
            before = replace(before, for_each=now.for_each)  # other items may be among them
        return self._resuming.is_unchanged(before, now, row)

    def _past(self, execution_id: int) -> _Past | None:
        known = self._known.get(execution_id)
        if known is None:
            row = queries.execution_row(self._database, execution_id)
            if row is None:
                return None
            nodes = {node.name: node for node in self._resuming.nodes(row)}
            children = {
                child.node: child for child in (queries.children_of(self._database, row) if nodes else ())
            }
            known = self._known[execution_id] = _Past(row, nodes, children)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    def _items(self, past: _Past, node: str) -> Mapping[str, Any]:
        if node not in past.items:
            found: dict[str, Any] = {}
            fan = past.children.get(node)
            for row in queries.children_of(self._database, fan) if fan is not None else ():
                if row.params:
                    item = json_text(json.loads(row.params).get("item"))
                    found[item] = None if item in found else row
            past.items[node] = found
        return past.items[node]


def _does(action: Action | None) -> tuple[Any, ...] | None:
    return None if action is None else (action.executor, action.config)
