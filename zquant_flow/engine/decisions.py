"""What can people decide in place of the scheduler? That part of the operations."""

from __future__ import annotations

import json
from typing import Any

from zquant_flow.core.approval import APPROVAL
from zquant_flow.core.model import TaskDef
from zquant_flow.core.status import ACTIVE, Status
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.engine import rows
from zquant_flow.engine.controls import Controls
from zquant_flow.errors import ExecutionNotFound, NodeNotFound, WrongState
from zquant_flow.store import queries
from zquant_flow.wording import say


class Decisions(Controls):
    """Answers to nodes that ask, nodes that run again, and marks."""

    def approve(self, execution_id: int, *, actor: str, comment: str = "") -> None:
        """Say yes to a node that waits for it. Raises ExecutionNotFound, WrongState, NotApprover."""
        self._answer(execution_id, actor, comment, approved=True)

    def reject(self, execution_id: int, *, actor: str, comment: str = "") -> None:
        """Say no: the node has failed. Raises as `approve` does."""
        self._answer(execution_id, actor, comment, approved=False)

    def rerun(
        self,
        execution_id: int,
        node: str,
        *,
        actor: str,
        descendants: bool = False,
        original: bool = False,
    ) -> int:
        """Run one node of a workflow's execution again, with `descendants` also what waits for it; the new execution's id.

        All others stay as they were. Of the task's current version, or of its `original` one. Raises ExecutionNotFound,
        NodeNotFound, WrongState, AlreadyRunning.
        """

        def work() -> int:
            self._refuse_resting()
            row = self._ended_workflow(execution_id)
            task, version, definition = self._version_of(row, original)
            self._refuse_unknown_node(row, node, definition)
            rerun = {"node": node, "descendants": descendants}
            return self._begin_again(row, task, version, definition, actor, rerun=rerun)

        return int(self._call(work))

    def _ended_workflow(self, execution_id: int) -> Any:
        """The row of a workflow's execution that has ended."""
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
        if row.parent_execution_id is not None:
            raise WrongState(
                say(
                    "execution {id} is a node; name it in a rerun of the workflow's execution {root}",
                    id=execution_id,
                    root=row.root_id,
                ),
                execution_id=row.root_id,
            )
        if Status(row.status) in ACTIVE:
            raise WrongState(
                say(
                    "execution {id} is {status}; its nodes can run again when it has ended",
                    id=execution_id,
                    status=row.status,
                )
            )
        return row

    def _refuse_unknown_node(self, row: Any, node: str, definition: TaskDef) -> None:
        if definition.workflow is None:
            raise WrongState(say("execution {id} is no workflow: trigger its task instead", id=row.id))
        names = [one.name for one in definition.workflow.nodes]
        if node in names:
            return
        before = self._engine.resuming.definition(row.task_id, row.version).workflow
        if before is not None and node in (one.name for one in before.nodes):
            raise WrongState(
                say("node {node!r} is not in the current version: ask for the version `original`", node=node)
            )
        hint = did_you_mean(node, names)
        raise NodeNotFound(say("execution {id} has no node {node!r}{hint}", id=row.id, node=node, hint=hint))

    def mark(self, execution_id: int, status: Status | None, *, actor: str, comment: str = "") -> None:
        """Say how an execution that has ended is to be taken, `success` or `failed`; None takes that back.

        Its own status, statistics and the ledger stay; a resume follows the mark. Raises ExecutionNotFound, WrongState.
        """

        def work() -> None:
            self._refuse_resting()
            row = queries.execution_row(self._engine.database, execution_id)
            if row is None:
                raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
            if Status(row.status) in ACTIVE:
                raise WrongState(
                    say(
                        "execution {id} is {status}; only what has ended can be marked",
                        id=execution_id,
                        status=row.status,
                    )
                )
            marks = self._memory.batch.marks
            marks[:] = [mark for mark in marks if mark["b_id"] != execution_id]  # of this very turn
            marks.append(rows.marked(self._memory, execution_id, status, actor))
            detail = f"{status.value if status else 'none'}: {comment}" if comment else status or "none"
            self._note("mark", actor, task_id=row.task_id, execution_id=execution_id, detail=detail)

        self._call(work)

    def _answer(self, execution_id: int, actor: str, comment: str, *, approved: bool) -> None:
        def work() -> None:
            self._refuse_resting()
            execution = self._memory.executions.get(execution_id)
            if execution is None or execution.waiting_for != APPROVAL:
                raise self._not_asked(execution_id)
            approvals = self._lifecycle.workflows.approvals
            approvals.answer(execution, approved=approved, actor=actor, comment=comment)
            self._note(
                "approve" if approved else "reject",
                actor,
                task_id=execution.task.id,
                execution_id=execution_id,
                detail=comment,
            )

        self._call(work)

    def _not_asked(self, execution_id: int) -> ExecutionNotFound | WrongState:
        row = queries.execution_row(self._engine.database, execution_id)
        if row is None:
            return ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
        if row.error_code in ("rejected", "approval_timeout"):
            return WrongState(say("execution {id}: {error}", id=execution_id, error=row.error_message))
        said = _approved(row)
        if said is not None:
            message = say(
                "execution {id} was approved by {by} at {at}", id=execution_id, by=said["by"], at=said["at"]
            )
            return WrongState(message)
        return WrongState(
            say("execution {id} is {status}, and waits for no answer", id=execution_id, status=row.status)
        )


def _approved(row: Any) -> dict[str, Any] | None:
    """The answer that an approval has got; None where it is none, or has none."""
    if row.status != Status.SUCCESS.value or not row.result or not row.inline:
        return None
    found = json.loads(row.result)
    is_answer = isinstance(found, dict) and found.get("approved") is True and {"by", "at"} <= found.keys()
    return found if is_answer else None
