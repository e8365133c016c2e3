"""The log of an execution over REST: a piece of it, its end, all of it, or as it is written (CONTRACT)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from zquant_flow import logs
from zquant_flow.api.control import MAX_ID, Control, Ctl, ExecutionId
from zquant_flow.api.events import EVENT_STREAM, STREAM_HEADERS, LastEventId
from zquant_flow.api.executions import execution_row
from zquant_flow.api.following import Follower
from zquant_flow.api.security import Guard, signed_in
from zquant_flow.errors import LogElsewhere, Unavailable
from zquant_flow.store.terms import known_engines
from zquant_flow.wording import say

router = APIRouter(prefix="/executions", tags=["logs"], dependencies=[Depends(signed_in)])

PIECE = 256 * 1024
_LONGEST = 2**62
"""Beyond any file; what a system call takes as an offset ends not far above."""


@router.get(
    "/{execution_id}/log",
    operation_id="get_log",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_log(
    control: Ctl,
    execution_id: ExecutionId,
    attempt: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Bytes; all of them without.")] = None,
    tail: Annotated[int | None, Query(ge=1, le=100_000, description="Only so many last lines.")] = None,
) -> Response:
    """The log of an attempt (the latest if none is named) from a byte offset; `X-Next-Offset` says where to go on."""
    row = execution_row(control, execution_id)
    refuse_elsewhere(control, row)
    path = logs.log_path(control.data_dir, execution_id, attempt or row.retry_count + 1)
    start, end = _extent(path, tail)
    if tail is None:
        start = min(offset, _LONGEST)
    if limit is not None:
        end = min(end, start + limit)
    headers = {"X-Next-Offset": str(max(start, end)), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(
        _pieces(path, start, end), media_type="text/plain; charset=utf-8", headers=headers
    )


@router.get(
    "/{execution_id}/log/stream",
    operation_id="stream_log",
    response_class=StreamingResponse,
    responses=EVENT_STREAM,  # type: ignore[arg-type]
)
async def stream_log(
    control: Ctl,
    guard: Guard,
    execution_id: ExecutionId,
    attempt: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    tail: Annotated[int | None, Query(ge=1, le=100_000, description="Begin with so many last lines.")] = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """The log as it is written, from the attempt that is named (else the latest) on through all later ones, to the end.

    `log` has `attempt`, `text` and the `offset` after it; `attempt` says that the next one begins; `end` has the status. The
    ids are `attempt:offset`, to go on from.
    """
    row = await asyncio.to_thread(execution_row, control, execution_id)
    await asyncio.to_thread(refuse_elsewhere, control, row)
    place = _place(last_event_id)
    if place is None:
        number, offset = attempt or row.retry_count + 1, 0
        if tail is not None:
            path = logs.log_path(control.data_dir, execution_id, number)
            offset, _ = await asyncio.to_thread(_extent, path, tail)
        place = number, offset
    follower = Follower(control.database, control.data_dir, control.feed, control.log_watch, execution_id)
    return StreamingResponse(
        guard(follower.frames(*place)), media_type="text/event-stream", headers=STREAM_HEADERS
    )


def refuse_elsewhere(control: Control, row: Any) -> None:
    """Raises LogElsewhere where another engine has written the log; Unavailable where that one does not run."""
    engine = control.engine.memory.engine_id
    if not control.engine.lease.shared or row.owner in (None, engine) or _is_here(control, row):
        return
    for other in known_engines(control.database):
        if other.id == row.owner:
            where = say("the log lies on {host}", host=other.host)
            if control.engine.now() - other.heartbeat < control.engine.lease.length:
                raise LogElsewhere(where, other.id)
            raise Unavailable(
                say("the log lies on {host}, where no scheduler runs; start it there", host=other.host)
            )


def _is_here(control: Control, row: Any) -> bool:
    return any(
        logs.size(logs.log_path(control.data_dir, row.id, attempt + 1))
        for attempt in range(row.retry_count + 1)
    )


def _extent(path: str, tail: int | None) -> tuple[int, int]:
    """Where the last `tail` lines of a log begin, all of them without, and where it ends. Raises Unavailable."""
    try:
        end = logs.size(path)
        return (0 if tail is None else logs.start_of_tail(path, end, tail)), end
    except OSError as exc:
        raise Unavailable(say("the log can't be read: {error}", error=exc.strerror)) from exc


def _place(last_event_id: str | None) -> tuple[int, int] | None:
    attempt, _, offset = (last_event_id or "").partition(":")
    if not (attempt.isdecimal() and offset.isdecimal()):
        return None
    return min(max(int(attempt), 1), 2**31), min(int(offset), _LONGEST)


def _pieces(path: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes of [start, end), as far as they are there."""
    while start < end:
        data, start = logs.read(path, start, min(PIECE, end - start))
        if not data:
            return
        yield data
