"""Executions over REST: lists, one with attempts and nodes, run a definition, pause, resume, terminate (CONTRACT)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import Response

from zquant_flow.api import paging
from zquant_flow.api.answers import PIECE, Json, streamed
from zquant_flow.api.control import Control, Ctl, ExecutionId, TaskId
from zquant_flow.api.keys import KeyOf
from zquant_flow.api.languages import message
from zquant_flow.api.models import ExecutionOut, ExecutionPage, ExecutionQuery, RunIn, TriggeredOut
from zquant_flow.api.params import checked
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.shapes import execution_out, planned_out, stored
from zquant_flow.api.tasks import task_row
from zquant_flow.api.validation import meaningless
from zquant_flow.core.approval import APPROVAL
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.status import ACTIVE, Status, TriggerType
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.errors import ExecutionNotFound
from zquant_flow.plugin.policy import Refused, altered
from zquant_flow.store import history, queries
from zquant_flow.store.history import Wanted
from zquant_flow.store.tasklist import TaskFilter
from zquant_flow.wording import joined, say

router = APIRouter(tags=["executions"], dependencies=[Depends(signed_in)])

_ORDER = "newest"
Include = Annotated[
    str, Query(max_length=100, description="`attempts`, `children`, or both with a comma between.")
]


@router.get("/executions", operation_id="list_executions", response_model=ExecutionPage)
def list_executions(control: Ctl, query: Annotated[ExecutionQuery, Query()]) -> Response:
    """Executions of all tasks, newest first; `total` counts all that match."""
    return _page(control, query)


@router.get("/tasks/{task_id}/executions", operation_id="list_task_executions", response_model=ExecutionPage)
def list_task_executions(
    control: Ctl, task_id: TaskId, query: Annotated[ExecutionQuery, Query()]
) -> Response:
    """Its executions, newest first."""
    task_row(control, task_id)
    return _page(control, query, task_id=task_id)


@router.post("/executions", status_code=201, operation_id="run_definition", response_model=TriggeredOut)
def run_definition(
    request: Request, control: Ctl, actor: Actor, key_of: KeyOf, body: Annotated[RunIn, Body()]
) -> Response:
    """Run a definition once, without registering it. Its schedule, if it has one, is not followed."""
    # Imported late: 0.1 s that a start without such requests never pays.
    from zquant_flow.definitions.schema import parse_definition

    try:
        parsed = parse_definition(
            body.definition, origin="rest", executors=control.plugged.configs, task_name=_name_of(control)
        )
    except DefinitionErrors as exc:
        raise DefinitionErrors(
            [FieldError(("definition", *error.path), error.message, error.code) for error in exc.errors]
        ) from exc
    _refuse_own_modules(control, parsed.task)
    execution_id = control.operations.run(
        _allowed(control, parsed.task),
        actor=actor,
        params=checked(body.params),
        key=key_of("run_definition", body.model_dump()),
    )
    return Json({"message": message("triggered", request), "execution_id": execution_id}, status_code=201)


@router.get("/executions/{execution_id}", operation_id="get_execution", response_model=ExecutionOut)
def get_execution(control: Ctl, execution_id: ExecutionId, include: Include = "") -> Response:
    """One execution; `include=attempts,children` adds its attempts and its nodes in the order of the plan."""
    return details(control, execution_row(control, execution_id), include)


@router.get(
    "/tasks/{task_id}/executions/{execution_id}",
    operation_id="get_task_execution",
    response_model=ExecutionOut,
)
def get_task_execution(
    control: Ctl, task_id: TaskId, execution_id: ExecutionId, include: Include = ""
) -> Response:
    """One of its executions, with live progress."""
    row = history.one(control.database, execution_id)
    if row is None or row.task_id != task_id:
        raise ExecutionNotFound(
            say("task {task} has no execution {execution}", task=task_id, execution=execution_id)
        )
    return details(control, row, include)


@router.post(
    "/executions/{execution_id}/terminate", operation_id="terminate_execution", response_model=ExecutionOut
)
def terminate_execution(control: Ctl, actor: Actor, execution_id: ExecutionId) -> Response:
    """End it and all below it: SIGTERM, grace, SIGKILL."""
    control.operations.terminate(execution_id, actor=actor)
    return details(control, execution_row(control, execution_id))


@router.post("/executions/{execution_id}/pause", operation_id="pause_execution", response_model=ExecutionOut)
def pause_execution(control: Ctl, actor: Actor, execution_id: ExecutionId) -> Response:
    """Let it stand still: commands at once, Python at its next pause point."""
    control.operations.pause_execution(execution_id, actor=actor)
    return details(control, execution_row(control, execution_id))


@router.post(
    "/executions/{execution_id}/resume", operation_id="resume_execution", response_model=ExecutionOut
)
def resume_execution(
    control: Ctl,
    actor: Actor,
    execution_id: ExecutionId,
    version: Literal["current", "original"] = "current",
) -> Response:
    """Let a paused execution go on. One that did not succeed gets a new execution, which takes over what had succeeded."""
    running = control.operations.resume_execution(execution_id, actor=actor, original=version == "original")
    return details(control, execution_row(control, running))


def _allowed(control: Control, definition: TaskDef) -> TaskDef:
    """The definition as plugins leave it."""
    try:
        return altered(control.plugged.current, definition, "")
    except Refused as refused:
        raise DefinitionErrors([FieldError(("definition",), refused.args[0], "refused")]) from refused


def _refuse_own_modules(control: Control, definition: TaskDef) -> None:
    """Modules of the tasks folder are kept with a version when they are registered; there is none here to run from."""
    nodes = definition.workflow.nodes if definition.workflow else ()
    actions = [definition.action, *(node.action for node in nodes)]
    for action in actions:
        module = str(action.config.get("module", "")) if action and action.executor == "python" else ""
        if module and (control.folder.path / f"{module.partition('.')[0]}.py").exists():
            message = say(
                "module {module!r} stands in the tasks folder: register the task, so that it runs from a version",
                module=module,
            )
            raise meaningless(message, "definition.python")


def execution_row(control: Control, execution_id: int) -> Any:
    """The row of an execution, with its `task_name`. Raises ExecutionNotFound."""
    row = history.one(control.database, execution_id)
    if row is None:
        raise ExecutionNotFound(say("no execution has the id {id}", id=execution_id))
    return row


def _page(control: Control, query: ExecutionQuery, *, task_id: int | None = None) -> Response:
    of_tasks = None
    if query.q or query.tag or query.source:
        of_tasks = TaskFilter(text=query.q, tag=query.tag, source=query.source, archived=True)
    wanted = Wanted(
        task_id=task_id,
        tasks=of_tasks,
        statuses=tuple(query.status),
        trigger_types=_trigger_types(query),
        since=to_micros(control.instant(query.since, "since")),
        until=to_micros(control.instant(query.until, "until")),
        inline=query.include == "nodes" or query.waiting_for == APPROVAL,
        waiting_for=query.waiting_for,
    )
    after = paging.position(query.cursor, _ORDER, int, int)
    found = history.page(
        control.database,
        wanted,
        limit=query.limit,
        skip=query.skip,
        after=(after[0], after[1]) if after else None,
    )
    following = paging.cursor(_ORDER, *found.following) if found.following else None
    rest = {"total": found.total, "next_cursor": following}
    if len(found.rows) <= PIECE:
        return Json({"executions": [execution_out(row) for row in found.rows], **rest})
    return streamed("executions", map(execution_out, found.rows), **rest)


def _trigger_types(query: ExecutionQuery) -> tuple[str, ...]:
    unknown = [kind for kind in query.trigger_type if kind not in list(TriggerType)]
    if unknown:
        known = joined(", ", [kind.value for kind in TriggerType])
        message = say("trigger_type {kind!r} is not one of {known}", kind=unknown[0], known=known)
        raise meaningless(message, "trigger_type")
    return tuple(query.trigger_type)


def _name_of(control: Control) -> Any:
    def name_of(task_id: int) -> str | None:
        entry = control.registry.by_id.get(task_id)
        return entry.name if entry else None

    return name_of


def details(control: Control, row: Any, include: str = "") -> Response:
    """One execution with its params, and `attempts` and `children` where they are wanted."""
    wanted = _included(include)
    attempts = queries.attempts_of(control.database, row.id) if "attempts" in wanted else None
    params = _params(control, row)
    out = {**execution_out(row, attempts=attempts), "params": params}
    if "children" in wanted:
        return streamed("children", _children(control, row, params), **out)
    return Json(out)


def _included(include: str) -> Collection[str]:
    wanted = {word for word in include.split(",") if word}
    if not wanted <= {"attempts", "children"}:
        raise meaningless(say("include: `attempts`, `children`, or both with a comma between"), "include")
    return wanted


def _params(control: Control, row: Any) -> dict[str, Any]:
    """The params of an execution; an inline node without its own has those of its workflow's execution."""
    if row.params is None and row.inline:
        row = queries.execution_row(control.database, row.parent_execution_id) or row
    return stored(row.params) or {}


def _children(control: Control, row: Any, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A workflow's nodes: those with rows, and those of the plan that have none yet.

    An inline node has none: its `task_id` is its workflow's, and so would the plan be.
    """
    known: set[str | None] = set()
    for child in history.children(control.database, row):
        known.add(child.node)
        shaped = execution_out(child)
        yield shaped if child.params or not child.inline else {**shaped, "params": params}
    if Status(row.status) in ACTIVE and not row.inline:
        yield from _planned(control, row, known)


def _planned(control: Control, row: Any, known: Collection[str | None]) -> Iterator[dict[str, Any]]:
    """Of the version that it runs, which need be neither registered nor the newest."""
    entry = control.registry.by_id.get(row.task_id)
    if entry is not None and entry.version == row.version:
        workflow = entry.definition.workflow  # as most do: nothing to read and to decode
    else:
        workflow = control.engine.resuming.definition(row.task_id, row.version).workflow
    for node in workflow.nodes if workflow is not None else ():
        if node.name not in known:
            yield planned_out(row, node.name)
