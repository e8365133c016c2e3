"""What people decide about executions over REST: answers to nodes that ask, nodes that run again, marks."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zquant_flow.api.control import Ctl, ExecutionId
from zquant_flow.api.executions import details, execution_row
from zquant_flow.api.models import CommentIn, ExecutionOut, MarkIn, RerunIn
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.core.status import Status

router = APIRouter(tags=["executions"], dependencies=[Depends(signed_in)])


@router.post(
    "/executions/{execution_id}/approve", operation_id="approve_execution", response_model=ExecutionOut
)
def approve_execution(
    control: Ctl, actor: Actor, execution_id: ExecutionId, body: CommentIn | None = None
) -> Response:
    """Say yes to a node that waits for it: it has succeeded. Only for those whom it names, if it names any."""
    control.operations.approve(execution_id, actor=actor, comment=body.comment if body else "")
    return details(control, execution_row(control, execution_id))


@router.post(
    "/executions/{execution_id}/reject", operation_id="reject_execution", response_model=ExecutionOut
)
def reject_execution(
    control: Ctl, actor: Actor, execution_id: ExecutionId, body: CommentIn | None = None
) -> Response:
    """Say no: it has failed."""
    control.operations.reject(execution_id, actor=actor, comment=body.comment if body else "")
    return details(control, execution_row(control, execution_id))


@router.post("/executions/{execution_id}/mark", operation_id="mark_execution", response_model=ExecutionOut)
def mark_execution(control: Ctl, actor: Actor, execution_id: ExecutionId, body: MarkIn) -> Response:
    """Say how one that has ended is to be taken: a resume follows it. Its own status stays."""
    status = Status(body.status) if body.status else None
    control.operations.mark(execution_id, status, actor=actor, comment=body.comment)
    return details(control, execution_row(control, execution_id))


@router.post("/executions/{execution_id}/rerun", operation_id="rerun_node", response_model=ExecutionOut)
def rerun_node(control: Ctl, actor: Actor, execution_id: ExecutionId, body: RerunIn) -> Response:
    """Run one node again, as a new execution in which all others are as they were; with `descendants` what waits for it too."""
    running = control.operations.rerun(
        execution_id,
        body.node,
        actor=actor,
        descendants=body.descendants,
        original=body.version == "original",
    )
    return details(control, execution_row(control, running))
