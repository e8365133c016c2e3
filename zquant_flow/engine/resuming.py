"""What of an execution that did not succeed need not be done again? (SEMANTICS §8.9)"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zquant_flow.core.graph import Plan
from zquant_flow.core.model import Node, TaskDef, decode
from zquant_flow.core.status import Status
from zquant_flow.engine.memory import Execution, Memory, Reused
from zquant_flow.engine.rows import json_text
from zquant_flow.store import definitions as store
from zquant_flow.store import queries
from zquant_flow.store.database import Database


class Resuming:
    """Reads what an earlier execution of a workflow has achieved."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory

    def successes(self, execution: Execution, plan: Plan) -> Sequence[Reused]:
        """The nodes that succeeded in the execution that this one resumes, and whose definition is unchanged."""
        before = queries.execution_row(self._database, execution.resume_from or 0)
        workflow = execution.definition.workflow
        if before is None or workflow is None:
            return ()
        known = {node.name: node for node in self._nodes(before)}
        position = {name: index for index, name in enumerate(plan.names)}
        return [
            Reused(position[row.node], row.task_id, row.version, row.reused_from or row.id, row.result)
            for row in queries.children_of(self._database, before)
            if row.status == Status.SUCCESS.value
            and row.node in position
            and self._is_unchanged(known.get(row.node), workflow.nodes[position[row.node]], row)
        ]

    def items(self, execution: Execution, node: int, items: Sequence[Any]) -> Sequence[Reused]:
        """The items of a node that succeeded in the execution that this one resumes, by their values."""
        before = queries.execution_row(self._database, execution.resume_from or 0)
        workflow = execution.definition.workflow
        if before is None or workflow is None:
            return ()
        now = workflow.nodes[node]
        was = next((known for known in self._nodes(before) if known.name == now.name), None)
        if was is None or was.for_each is None:
            return ()
        done = self._items_done(before, replace(was, for_each=now.for_each), now)
        found = []
        for index, item in enumerate(items):
            if same := done.get(json_text(item)):
                row = same.popleft()
                whence = row.reused_from or row.id
                found.append(Reused(index, row.task_id, row.version, whence, row.result, row.params))
        return found

    def _items_done(self, before: Any, was: Node, now: Node) -> dict[str, deque[Any]]:
        done: dict[str, deque[Any]] = {}
        for fan in queries.children_of(self._database, before):
            if fan.node != now.name:
                continue
            for row in queries.children_of(self._database, fan):
                if row.status == Status.SUCCESS.value and row.params and self._is_unchanged(was, now, row):
                    done.setdefault(json_text(json.loads(row.params).get("item")), deque()).append(row)
        return done

    def definition(self, task_id: int, version: int) -> TaskDef:
        """A version of a task's definition."""
        body = store.body_of(self._database, task_id, version)
        assert body is not None
        return decode(json.loads(body))

    def _nodes(self, before: Any) -> Sequence[Node]:
        workflow = self.definition(before.task_id, before.version).workflow
        return workflow.nodes if workflow is not None else ()

    def _is_unchanged(self, before: Node | None, now: Node, row: Any) -> bool:
        if before is None or replace(before, group="") != replace(now, group=""):
            return False
        if now.task is None:
            return True
        task = self._memory.by_name.get(now.task)
        return task is not None and (task.id, task.version) == (row.task_id, row.version)
