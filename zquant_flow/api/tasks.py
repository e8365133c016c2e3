"""Tasks over REST: list, create, read, change, delete, and the buttons (CONTRACT)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from zquant_flow.api.control import MAX_ID, Control, Ctl, ExecutionId, TaskId
from zquant_flow.api.executions import ExecutionQuery, execution_details, execution_page
from zquant_flow.api.languages import message
from zquant_flow.api.models import ExecutionOut, ExecutionPage, TaskOut, TaskPage
from zquant_flow.api.params import checked
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.shapes import task_out
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import TaskDef, TaskType, decode
from zquant_flow.core.status import ACTIVE, TriggerType
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.errors import BadRequest, ExecutionNotFound, TaskNotFound, WrongState
from zquant_flow.store import definitions as store
from zquant_flow.store import queries

router = APIRouter(prefix="/tasks", tags=["tasks"], dependencies=[Depends(signed_in)])

Limit = Annotated[int, Query(ge=1, le=1000)]
Skip = Annotated[int, Query(ge=0, le=MAX_ID)]


class TriggerIn(BaseModel):
    """`logical_time` names the instant that this execution stands for; `rerun` allows one that has fired."""

    model_config = ConfigDict(extra="forbid")

    params: dict[str, Any] | None = None
    logical_time: datetime | None = None
    rerun: bool = False


class Triggered(BaseModel):
    message: str
    execution_id: int


@router.get("", operation_id="list_tasks", response_model=TaskPage)
def list_tasks(
    control: Ctl,
    skip: Skip = 0,
    limit: Limit = 100,
    task_type: TaskType | None = None,
    enabled: bool | None = None,
    order_by: Annotated[str, Query(pattern="^[a-z_]+$")] = "id",
    order: Literal["asc", "desc"] = "asc",
    q: Annotated[str | None, Query(max_length=200)] = None,
    tag: Annotated[str | None, Query(max_length=200)] = None,
    archived: bool = False,
) -> dict[str, Any]:
    """A page of tasks; `total` counts all that match."""
    if order_by not in queries.TASK_ORDER:
        raise BadRequest(f"order_by {order_by!r} is not one of {', '.join(queries.TASK_ORDER)}")
    rows, total = queries.list_tasks(
        control.database,
        skip=skip,
        limit=limit,
        task_type=task_type,
        enabled=enabled,
        text=q,
        tag=tag,
        archived=archived,
        order_by=order_by,
        descending=order == "desc",
    )
    return {"tasks": _shaped(control, rows), "total": total}


@router.post("", status_code=201, operation_id="create_task", response_model=TaskOut)
def create_task(control: Ctl, actor: Actor, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Make a task; it lands as a readable file in the tasks folder."""
    entry, warnings = control.authored.create(body, actor=actor)
    return _one(control, entry.id, warnings)


@router.get("/{task_id}", operation_id="get_task", response_model=TaskOut)
def get_task(control: Ctl, task_id: TaskId) -> dict[str, Any]:
    """One task, archived ones too."""
    return _one(control, task_id)


