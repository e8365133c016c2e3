"""Which execution does one of a resumed tree stand for, and what of it does it go on with?

The task, the node, the item before. An attempt goes on from the state which that one has kept, if what it does is unchanged; a workflow
within a workflow takes over what had succeeded there, if it is called with the same.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zquant_flow.core.model import Action, Node
from zquant_flow.core.status import FINAL, Status
from zquant_flow.engine.memory import Execution, Memory
from zquant_flow.engine.resuming import Resuming, taken_as
from zquant_flow.engine.rows import json_text
from zquant_flow.engine.scope import workflow_of
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
        before = _around(execution).resume_from
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

    def nested(self, execution: Execution) -> int | None:
        """The execution that a workflow within a workflow goes on with: one that did not succeed, of the same task and params."""
        before = _around(execution).resume_from
        row = None
        for _ in range(MOST):
            past = self._past(before) if before is not None else None
            if past is None:
                return None
            row = self._counterpart(past, execution)
            if row is not None and Status(row.status) is not Status.SKIPPED:
                break
            before = past.row.resume_from_execution_id
        if row is not None and row.reused_from is not None:
            row = queries.execution_row(self._database, row.reused_from)
        return row.id if row is not None and _goes_on(execution, row) else None

    def _counterpart(self, past: _Past, execution: Execution) -> Any:
        """The row of what it stands for in that execution; None where that has not run."""
        parent = execution.parent
        if parent is None:
            return past.row
        if parent.run is None:
            return None
        if parent.run.items is None:
            return past.children.get(parent.run.plan.names[execution.node])
        workflow = workflow_of(parent)
        if workflow.run is None:
            return None
        node = workflow.run.plan.names[parent.node]
        return self._items(past, node).get(json_text(parent.run.items[execution.node]))

    def _is_unchanged(self, past: _Past, execution: Execution, row: Any) -> bool:
        parent = execution.parent
        if parent is None:
            if (row.task_id, row.version) == (execution.task.id, execution.version):
                return True
            was = self._resuming.definition(row.task_id, row.version).action
            return _does(was) == _does(execution.action)
        around = _around(execution)
        workflow = around.definition.workflow
        top = execution if parent is around else parent
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
            if fan is not None and fan.reused_from is not None:
                fan = queries.execution_row(self._database, fan.reused_from)
            for row in queries.children_of(self._database, fan) if fan is not None else ():
                if row.params:
                    item = json_text(json.loads(row.params).get("item"))
                    found[item] = None if item in found else row
            past.items[node] = found
        return past.items[node]


def _around(execution: Execution) -> Execution:
    """The workflow that it stands in; itself where it stands alone."""
    return execution if execution.parent is None else workflow_of(execution.parent)


def _goes_on(execution: Execution, row: Any) -> bool:
    """Whether that execution has left something to do, and was the same as this one is now."""
    ended = Status.SUCCESS not in (Status(row.status), taken_as(row)) and Status(row.status) in FINAL
    params = json.loads(row.params) if row.params else {}
    now = json.loads(json_text(execution.params))
    return ended and row.task_id == execution.task.id and params == now


def _does(action: Action | None) -> tuple[Any, ...] | None:
    return None if action is None else (action.executor, action.config)
