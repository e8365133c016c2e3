"""Executions over REST: lists, one with attempts and children, its log, and terminate (CONTRACT)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from zquant_flow.api.control import MAX_ID, Control, Ctl, ExecutionId
from zquant_flow.api.models import ExecutionOut, ExecutionPage
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.shapes import execution_out, planned_out, stored
from zquant_flow.core.instants import to_micros
from zquant_flow.core.status import Status
from zquant_flow.errors import BadRequest, ExecutionNotFound, Unavailable
from zquant_flow.logs import log_path, read
from zquant_flow.store import queries

router = APIRouter(prefix="/executions", tags=["executions"], dependencies=[Depends(signed_in)])

LOG_PIECE = 1024 * 1024
_LONGEST_LOG = 2**62
"""Beyond any file; what a system call takes as an offset ends not far above."""


class ExecutionQuery(BaseModel):
    """Which executions, and which page of them; inline nodes only with `include=nodes`."""

    model_config = ConfigDict(extra="forbid")

    skip: Annotated[int, Field(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None
    include: str | None = None


@router.get(
    "", operation_id="list_executions", response_model=ExecutionPage, response_model_exclude_unset=True
)
def list_executions(control: Ctl, query: Annotated[ExecutionQuery, Query()]) -> dict[str, Any]:
    """Executions of all tasks, newest first; `total` counts all that match."""
    return execution_page(control, query)


@router.get(
    "/{execution_id}",
    operation_id="get_execution",
    response_model=ExecutionOut,
    response_model_exclude_unset=True,
)
def get_execution(control: Ctl, execution_id: ExecutionId, include: str = "") -> dict[str, Any]:
    """One execution; `include=attempts,children` adds its attempts and its nodes in the order of the plan."""
    wanted = {word for word in include.split(",") if word}
    if not wanted <= {"attempts", "children"}:
        raise BadRequest("include: `attempts`, `children`, or both with a comma between")
    return execution_details(control, _row(control, execution_id), wanted)


@router.post("/{execution_id}/terminate", operation_id="terminate_execution", response_model=ExecutionOut)
def terminate_execution(control: Ctl, actor: Actor, execution_id: ExecutionId) -> dict[str, Any]:
    """End it and all below it: SIGTERM, grace, SIGKILL."""
    control.operations.terminate(execution_id, actor=actor)
    return execution_out(_row(control, execution_id))


@router.post("/{execution_id}/pause", operation_id="pause_execution", response_model=ExecutionOut)
def pause_execution(control: Ctl, actor: Actor, execution_id: ExecutionId) -> dict[str, Any]:
    """Let it stand still: commands at once, Python at its next pause point."""
    control.operations.pause_execution(execution_id, actor=actor)
    return execution_out(_row(control, execution_id))


@router.post("/{execution_id}/resume", operation_id="resume_execution", response_model=ExecutionOut)
def resume_execution(control: Ctl, actor: Actor, execution_id: ExecutionId) -> dict[str, Any]:
    """Let a paused execution go on."""
    control.operations.resume_execution(execution_id, actor=actor)
    return execution_out(_row(control, execution_id))


@router.get("/{execution_id}/log", operation_id="get_log")
def get_log(
    control: Ctl,
    execution_id: ExecutionId,
    attempt: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=LOG_PIECE)] = LOG_PIECE,
) -> Response:
    """The log of an attempt (the latest if none is named) from a byte offset; the header names where to go on."""
    row = _row(control, execution_id)
    path = log_path(control.data_dir, execution_id, attempt or row.retry_count + 1)
    try:
        data, following = read(path, offset, limit) if offset < _LONGEST_LOG else (b"", offset)
    except OSError as exc:
        raise Unavailable(f"the log can't be read: {exc.strerror}") from exc
    return Response(
        data,
        media_type="text/plain; charset=utf-8",
        headers={"X-Next-Offset": str(following), "X-Content-Type-Options": "nosniff"},
    )


def execution_details(control: Control, row: Any, wanted: Collection[str] = ()) -> dict[str, Any]:
    """One execution with its params, and `attempts` and `children` where they are wanted."""
    attempts = queries.attempts_of(control.database, row.id) if "attempts" in wanted else None
    out = {**execution_out(row, attempts=attempts), "params": _params(control, row)}
    if "children" in wanted:
        out["children"] = _children(control, row)
    return out


def execution_page(control: Control, query: ExecutionQuery, *, task_id: int | None = None) -> dict[str, Any]:
    """One page of executions, of one task or of all."""
    rows, total = queries.list_executions(
        control.database,
        skip=query.skip,
        limit=query.limit,
        task_id=task_id,
        status=query.status,
        since=to_micros(control.instant(query.since)),
        until=to_micros(control.instant(query.until)),
        nodes=query.include == "nodes",
    )
    return {"executions": [execution_out(row) for row in rows], "total": total}


def _params(control: Control, row: Any) -> dict[str, Any]:
    """The params of an execution; an inline node without its own has those of its workflow's execution."""
    if row.params is None and row.inline:
        row = queries.execution_row(control.database, row.parent_execution_id) or row
    return stored(row.params) or {}


def _children(control: Control, row: Any) -> list[dict[str, Any]]:
    """A workflow's nodes: those with rows, and those of the plan that have none yet."""
    params = _params(control, row)
    found = [
        execution_out(child)
        if child.params or not child.inline
        else {**execution_out(child), "params": params}
        for child in queries.children_of(control.database, row)
    ]
    if Status(row.status) not in (Status.PENDING, Status.RUNNING, Status.PAUSED):
        return found
    known = {child["node"] for child in found}
    entry = control.registry.by_id.get(row.task_id)
    if entry is None or entry.version != row.version or entry.definition.workflow is None:
        return found
    nodes = entry.definition.workflow.nodes
    return found + [planned_out(row, node.name) for node in nodes if node.name not in known]


def _row(control: Control, execution_id: int) -> Any:
    row = queries.execution_row(control.database, execution_id)
    if row is None:
        raise ExecutionNotFound(f"no execution has the id {execution_id}")
    return row
