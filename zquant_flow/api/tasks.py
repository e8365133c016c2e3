"""Tasks over REST: list, create, read, change, delete, and their versions (CONTRACT)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Query
from fastapi.responses import Response

from zquant_flow.api import paging
from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Control, Ctl, TaskId
from zquant_flow.api.keys import KeyOf
from zquant_flow.api.models import TaskOut, TaskPage, VersionOut, VersionPage
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.shapes import node_out, task_out, version_out
from zquant_flow.api.validation import Storable, meaningless
from zquant_flow.core.model import TaskDef, TaskType, decode
from zquant_flow.core.status import Status
from zquant_flow.definitions.calendars import calendars_of
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.notifications import unknown_channels
from zquant_flow.engine.awaited import MISSING, tasks_awaited
from zquant_flow.engine.tasks import state_tag
from zquant_flow.errors import NotFound, TaskNotFound
from zquant_flow.store import definitions as store
from zquant_flow.store import queries, tasklist
from zquant_flow.store.tasklist import TaskFilter
from zquant_flow.wording import joined, say

router = APIRouter(prefix="/tasks", tags=["tasks"], dependencies=[Depends(signed_in)])

Text = Annotated[Storable | None, Query(max_length=200)]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="The `ETag` of the task as you read it: 412 instead of a change if it is another by now.",
    ),
]
Definition = Annotated[
    dict[str, Any],
    Body(
        description="Any keys of a task file (`/schema`), or in the words of the origin: `cron_expression`, "
        "`interval_seconds`, `config`.",
        openapi_examples={
            "cron": {
                "summary": "A command by cron",
                "value": {
                    "name": "sync-daily",
                    "task_type": "common_task",
                    "cron_expression": "0 18 * * 1-5",
                    "config": {"command": "python sync_daily.py", "timeout_seconds": 600},
                    "max_retries": 3,
                    "retry_interval": 60,
                },
            },
            "workflow": {
                "summary": "A workflow",
                "value": {
                    "name": "nightly",
                    "cron": "30 18 * * 1-5",
                    "timezone": "Asia/Shanghai",
                    "workflow_type": "parallel",
                    "tasks": [
                        {"name": "calendar", "command": "python sync_calendar.py"},
                        {"name": "daily", "command": "python sync_daily.py", "dependencies": ["calendar"]},
                    ],
                },
            },
        },
    ),
]


@router.get("", operation_id="list_tasks", response_model=TaskPage)
def list_tasks(
    control: Ctl,
    skip: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    name: Text = None,
    task_type: TaskType | None = None,
    enabled: bool | None = None,
    paused: bool | None = None,
    status: Annotated[list[Status] | None, Query(description="Of the latest execution.")] = None,
    order_by: Annotated[str, Query(pattern="^[a-z_]+$")] = "id",
    order: Literal["asc", "desc"] = "asc",
    q: Text = None,
    tag: Text = None,
    source: Annotated[
        Storable | None, Query(max_length=1000, description="A file or folder of tasks.")
    ] = None,
    archived: bool = False,
    include_nodes: bool = False,
) -> Response:
    """A page of tasks; `total` counts all that match."""
    if order_by not in tasklist.ORDER:
        known = joined(", ", tasklist.ORDER)
        message = say("order_by {order!r} is not one of {known}", order=order_by, known=known)
        raise meaningless(message, "order_by")
    wanted = TaskFilter(
        name=name,
        task_type=task_type,
        enabled=enabled,
        paused=paused,
        statuses=tuple(status or ()),
        text=q,
        tag=tag,
        source=source,
        archived=archived,
    )
    after = paging.position(cursor, f"{order_by} {order}", (tasklist.kind_of(order_by), type(None)), int)
    found = tasklist.page(
        control.database,
        wanted,
        skip=skip,
        limit=limit,
        after=(after[0], after[1]) if after else None,
        order_by=order_by,
        descending=order == "desc",
    )
    following = paging.cursor(f"{order_by} {order}", *found.following) if found.following else None
    tasks = _shaped(control, found.rows, include_nodes=include_nodes)
    return Json({"tasks": tasks, "total": found.total, "next_cursor": following})


@router.post("", status_code=201, operation_id="create_task", response_model=TaskOut)
def create_task(
    control: Ctl, actor: Actor, key_of: KeyOf, body: Definition, new_id: bool = False
) -> Response:
    """Make a task; it lands as a readable file in the tasks folder. `new_id=true` starts afresh under an archived name."""
    body = _emptied(body)
    task_id, warnings = control.authored.create(
        body, actor=actor, key=key_of("create_task", new_id, body), new_id=new_id
    )
    return one_task(control, task_id, warnings, status=201)


@router.get("/{task_id}", operation_id="get_task", response_model=TaskOut)
def get_task(control: Ctl, task_id: TaskId, include_nodes: bool = False) -> Response:
    """One task, archived ones too. Its `ETag` names the state of definition and switches."""
    return one_task(control, task_id, include_nodes=include_nodes)


@router.put("/{task_id}", operation_id="change_task", response_model=TaskOut)
def change_task(
    control: Ctl, actor: Actor, task_id: TaskId, body: Definition, if_match: IfMatch = None
) -> Response:
    """Change the given fields; `null` clears one; naming one kind of schedule replaces the other."""
    changes = _emptied(body)
    enabled = changes.pop("enabled", None)
    if enabled is not None and not isinstance(enabled, bool):
        raise DefinitionErrors([FieldError(("enabled",), say("true or false, without quotes"), "wrong_type")])
    warnings: tuple[str, ...] = ()
    expected = _expected(control, task_id, if_match)
    if changes or enabled is None:
        _, warnings = control.authored.change(task_id, changes, actor=actor, expected=expected)
    else:
        control.authored.refuse_outdated(task_id, expected)
    if enabled is not None:
        seen = None if changes else expected
        switch = control.operations.enable if enabled else control.operations.disable
        switch(task_id, actor=actor, expected=seen)
    return one_task(control, task_id, warnings)


@router.delete("/{task_id}", status_code=204, operation_id="delete_task")
def delete_task(
    control: Ctl,
    actor: Actor,
    task_id: TaskId,
    force: bool = False,
    terminate: bool = False,
    if_match: IfMatch = None,
) -> Response:
    """Remove its definition and archive it; what runs, ends by itself, or at once with `terminate=true`."""
    expected = _expected(control, task_id, if_match)
    if terminate:
        control.operations.refuse_to_end_at_rest(task_id)
    control.authored.delete(task_id, actor=actor, force=force, expected=expected)
    if terminate:
        control.operations.terminate_all(task_id, actor=actor)
    return Response(status_code=204)


@router.get("/{task_id}/versions", operation_id="list_task_versions", response_model=VersionPage)
def list_versions(control: Ctl, task_id: TaskId) -> Response:
    """The versions of its definition, newest first."""
    row = task_row(control, task_id)
    found = [version_out(version, row.version) for version in store.versions(control.database, task_id)]
    return Json({"versions": found, "total": len(found)})


@router.get("/{task_id}/versions/{version}", operation_id="get_task_version", response_model=VersionOut)
def get_version(control: Ctl, task_id: TaskId, version: TaskId) -> Response:
    """One version of its definition, in full."""
    row = task_row(control, task_id)
    found = store.version(control.database, task_id, version)
    if found is None:
        raise NotFound(say("task {id} has no version {version}", id=task_id, version=version))
    return Json({**version_out(found, row.version), "definition": json.loads(found.body)})


def task_row(control: Control, task_id: int) -> Any:
    """The row of a task. Raises TaskNotFound."""
    row = queries.task_row(control.database, task_id)
    if row is None:
        raise TaskNotFound(say("no task has the id {id}", id=task_id))
    return row


def one_task(
    control: Control,
    task_id: int,
    warnings: tuple[str, ...] = (),
    *,
    status: int = 200,
    include_nodes: bool = False,
) -> Response:
    """The answer that shows one task, with its `ETag`. Raises TaskNotFound."""
    row = task_row(control, task_id)
    [task] = _shaped(control, [row], {task_id: warnings}, include_nodes=include_nodes)
    return Json(task, status_code=status, headers={"ETag": f'"{state_tag(row)}"'})


def definition_of(control: Control, row: Any) -> TaskDef:
    """What a task's current version says, archived or not."""
    entry = control.registry.by_id.get(row.id)
    if entry is not None and entry.version == row.version:
        return entry.definition
    body = store.body_of(control.database, row.id, row.version)
    assert body is not None
    return decode(json.loads(body))


