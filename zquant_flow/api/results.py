"""The result of an execution over REST, also one that is too large to be shown with it (CONTRACT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse

from zquant_flow.api.control import Control, Ctl, ExecutionId
from zquant_flow.api.executions import execution_row
from zquant_flow.api.logs import refuse_elsewhere
from zquant_flow.api.security import signed_in
from zquant_flow.engine.large_results import LargeResults, result_of_row
from zquant_flow.engine.memory import Filed
from zquant_flow.errors import ResultNotFound, Unavailable
from zquant_flow.result_files import open_first
from zquant_flow.store import queries
from zquant_flow.wording import say

router = APIRouter(prefix="/executions", tags=["executions"], dependencies=[Depends(signed_in)])

PIECE = 256 * 1024


@router.get(
    "/{execution_id}/result",
    operation_id="get_result",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"description": "What it returned."}}}}},
)
def get_result(control: Ctl, execution_id: ExecutionId) -> Response:
    """What it returned, as JSON, however large it is."""
    row = execution_row(control, execution_id)
    result = result_of_row(row)
    if result is None:
        raise ResultNotFound(say("execution {id} has no result", id=execution_id))
    if isinstance(result, str):
        return Response(result.encode("utf-8", "replace"), media_type="application/json")
    file = _opened(control, row, result)
    headers = {"Content-Length": str(result.size)}
    return StreamingResponse(_pieces(file, result.size), media_type="application/json", headers=headers)


def _opened(control: Control, row: Any, result: Filed) -> BinaryIO:
    """Raises ResultNotFound where the file has gone, LogElsewhere where it lies with another engine."""
    paths = LargeResults(control.data_dir).paths(result)
    try:
        return open_first(paths)
    except FileNotFoundError as exc:
        first = row if row.reused_from is None else queries.execution_row(control.database, row.reused_from)
        refuse_elsewhere(control, first or row)
        raise ResultNotFound(say("the result is not there any more: {file}", file=paths[0])) from exc
    except OSError as exc:
        raise Unavailable(say("the result can't be read: {error}", error=exc.strerror)) from exc


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """So many bytes of it. One that is shorter, for the disk was damaged, ends the answer early, as its client can see."""
    with file:
        while size > 0 and (data := file.read(min(PIECE, size))):
            size -= len(data)
            yield data
