"""Why does an execution, or a node of one, run or wait, or why did it end so? (CONTRACT)"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Ctl, ExecutionId
from zquant_flow.api.executions import execution_row
from zquant_flow.api.languages import language_of, said
from zquant_flow.api.models import ExecutionExplainOut
from zquant_flow.api.security import signed_in
from zquant_flow.api.shapes import reason_out, shown_name
from zquant_flow.engine.explaining import Explaining

router = APIRouter(tags=["executions"], dependencies=[Depends(signed_in)])

NodeName = Annotated[str | None, Query(min_length=1, max_length=1000)]


@router.get(
    "/executions/{execution_id}/explain",
    operation_id="explain_execution",
    response_model=ExecutionExplainOut,
)
def explain(request: Request, control: Ctl, execution_id: ExecutionId, node: NodeName = None) -> Response:
    """Why it runs, waits, or ended so; with `node` why that node of it does, also where it has not begun."""
    row = execution_row(control, execution_id)
    explaining = Explaining(control.database, control.operations, control.engine.resuming)
    found = explaining.execution(row) if node is None else explaining.node(row, node)
    out = {
        "execution_id": found.execution_id,
        "task_id": row.task_id,
        "task_name": shown_name(row.task_name),
        "node": found.node,
        "status": found.status,
        "summary": found.reasons[0].detail,
        "reasons": [reason_out(reason) for reason in found.reasons],
    }
    return Json(said(out, language_of(request)))
