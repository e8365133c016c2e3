"""What of an execution that did not succeed need not be done again? (SEMANTICS §8.9)"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zquant_flow.core.graph import Plan
from zquant_flow.core.model import Node, TaskDef, decode
from zquant_flow.core.status import Status
from zquant_flow.engine.memory import Execution, Memory, Reused
from zquant_flow.store import definitions as store
from zquant_flow.store import queries
from zquant_flow.store.database import Database


def taken_as(row: Any) -> Status:
    """How an execution has ended, as a resume takes it: as it was marked, else as it was."""
    return Status(row.marked_status or row.status)


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
            if taken_as(row) is Status.SUCCESS
            and row.node in position
            and self._is_unchanged(known.get(row.node), workflow.nodes[position[row.node]], row)
        ]

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
