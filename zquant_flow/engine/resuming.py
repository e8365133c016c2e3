"""What of an execution that did not succeed need not be done again? (SEMANTICS §8.9)"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zquant_flow.core.graph import Plan, descendants
from zquant_flow.core.model import Node, TaskDef, decode
from zquant_flow.core.status import UNSUCCESSFUL, Status
from zquant_flow.engine.large_results import result_of_row
from zquant_flow.engine.memory import Execution, Memory, Rerun, Reused
from zquant_flow.engine.rows import json_text
from zquant_flow.store import definitions as store
from zquant_flow.store import queries
from zquant_flow.store.database import Database


def taken_as(row: Any) -> Status:
    """How an execution has ended, as a resume takes it: as it was marked, else as it was."""
    return Status(row.marked_status or row.status)


def _is_taken_back(row: Any) -> bool:
    """Whether it is a success that was marked as a failure: all of it is to be done again."""
    return Status(row.status) is Status.SUCCESS and taken_as(row) is not Status.SUCCESS


def _reused(row: Any, node: int) -> Reused:
    status = taken_as(row)
    failed = status in UNSUCCESSFUL
    return Reused(
        node,
        row.task_id,
        row.version,
        row.reused_from or row.id,
        result_of_row(row),
        status=status,
        code=row.error_code if failed else None,
        error=row.error_message if failed else None,
        skip_reason=row.skip_reason,
    )


class Resuming:
    """Reads what an earlier execution of a workflow has achieved."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory

    def taken_over(self, execution: Execution, plan: Plan) -> Sequence[Reused]:
        """What this execution need not do again of the one before: what succeeded; of a rerun all that it does not name."""
        before = queries.execution_row(self._database, execution.resume_from or 0)
        workflow = execution.definition.workflow
        if before is None or workflow is None:
            return ()
        position = {name: index for index, name in enumerate(plan.names)}
        if execution.rerun is not None:
            return self._others(before, execution.rerun, plan, position)
        known = {node.name: node for node in self.nodes(before)}
        return [
            _reused(row, position[row.node])
            for row in queries.children_of(self._database, before)
            if taken_as(row) is Status.SUCCESS
            and row.node in position
            and self.is_unchanged(known.get(row.node), workflow.nodes[position[row.node]], row)
        ]

    def items(self, execution: Execution, node: int, items: Sequence[Any]) -> Sequence[Reused]:
        """The items of a node that succeeded in the execution that this one resumes, by their values."""
        workflow = execution.definition.workflow
        if workflow is None or execution.rerun is not None:
            return ()
        now = workflow.nodes[node]
        before = self._last_with(now.name, execution.resume_from)
        if before is None:
            return ()
        was = next((known for known in self.nodes(before) if known.name == now.name), None)
        if was is None or was.for_each is None:
            return ()
        done = self._items_done(before, replace(was, for_each=now.for_each), now)
        found = []
        for index, item in enumerate(items):
            if same := done.get(json_text(item)):
                row = same.popleft()
                found.append(replace(_reused(row, index), params=row.params))
        return found

    def _last_with(self, name: str, execution_id: int | None) -> Any:
        """The execution that last got to this node: this one, or one that it was a resume of."""
        row = queries.execution_row(self._database, execution_id or 0)
        while row is not None:
            found = queries.nodes_named(self._database, row, [name]).get(name)
            if found is not None and found.status != Status.SKIPPED.value:
                return row
            row = queries.execution_row(self._database, row.resume_from_execution_id or 0)
        return None

    def _items_done(self, before: Any, was: Node, now: Node) -> dict[str, deque[Any]]:
        done: dict[str, deque[Any]] = {}
        for fan in queries.children_of(self._database, before):
            if fan.node != now.name or _is_taken_back(fan):
                continue
            for row in queries.children_of(self._database, fan):
                if taken_as(row) is Status.SUCCESS and row.params and self.is_unchanged(was, now, row):
                    done.setdefault(json_text(json.loads(row.params).get("item")), deque()).append(row)
        return done

    def _others(self, before: Any, rerun: Rerun, plan: Plan, position: Mapping[str, int]) -> Sequence[Reused]:
        """The nodes that a rerun leaves as they were, whatever became of them."""
        again = {position[rerun.node]}
        if rerun.descendants:
            again |= descendants(plan, position[rerun.node])
        return [
            _reused(row, position[row.node])
            for row in queries.children_of(self._database, before)
            if row.node in position and position[row.node] not in again
        ]

    def definition(self, task_id: int, version: int) -> TaskDef:
        """A version of a task's definition."""
        body = store.body_of(self._database, task_id, version)
        assert body is not None
        return decode(json.loads(body))

    def nodes(self, before: Any) -> Sequence[Node]:
        """The nodes of an execution, as they were then; none of what is no workflow."""
        workflow = self.definition(before.task_id, before.version).workflow
        return workflow.nodes if workflow is not None else ()

    def is_unchanged(self, before: Node | None, now: Node, row: Any) -> bool:
        """Whether a node is what it was when this row of it came to be."""
        if before is None or replace(before, group="") != replace(now, group=""):
            return False
        if now.task is None:
            return True
        task = self._memory.by_name.get(now.task)
        return task is not None and (task.id, task.version) == (row.task_id, row.version)
