"""How does a row become an execution in memory again?"""

from __future__ import annotations

import json
from typing import Any

from zquant_flow.core.model import TaskDef, decode, overridden
from zquant_flow.core.status import Status, TriggerType
from zquant_flow.definitions.registry import Entry
from zquant_flow.engine.memory import Execution, Memory, Task
from zquant_flow.engine.tasks import task_of
from zquant_flow.store import definitions as store
from zquant_flow.store import queries
from zquant_flow.store.database import Database

KEPT = 500
"""Definitions that are kept, by version."""


class Remembering:
    """Makes executions from rows, with the definitions that they were created with. Owned by the engine's thread."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory
        self._definitions: dict[tuple[int, int], TaskDef] = {}

    def execution(self, row: Any, parent: Execution | None) -> Execution:
        """The execution of a row, known to `parent`'s run, if there is one, and to nobody else yet."""
        task = self.task(row.task_id)
        definition = self._definition(row.task_id, row.version, task)
        node = -1
        action = definition.action
        if parent is not None and parent.run is not None:
            found = parent.run.plan.index(row.node)
            assert found is not None
            node, place = found, parent.run.nodes[found]
            if row.inline:
                action = place.action
            elif action is not None:
                action = overridden(action, place.overrides)
        execution = Execution(
            id=row.id,
            task=task,
            version=row.version,
            definition=definition,
            action=action,
            trigger_type=TriggerType(row.trigger_type),
            parent=parent,
            node=node,
            status=Status(row.status),
            logical_time=row.logical_time,
            params=json.loads(row.params) if row.params else (parent.params if parent else {}),
            retry_count=row.retry_count,
            created_time=row.created_time,
            start_time=row.start_time,
            attempt_start=row.attempt_start,
            waiting_for=row.waiting_for,
            percent=row.progress_percent,
            pausing=row.pause_requested,
            terminating="terminated" if row.terminate_requested else None,
            resume_from=row.resume_from_execution_id,
            backfill=row.backfill_id,
            event=json.loads(row.event) if row.event else None,
            deadline=None if row.deadline_missed else row.deadline,
            handle=row.handle,
            checks=row.checks,
        )
        elapsed = 0.0 if row.start_time is None else max(0.0, (self._memory.now - row.start_time) / 1e6)
        monotonic = self._memory.clock.monotonic()
        execution.started_monotonic = monotonic - elapsed
        tried = 0.0 if row.attempt_start is None else max(0.0, (self._memory.now - row.attempt_start) / 1e6)
        execution.attempt_monotonic = monotonic - tried
        execution.paused_since = monotonic if execution.status is Status.PAUSED else None
        if parent is not None and parent.run is not None:
            parent.run.children[node] = execution
        return execution

    def handed(self, row: Any) -> Execution:
        """The execution of a row that another engine has handed over: what stands above it is that one's."""
        execution = self.execution(row, None)
        execution.under, execution.called = row.root_id, row.node
        if row.root_id != row.id:
            root = queries.execution_row(self._database, row.root_id)
            execution.event = json.loads(root.event) if root is not None and root.event else None
        execution.backfill = None  # how many of them run at a time is that one's as well
        execution.deadline = None
        return execution

    def task(self, task_id: int) -> Task:
        """A task; one that is not registered here, or no more, is built from its row, outside the schedule."""
        known = self._memory.tasks.get(task_id) or self._memory.archived.get(task_id)
        if known is not None:
            return known
        facts = queries.task_row(self._database, task_id)
        assert facts is not None
        entry = Entry(
            id=facts.id,
            name=facts.name,
            version=facts.version,
            content_hash=facts.content_hash,
            definition=self._definition(facts.id, facts.version, None),
            source=facts.source or "",
        )
        task = self._memory.archived[task_id] = task_of(entry, facts)
        task.archived = facts.archived_at is not None
        return task

    def _definition(self, task_id: int, version: int, task: Task | None) -> TaskDef:
        """The definition that an execution was created with."""
        if task is not None and task.version == version:
            return task.definition
        key = (task_id, version)
        if key not in self._definitions:
            if len(self._definitions) >= KEPT:
                self._definitions.clear()
            body = store.body_of(self._database, task_id, version)
            assert body is not None
            self._definitions[key] = decode(json.loads(body))
        return self._definitions[key]
