"""What can people decide about executions, through the client?"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from zquant_flow.api.models import CommentIn, ExecutionOut, MarkIn, RerunIn
from zquant_flow.client.waiting import Waiting


class DecisionCalls(Waiting):
    """Answers to nodes that ask, nodes that run again, and marks."""

    def approve_execution(self, execution_id: int, *, comment: str = "") -> ExecutionOut:
        """Say yes to a node that waits for it. Raises ApiError `not_approver`, `wrong_state`."""
        return self._decide(execution_id, "approve", comment)

    def reject_execution(self, execution_id: int, *, comment: str = "") -> ExecutionOut:
        """Say no to it. Raises ApiError as `approve_execution` does."""
        return self._decide(execution_id, "reject", comment)

    def mark_execution(
        self, execution_id: int, status: Literal["success", "failed"] | None, *, comment: str = ""
    ) -> ExecutionOut:
        """Say how one that has ended is to be taken, by a resume; None takes it back."""
        return self._say(execution_id, "mark", MarkIn(status=status, comment=comment))

    def rerun_node(
        self, execution_id: int, node: str, *, descendants: bool = False, original: bool = False
    ) -> ExecutionOut:
        """Run one node of it again, with `descendants` what waits for it too: the new execution.

        Raises ApiError `node_not_found`, `wrong_state`, `already_running`.
        """
        version: Literal["current", "original"] = "original" if original else "current"
        return self._say(execution_id, "rerun", RerunIn(node=node, descendants=descendants, version=version))

    def _decide(self, execution_id: int, word: str, comment: str) -> ExecutionOut:
        return self._say(execution_id, word, CommentIn(comment=comment))

    def _say(self, execution_id: int, word: str, said: BaseModel) -> ExecutionOut:
        path = f"/executions/{execution_id}/{word}"
        return self._ask(ExecutionOut, "POST", path, body=said.model_dump(exclude_none=word != "mark"))
