"""What can people decide about executions, through the client?"""

from __future__ import annotations

from zquant_flow.api.models import CommentIn, ExecutionOut
from zquant_flow.client.waiting import Waiting


class DecisionCalls(Waiting):
    """Answers to nodes that ask."""

    def approve_execution(self, execution_id: int, *, comment: str = "") -> ExecutionOut:
        """Say yes to a node that waits for it. Raises ApiError `not_approver`, `wrong_state`."""
        return self._decide(execution_id, "approve", comment)

    def reject_execution(self, execution_id: int, *, comment: str = "") -> ExecutionOut:
        """Say no to it. Raises ApiError as `approve_execution` does."""
        return self._decide(execution_id, "reject", comment)

    def _decide(self, execution_id: int, word: str, comment: str) -> ExecutionOut:
        body = CommentIn(comment=comment).model_dump()
        return self._ask(ExecutionOut, "POST", f"/executions/{execution_id}/{word}", body=body)