def _emptied(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with an emptied field of a form as what it means: no cron expression (the origin's fault 18)."""
    return {key: None if key == "cron_expression" and value == "" else value for key, value in body.items()}


def _expected(control: Control, task_id: int, if_match: str | None) -> str | None:
    """The state that `If-Match` names; of several the one that the task has now, if it is among them."""
    if if_match is None or if_match.strip() == "*":
        return None
    named = [word.strip().removeprefix("W/").strip('"') for word in if_match.split(",")]
    now = state_tag(task_row(control, task_id))
    return now if now in named else named[0]


def _horizon(control: Control, definition: TaskDef) -> list[str]:
    """A warning where a calendar it follows is published for a short time only."""
    calendars = control.engine.calendars
    near = any(calendars.ends_soon(name) is not None for name in calendars_of(definition))
    return ["calendar_horizon"] if near else []


def _without_channel(control: Control, definition: TaskDef) -> list[str]:
    """A warning where it is to be told by a channel that this server does not have."""
    return ["unknown_channel"] if unknown_channels(definition, control.channels.names) else []


def _awaited(control: Control, definition: TaskDef) -> list[str]:
    """A warning where it waits for a task that is not there."""
    unknown = tasks_awaited(definition) - control.registry.by_name.keys()
    return [MISSING] if unknown else []


def _shaped(
    control: Control,
    rows: Any,
    warnings: Mapping[int, tuple[str, ...]] | None = None,
    *,
    include_nodes: bool = False,
) -> list[dict[str, Any]]:
    active = queries.active_of(control.database, [row.id for row in rows if row.active_count])
    latest = queries.latest_facts(
        control.database, [row.latest_execution_id for row in rows if row.latest_execution_id]
    )
    shaped = []
    for row in rows:
        definition = definition_of(control, row)
        task = task_out(
            row,
            definition,
            active=active.get(row.id, ()),
            latest=latest.get(row.latest_execution_id),
            warnings=[
                *(warnings or {}).get(row.id, ()),
                *_horizon(control, definition),
                *_without_channel(control, definition),
                *_awaited(control, definition),
            ],
        )
        if include_nodes and definition.workflow is not None:
            by_name = control.registry.by_name
            task["nodes"] = [
                node_out(node, by_name.get(node.task or "")) for node in definition.workflow.nodes
            ]
        shaped.append(task)
    return shaped
