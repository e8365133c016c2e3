"""What tasks can be told to do: trigger, enable, disable, pause, resume, backfill; one by one or many at once (CONTRACT)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Control, Ctl, TaskId
from zquant_flow.api.keys import KeyOf
from zquant_flow.api.languages import language_of, message
from zquant_flow.api.models import (
    BackfillIn,
    BackfillOut,
    BulkIn,
    BulkOut,
    PruneOut,
    TaskOut,
    TriggeredOut,
    TriggerIn,
)
from zquant_flow.api.params import checked
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.tasks import definition_of, one_task, task_row
from zquant_flow.api.validation import meaningless
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.status import TriggerType
from zquant_flow.engine.operations import Operations
from zquant_flow.errors import TaskNotFound, ZquantFlowError
from zquant_flow.store import queries
from zquant_flow.wording import Language, say, translated

router = APIRouter(prefix="/tasks", tags=["operations"], dependencies=[Depends(signed_in)])

MOST_FIRES = 10_000
"""Logical times that one backfill may ask for."""
MOST_PARAMS = 50_000_000
"""Characters that the params of all executions of a backfill may have together."""


@router.post("/bulk", operation_id="bulk_tasks", response_model=BulkOut)
def bulk_tasks(request: Request, control: Ctl, actor: Actor, body: BulkIn) -> Response:
    """One action on many tasks. Each succeeds or fails on its own; the answer says which, in the order asked."""
    ids = list(dict.fromkeys(body.task_ids))
    found = (
        _deleted(control, ids, body, actor) if body.action == "delete" else _done(control, ids, body, actor)
    )
    language = language_of(request)
    results = [_result(task_id, answer, language) for task_id, answer in zip(ids, found, strict=True)]
    failed = sum(not result["ok"] for result in results)
    return Json({"results": results, "succeeded": len(results) - failed, "failed": failed})


@router.post("/prune", operation_id="prune_tasks", response_model=PruneOut)
def prune_tasks(control: Ctl, actor: Actor) -> Response:
    """Believe that what is missing from the tasks folder is gone, and archive it; by itself a great loss is doubted."""
    return Json({"files": control.folder.prune(actor=actor)})


@router.post("/{task_id}/trigger", operation_id="trigger_task", response_model=TriggeredOut)
def trigger_task(
    request: Request,
    control: Ctl,
    actor: Actor,
    key_of: KeyOf,
    task_id: TaskId,
    body: TriggerIn | None = None,
) -> Response:
    """Run it now. 409 where `overlap: skip` and an execution is active, or that logical time has fired."""
    body = body or TriggerIn()
    execution_id = control.operations.trigger(
        task_id,
        actor=actor,
        trigger_type=TriggerType.API,
        params=checked(body.params),
        logical_time=control.instant(body.logical_time, "logical_time"),
        rerun=body.rerun,
        key=key_of("trigger_task", task_id, body.model_dump()),
    )
    return Json({"message": message("triggered", request), "execution_id": execution_id})


@router.post("/{task_id}/enable", operation_id="enable_task", response_model=TaskOut)
def enable_task(control: Ctl, actor: Actor, task_id: TaskId) -> Response:
    """Look for its fires again, from now on."""
    control.operations.enable(task_id, actor=actor)
    return one_task(control, task_id)


@router.post("/{task_id}/disable", operation_id="disable_task", response_model=TaskOut)
def disable_task(control: Ctl, actor: Actor, task_id: TaskId) -> Response:
    """Skip its fires; what is pending goes on."""
    control.operations.disable(task_id, actor=actor)
    return one_task(control, task_id)


@router.post("/{task_id}/pause", operation_id="pause_task", response_model=TaskOut)
def pause_task(control: Ctl, actor: Actor, task_id: TaskId) -> Response:
    """Skip its fires and hold what is pending."""
    control.operations.pause(task_id, actor=actor)
    return one_task(control, task_id)


@router.post("/{task_id}/resume", operation_id="resume_task", response_model=TaskOut)
def resume_task(control: Ctl, actor: Actor, task_id: TaskId) -> Response:
    """Undo a pause."""
    control.operations.resume(task_id, actor=actor)
    return one_task(control, task_id)


@router.post("/{task_id}/backfill", operation_id="backfill_task", response_model=BackfillOut)
def backfill_task(control: Ctl, actor: Actor, key_of: KeyOf, task_id: TaskId, body: BackfillIn) -> Response:
    """One execution for each logical time in the span that has none; `dry_run` only says which."""
    key = key_of("backfill_task", task_id, body.model_dump())
    if (found := control.operations.replayed(key)) is not None:
        return Json(_backfill_out(found))
    start, end = control.instant(body.from_, "from"), control.instant(body.to, "to")
    assert start is not None and end is not None
    moments = _moments(control, task_id, start, end)
    span = to_micros(start) or 0, to_micros(end) or 0
    if body.dry_run:
        fired = queries.fired_between(control.database, task_id, *span)
        wanted = {str(moment): None for moment in moments if moment not in fired}
        known = {str(moment): fired[moment] for moment in moments if moment in fired}
        return Json(_backfill_out({"executions": wanted, "fired": known}, dry_run=True))
    params = checked(body.params)
    _refuse_too_much(params, len(moments))
    found = control.operations.backfill(
        task_id,
        moments,
        span=span,
        parallel=body.parallel,
        actor=actor,
        params=params,
        key=key,
    )
    return Json(_backfill_out(found))


def _moments(control: Control, task_id: int, start: datetime, end: datetime) -> list[int]:
    """The logical times of its schedule in [start, end]. Raises BadRequest where there is nothing to ask for."""
    row = task_row(control, task_id)
    definition = definition_of(control, row)
    if row.archived_at is not None:
        raise TaskNotFound(say("task {id} is archived", id=task_id))
    if definition.schedule is None:
        raise meaningless(say("task {name!r} has no schedule, so no logical times", name=row.name), "task_id")
    if start > end:
        raise meaningless(say("`from` is later than `to`"), "from", "to")
    if (to_micros(end) or 0) > control.engine.now():
        raise meaningless(say("`to` is in the future: a backfill runs what is past"), "to")
    table = control.engine.times_for([definition]).table(definition.schedule, from_micros(row.anchor))
    for sessions in table.sessions:
        if sessions is not None and sessions.day_of(start) < sessions.first:
            first = date.fromordinal(sessions.first).isoformat()
            message = say("{name} is known from {day}", name=sessions.name, day=first)
            raise meaningless(message, "from", code="outside_calendar")
    found = table.between(start - datetime.resolution, end)
    moments = [to_micros(moment) or 0 for moment in islice(found, MOST_FIRES + 1)]
    if len(moments) > MOST_FIRES:
        message = say("the span has more than {count} logical times; ask for a shorter one", count=MOST_FIRES)
        raise meaningless(message, "from", "to")
    return moments


def _refuse_too_much(params: Mapping[str, Any] | None, times: int) -> None:
    """Each execution keeps its params: a large one, many thousand times, is no backfill but a flood."""
    if len(json.dumps(params or {})) * times > MOST_PARAMS:
        message = say(
            "the params are too large for {count} executions: send the place of the data", count=times
        )
        raise meaningless(message, "params")


def _backfill_out(found: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
    """From what the engine made, or would make: executions by logical time, and those of before."""
    return {
        "backfill_id": next(iter(found["executions"].values()), None),
        "executions": [
            {"logical_time": from_micros(int(moment)), "execution_id": number}
            for moment, number in found["executions"].items()
        ],
        "fired_before": [from_micros(int(moment)) for moment in found["fired"]],
        "dry_run": dry_run,
    }


def _result(task_id: int, answer: int | ZquantFlowError | None, language: Language) -> dict[str, Any]:
    error = answer if isinstance(answer, ZquantFlowError) else None
    return {
        "task_id": task_id,
        "ok": error is None,
        "execution_id": None if error else answer,
        "code": error.code if error else None,
        "detail": translated(error.detail, language) if error else None,
    }


def _done(
    control: Control, ids: Sequence[int], body: BulkIn, actor: str
) -> Sequence[int | ZquantFlowError | None]:
    """All in one turn of the engine, so in one commit."""
    params = checked(body.params)

    def step(task_id: int, operations: Operations) -> int | None:
        if body.action == "trigger":
            return operations.trigger(task_id, actor=actor, trigger_type=TriggerType.API, params=params)
        switches: dict[str, Callable[..., None]] = {
            "enable": operations.enable,
            "disable": operations.disable,
            "pause": operations.pause,
            "resume": operations.resume,
        }
        switches[body.action](task_id, actor=actor)
        return None

    return control.operations.at_once([partial(step, task_id) for task_id in ids])


def _deleted(
    control: Control, ids: Sequence[int], body: BulkIn, actor: str
) -> Sequence[int | ZquantFlowError | None]:
    """One after the other: each is a change of a file."""
    found: list[int | ZquantFlowError | None] = []
    for task_id in ids:
        try:
            control.authored.delete(task_id, actor=actor, force=body.force)
            found.append(None)
        except ZquantFlowError as error:
            found.append(error)
    return found
