"""Workflows over REST: the graph of one with the states of a run, and whether a definition is sound (CONTRACT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Control, Ctl, TaskId
from zquant_flow.api.executions import execution_row
from zquant_flow.api.languages import language_of, said
from zquant_flow.api.models import ValidationOut, WorkflowOut
from zquant_flow.api.security import signed_in
from zquant_flow.api.tasks import definition_of, task_row
from zquant_flow.core.approval import Approval
from zquant_flow.core.graph import plan_workflow
from zquant_flow.core.model import Node, TaskDef, Workflow, encode_for_each
from zquant_flow.definitions.faults import DefinitionErrors
from zquant_flow.definitions.loader import LoadedDefinition, LoadedFile
from zquant_flow.definitions.registry import plan_change
from zquant_flow.errors import ExecutionNotFound, WrongState
from zquant_flow.store import history
from zquant_flow.wording import say

router = APIRouter(tags=["workflows"], dependencies=[Depends(signed_in)])

Workflowish = Annotated[
    dict[str, Any],
    Body(
        description="A whole definition, or only the `config` of a workflow.",
        openapi_examples={
            "config": {
                "summary": "In the words of the origin",
                "value": {
                    "workflow_type": "serial",
                    "tasks": [
                        {"name": "a", "command": "true"},
                        {"name": "b", "command": "true", "dependencies": ["a"]},
                    ],
                    "on_failure": "stop",
                },
            }
        },
    ),
]


@router.get("/tasks/{task_id}/workflow", operation_id="get_workflow", response_model=WorkflowOut)
def get_workflow(
    control: Ctl, task_id: TaskId, execution_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None
) -> Response:
    """Its nodes, edges and order; with `execution_id` as that execution had them, and how each of them stands there."""
    row = task_row(control, task_id)
    definition, version, states = definition_of(control, row), row.version, {}
    if execution_id is not None:
        run = execution_row(control, execution_id)
        if run.task_id != task_id or run.inline:
            raise ExecutionNotFound(
                say("task {task} has no execution {execution}", task=task_id, execution=execution_id)
            )
        version = run.version
        definition = control.engine.resuming.definition(task_id, version)
        states = {child.node: child for child in history.children(control.database, run)}
    if definition.workflow is None:
        raise WrongState(say("task {name!r} is no workflow", name=definition.name))
    return Json(_graph(control, task_id, version, definition.workflow, states, execution_id is not None))


@router.post(
    "/tasks/{task_id}/workflow/validate", operation_id="validate_task_workflow", response_model=ValidationOut
)
def validate_task_workflow(
    request: Request, control: Ctl, task_id: TaskId, body: Workflowish | None = None
) -> Response:
    """Whether the workflow is sound as it stands, or would be with this definition in its place."""
    row = task_row(control, task_id)
    name = row.name
    if body is None:
        definition = definition_of(control, row)
        faults = _standing(control, definition) if definition.workflow else [_no_workflow(name)]
        return _verdict(request, faults, ())
    return _judged(request, control, {**body, "name": body.get("name", name)})


@router.post("/workflow/validate", operation_id="validate_workflow", response_model=ValidationOut)
def validate_workflow(request: Request, control: Ctl, body: Workflowish) -> Response:
    """Whether a workflow could be registered: unknown nodes, cycles with their nodes' names, tasks that are not there."""
    return _judged(request, control, {"name": "workflow", **body})


def _judged(request: Request, control: Control, raw: Mapping[str, Any]) -> Response:
    from zquant_flow.definitions.schema import parse_definition  # 0.1 s that a start never pays

    try:
        parsed = parse_definition(
            raw,
            origin="rest",
            executors=control.plugged.configs,
            task_name=lambda number: entry.name if (entry := control.registry.by_id.get(number)) else None,
        )
    except DefinitionErrors as exc:
        faults = [
            {"field": error.field, "code": error.code, "message": error.message} for error in exc.errors
        ]
        return _verdict(request, faults, ())
    if parsed.task.workflow is None:
        return _verdict(request, [_no_workflow(parsed.task.name)], parsed.warnings)
    return _verdict(request, _standing(control, parsed.task), parsed.warnings)


def _standing(control: Control, definition: TaskDef) -> list[dict[str, Any]]:
    """What the other definitions have against this one: tasks that are missing, circles through several files."""
    known = control.registry.by_name.get(definition.name)
    file = LoadedFile(
        path=known.source if known else "",
        kind="tasks",
        definitions=(LoadedDefinition(task=definition, line=1, document=0),),
    )
    errors = plan_change(control.registry, [file]).errors.get(file.path, ())
    return [{"field": error.field, "code": error.code, "message": error.message} for error in errors]


def _verdict(request: Request, faults: Sequence[Any], warnings: Sequence[str]) -> Response:
    errors = said(list(faults), language_of(request))
    return Json({"valid": not errors, "errors": errors, "warnings": list(warnings)})


def _no_workflow(name: str) -> dict[str, Any]:
    return {"field": "tasks", "code": "missing", "message": say("task {name!r} is no workflow", name=name)}


def _graph(
    control: Control,
    task_id: int,
    version: int,
    workflow: Workflow,
    states: Mapping[str, Any],
    has_run: bool,
) -> dict[str, Any]:
    plan = plan_workflow(workflow)
    return {
        "task_id": task_id,
        "version": version,
        "workflow_type": workflow.workflow_type.value,
        "on_failure": workflow.on_failure.value,
        "max_parallel": workflow.max_parallel,
        "nodes": [_node(control, node, states.get(node.name), has_run) for node in workflow.nodes],
        "edges": [
            {"from": earlier, "to": node.name} for node in workflow.nodes for earlier in node.dependencies
        ],
        "order": [plan.names[node] for node in plan.order],
    }


def _node(control: Control, node: Node, state: Any | None, has_run: bool) -> dict[str, Any]:
    entry = control.registry.by_name.get(node.task or "")
    waiting = "pending" if has_run else None
    return {
        "name": node.name,
        "task": node.task,
        "task_id": entry.id if entry else None,
        "executor": node.action.executor if node.action else None,
        "dependencies": list(node.dependencies),
        "trigger_rule": node.trigger_rule.value,
        "when": node.when,
        "for_each": encode_for_each(node.for_each),
        "max_parallel": node.max_parallel,
        "group": node.group,
        "approval": _approval(node.approval) if node.approval else None,
        "execution_id": state.id if state else None,
        "status": state.status if state else waiting,
    }


def _approval(approval: Approval) -> dict[str, Any]:
    return {
        "message": approval.message,
        "who": list(approval.who),
        "timeout_seconds": approval.timeout.total_seconds() if approval.timeout else None,
        "on_timeout": approval.on_timeout.value,
    }
