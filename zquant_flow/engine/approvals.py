"""What becomes of the nodes that wait for somebody's answer?

Such a node is `pending` for `approval`: it has a row, and no slot, no place in a pool and none of `max_parallel`. Its answer is
its end; who may give it stands in the definition that its workflow runs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from zquant_flow.core.approval import APPROVAL, Approval, OnTimeout
from zquant_flow.core.expressions import is_template, render
from zquant_flow.core.instants import from_micros
from zquant_flow.core.status import Status
from zquant_flow.engine import rows
from zquant_flow.engine.memory import Execution, Memory
from zquant_flow.engine.scope import SessionDays, scope_of
from zquant_flow.errors import ExpressionError, NotApprover
from zquant_flow.store.batch import Row
from zquant_flow.wording import joined, say


class Steps(Protocol):
    """What an answer brings about."""

    def mark_running(self, execution: Execution) -> None: ...
    def doom(self, execution: Execution, code: str, error: str) -> None: ...
    def end(
        self,
        execution: Execution,
        status: Status,
        *,
        result: str | None = None,
        code: str | None = None,
        error: str | None = None,
    ) -> None: ...


class Approvals:
    """The questions of one engine. Owned by its thread; `wake(seconds, what)` calls `what` in it after so many seconds."""

    def __init__(
        self, memory: Memory, steps: Steps, wake: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._memory = memory
        self._steps = steps
        self._wake = wake

    def ask(self, child: Execution, sessions: SessionDays) -> None:
        """A node's turn has come: write its row with the question, and wait for the answer."""
        memory, approval = self._memory, question_of(child)
        memory.executions[child.id] = child
        child.waiting_for = APPROVAL
        until = None
        if approval.timeout is not None:
            until = memory.now + approval.timeout // timedelta.resolution
        child.row = rows.node_waiting(memory, child, until, approval.message)
        self._keep_item(child, child.row)
        memory.fresh.append(child)
        memory.batch.nodes_waiting.append(child.row)
        try:
            if is_template(approval.message):
                child.row["message"] = rows.storable(render(approval.message, scope_of(child, sessions)))
        except ExpressionError as error:
            self._steps.doom(child, "invalid_template", error.detail)
            return
        self.await_answer(child, until)

    def _keep_item(self, child: Execution, row: Row) -> None:
        """What it asks about stands in its params, as that of any item does: a resume knows it by that."""
        run = child.parent.run if child.parent is not None else None
        if run is not None and run.items is not None:
            child.params = {**child.params, "item": run.items[child.node]}
            row["params"] = rows.json_text(child.params)

    def await_answer(self, child: Execution, until: int | None) -> None:
        """Answer for everybody where nobody has by then (microseconds); None waits for ever."""
        if until is None:
            return

        def overdue() -> None:
            if self._memory.executions.get(child.id) is child and child.waiting_for == APPROVAL:
                self._nobody_answered(child)

        self._wake(max(0.0, (until - self._memory.now) / 1e6), overdue)

    def answer(self, child: Execution, *, approved: bool, actor: str, comment: str) -> None:
        """End it as somebody says. Raises NotApprover."""
        who = question_of(child).who
        if who and actor not in who:
            raise NotApprover(
                say("{who} may answer this, not {actor}", who=joined(", ", who), actor=actor), who=list(who)
            )
        if approved:
            self._approve(child, actor, comment)
            return
        error = say("rejected by {actor}", actor=actor)
        if comment:
            error = say("rejected by {actor}: {comment}", actor=actor, comment=comment)
        self._steps.end(child, Status.FAILED, code="rejected", error=error)

    def _nobody_answered(self, child: Execution) -> None:
        if question_of(child).on_timeout is OnTimeout.APPROVE:
            self._approve(child, None, "")
        else:
            self._steps.end(
                child, Status.FAILED, code="approval_timeout", error="nobody has answered in time"
            )

    def _approve(self, child: Execution, actor: str | None, comment: str) -> None:
        at = from_micros(self._memory.now).isoformat()
        said = {"approved": True, "by": actor, "comment": comment, "at": at}
        self._steps.mark_running(child)
        self._steps.end(child, Status.SUCCESS, result=rows.json_text(said))


def question_of(child: Execution) -> Approval:
    """What the node of this execution asks."""
    run = child.parent.run if child.parent is not None else None
    assert run is not None
    approval = run.nodes[child.node].approval
    assert approval is not None
    return approval