@router.put("/{task_id}", operation_id="change_task", response_model=TaskOut)
def change_task(
    control: Ctl, actor: Actor, task_id: TaskId, body: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """Change the given fields; `null` clears one; naming one kind of schedule replaces the other."""
    changes = dict(body)
    enabled = changes.pop("enabled", None)
    if enabled is not None and not isinstance(enabled, bool):
        raise DefinitionErrors([FieldError(("enabled",), "true or false, without quotes", "wrong_type")])
    warnings: tuple[str, ...] = ()
    if changes or enabled is None:
        _, warnings = control.authored.change(task_id, changes, actor=actor)
    if enabled is not None:
        (control.operations.enable if enabled else control.operations.disable)(task_id, actor=actor)
    return _one(control, task_id, warnings)


@router.delete("/{task_id}", status_code=204, operation_id="delete_task")
def delete_task(
    control: Ctl, actor: Actor, task_id: TaskId, force: bool = False, terminate: bool = False
) -> Response:
    """Remove its definition and archive it; what runs, ends by itself, or at once with `terminate=true`."""
    control.authored.delete(task_id, actor=actor, force=force)
    if terminate:
        _terminate_all(control, task_id, actor)
    return Response(status_code=204)


@router.post("/{task_id}/trigger", operation_id="trigger_task", response_model=Triggered)
def trigger_task(
    request: Request, control: Ctl, actor: Actor, task_id: TaskId, body: TriggerIn | None = None
) -> dict[str, Any]:
    """Run it now. 409 where `overlap: skip` and an execution is active, or that logical time has fired."""
    body = body or TriggerIn()
    execution_id = control.operations.trigger(
        task_id,
        actor=actor,
        trigger_type=TriggerType.API,
        params=checked(body.params),
        logical_time=control.instant(body.logical_time),
        rerun=body.rerun,
    )
    return {"message": message("triggered", request), "execution_id": execution_id}


@router.post("/{task_id}/enable", operation_id="enable_task", response_model=TaskOut)
def enable_task(control: Ctl, actor: Actor, task_id: TaskId) -> dict[str, Any]:
    """Let its schedule fire, from now on."""
    control.operations.enable(task_id, actor=actor)
    return _one(control, task_id)


@router.post("/{task_id}/disable", operation_id="disable_task", response_model=TaskOut)
def disable_task(control: Ctl, actor: Actor, task_id: TaskId) -> dict[str, Any]:
    """Skip its fires; what is pending goes on."""
    control.operations.disable(task_id, actor=actor)
    return _one(control, task_id)


@router.post("/{task_id}/pause", operation_id="pause_task", response_model=TaskOut)
def pause_task(control: Ctl, actor: Actor, task_id: TaskId) -> dict[str, Any]:
    """Skip its fires and hold what is pending."""
    control.operations.pause(task_id, actor=actor)
    return _one(control, task_id)


@router.post("/{task_id}/resume", operation_id="resume_task", response_model=TaskOut)
def resume_task(control: Ctl, actor: Actor, task_id: TaskId) -> dict[str, Any]:
    """Undo a pause."""
    control.operations.resume(task_id, actor=actor)
    return _one(control, task_id)


@router.get("/{task_id}/executions", operation_id="list_task_executions", response_model=ExecutionPage)
def list_task_executions(
    control: Ctl, task_id: TaskId, query: Annotated[ExecutionQuery, Query()]
) -> dict[str, Any]:
    """Its executions, newest first."""
    _row(control, task_id)
    return execution_page(control, query, task_id=task_id)


@router.get(
    "/{task_id}/executions/{execution_id}",
    operation_id="get_task_execution",
    response_model=ExecutionOut,
    response_model_exclude_unset=True,
)
def get_task_execution(control: Ctl, task_id: TaskId, execution_id: ExecutionId) -> dict[str, Any]:
    """One of its executions, with live progress."""
    row = queries.execution_row(control.database, execution_id)
    if row is None or row.task_id != task_id:
        raise ExecutionNotFound(f"task {task_id} has no execution {execution_id}")
    return execution_details(control, row)


@router.get("/{task_id}/fires", operation_id="list_fires")
def list_fires(
    control: Ctl,
    task_id: TaskId,
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
) -> dict[str, Any]:
    """The ledger: fired instants with their executions, skipped instants and spans with the reason."""
    _row(control, task_id)
    start, end = to_micros(control.instant(since)), to_micros(control.instant(until))
    rows = queries.ledger(control.database, task_id, start or 0, MAX_ID if end is None else end)
    return {"fires": [_fire_out(row) for row in rows]}


def _fire_out(row: Any) -> dict[str, Any]:
    return {
        "logical_time": from_micros(row.logical_time),
        "until": from_micros(row.until),
        "outcome": row.outcome,
        "execution_id": row.execution_id,
        "recorded_time": from_micros(row.recorded_time),
    }


def _terminate_all(control: Control, task_id: int, actor: str) -> None:
    """End all executions of a task; after its deletion, so that no new ones come."""
    for status in ACTIVE:
        rows, _ = queries.list_executions(
            control.database, skip=0, limit=MAX_ID, task_id=task_id, status=status
        )
        for row in rows:
            with contextlib.suppress(WrongState):  # it has ended meanwhile
                control.operations.terminate(row.id, actor=actor)


def _row(control: Control, task_id: int) -> Any:
    row = queries.task_row(control.database, task_id)
    if row is None:
        raise TaskNotFound(f"no task has the id {task_id}")
    return row


def _one(control: Control, task_id: int, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    return _shaped(control, [_row(control, task_id)], {task_id: warnings})[0]


def _shaped(
    control: Control, rows: Any, warnings: Mapping[int, tuple[str, ...]] | None = None
) -> list[dict[str, Any]]:
    active = queries.active_of(control.database, [row.id for row in rows if row.active_count])
    latest = queries.latest_facts(
        control.database, [row.latest_execution_id for row in rows if row.latest_execution_id]
    )
    return [
        task_out(
            row,
            _definition(control, row),
            active=active.get(row.id, ()),
            latest=latest.get(row.latest_execution_id),
            warnings=(warnings or {}).get(row.id, ()),
        )
        for row in rows
    ]


def _definition(control: Control, row: Any) -> TaskDef:
    entry = control.registry.by_id.get(row.id)
    if entry is not None and entry.version == row.version:
        return entry.definition
    body = store.body_of(control.database, row.id, row.version)
    assert body is not None
    return decode(json.loads(body))
