"""Gathers what is known of an execution, or of a node of one, from rows, definitions and the engine's memory, and has it explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zquant_flow.core.model import Node, TaskDef
from zquant_flow.core.status import ACTIVE, Status
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.engine.explain import Reason
from zquant_flow.engine.explain_executions import (
    dependencies_of,
    explain_execution,
    explain_node,
    unsuccessful,
)
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.resuming import Resuming
from zquant_flow.engine.situations import Named
from zquant_flow.errors import NodeNotFound
from zquant_flow.store import queries
from zquant_flow.store.database import Database
from zquant_flow.wording import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The answer: about which execution, or which node without one, of which status, and the reasons."""

    execution_id: int
    node: str | None
    status: str
    reasons: Sequence[Reason]


@dataclass(frozen=True, slots=True)
class Explaining:
    """Threads: any."""

    database: Database
    operations: Operations
    earlier: Resuming
    """Knows the definitions of versions that are not current."""

    def execution(self, row: Any) -> Explained:
        """Of an execution, from its row."""
        return Explained(
            execution_id=row.id, node=row.node, status=row.status, reasons=self._of_execution(row)
        )

    def node(self, row: Any, name: str) -> Explained:
        """Of a node of a workflow's execution. Raises NodeNotFound."""
        found = queries.nodes_named(self.database, row, [name]).get(name)
        if found is not None:
            return self.execution(queries.execution_row(self.database, found.id))
        reasons = self._of_plan(row, name)
        return Explained(execution_id=row.id, node=name, status=Status.PENDING.value, reasons=reasons)

    def _of_execution(self, row: Any) -> list[Reason]:
        is_active = Status(row.status) in ACTIVE
        parent = queries.execution_row(self.database, row.parent_execution_id or 0)
        node = None if parent is None else _node(self._definition(parent), row.node)
        nodes: Sequence[Named] = ()
        if row.status == Status.SKIPPED and node is not None:
            nodes = dependencies_of(node, queries.nodes_named(self.database, parent, node.dependencies))
        elif not is_active and row.status != Status.SUCCESS:
            nodes = unsuccessful(queries.children_of(self.database, row))
        return explain_execution(
            row,
            self._definition(row),
            situation=self.operations.situation(row.id) if is_active else None,
            attempts=queries.attempts_of(self.database, row.id),
            nodes=nodes,
            node=node,
        )

    def _of_plan(self, row: Any, name: str) -> list[Reason]:
        """Of a node without a row."""
        definition = self._definition(row)
        is_item = row.inline and row.node is not None and name.startswith(f"{row.node}[")
        node = _node(definition, row.node if is_item else name)
        if node is None:
            known = [one.name for one in definition.workflow.nodes] if definition.workflow is not None else []
            hint = did_you_mean(name, known)
            raise NodeNotFound(
                say("execution {id} has no node {node!r}{hint}", id=row.id, node=name, hint=hint)
            )
        situation = self.operations.node_situation(row.id, name)
        if situation is not None:
            return explain_node(replace(node, name=name), situation)
        if Status(row.status) in ACTIVE:  # what holds its workflow back holds its nodes back
            return self._of_execution(row)
        detail = say("its workflow was ended before it began")
        return [Reason(code="workflow_terminated", detail=detail)]

    def _definition(self, row: Any) -> TaskDef:
        """Of the version that it runs, which need be neither registered nor the newest."""
        entry = self.operations.registry.by_id.get(row.task_id)
        if entry is not None and entry.version == row.version:
            return entry.definition
        return self.earlier.definition(row.task_id, row.version)


def _node(definition: TaskDef, name: str | None) -> Node | None:
    nodes = definition.workflow.nodes if definition.workflow is not None else ()
    return next((node for node in nodes if node.name == name), None)
