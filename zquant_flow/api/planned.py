"""What fired, what will, and why a task is or is not running: the ledger, what is ahead, explain (CONTRACT)."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Ctl, TaskId
from zquant_flow.api.languages import language_of, said
from zquant_flow.api.models import ExplainOut, FirePage, UpcomingPage
from zquant_flow.api.security import signed_in
from zquant_flow.api.shapes import reason_out
from zquant_flow.api.tasks import definition_of, task_row
from zquant_flow.api.validation import meaningless
from zquant_flow.core.instants import from_micros, later, to_micros
from zquant_flow.core.schedule import zone_of
from zquant_flow.core.words import describe
from zquant_flow.engine.explain import calendar_reason, explain
from zquant_flow.engine.upcoming import upcoming
from zquant_flow.store import queries, signals
from zquant_flow.wording import say

router = APIRouter(tags=["schedule"], dependencies=[Depends(signed_in)])

From = Annotated[datetime | None, Query(alias="from")]
To = Annotated[datetime | None, Query(alias="to")]
NEXT = 10
"""So many fires ahead are shown with a task."""
_AHEAD = timedelta(days=366 * 5)


@router.get("/tasks/{task_id}/fires", operation_id="list_fires", response_model=FirePage)
def list_fires(
    control: Ctl,
    task_id: TaskId,
    since: From = None,
    until: To = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """The ledger, by time: fired instants with their executions, skipped instants and spans with the reason."""
    task_row(control, task_id)
    start, end = to_micros(control.instant(since, "from")), to_micros(control.instant(until, "to"))
    rows = queries.ledger(control.database, task_id, start or 0, MAX_ID if end is None else end, limit=limit)
    return Json({"fires": [_fire_out(row) for row in rows]})


@router.get("/tasks/{task_id}/explain", operation_id="explain_task", response_model=ExplainOut)
def explain_task(request: Request, control: Ctl, task_id: TaskId) -> Response:
    """Why it is, or is not, running now; when it will next."""
    row = task_row(control, task_id)
    definition = definition_of(control, row)
    active = queries.active_of(control.database, [task_id]).get(task_id, ())
    pool = definition.action.pool if definition.action is not None else None
    waits = [execution.id for execution in active if execution.status == "pending"]
    table = None
    if definition.schedule is not None:
        table = control.engine.times_for([definition]).table(definition.schedule, from_micros(row.anchor))
    reasons = explain(
        row,
        definition,
        active=active,
        standing=control.operations.standing(pool, waits) if pool is not None and waits else None,
        last_entry=queries.newest_entry(control.database, task_id),
        errors=control.registry.errors.get(row.source or "", ()),
        used_by=[entry.name for entry in control.registry.users_of(row.name)],
        slots=control.engine.slots(),
        arrived=signals.signals_of(control.database, task_id),
        horizon=None
        if table is None
        else calendar_reason(table, control.engine.calendars.faults, from_micros(control.engine.now())),
    )
    language, schedule = language_of(request), definition.schedule
    ahead: list[datetime] = []
    if table is not None and row.archived_at is None and row.next_fire is not None:
        start = from_micros(row.next_fire)
        ahead = [start, *islice(table.between(start, later(start, _AHEAD)), NEXT - 1)]
    out = {
        "task_id": task_id,
        "name": row.name,
        "running": any(reason.code == "running" for reason in reasons),
        "summary": reasons[0].detail,
        "reasons": [reason_out(reason) for reason in reasons],
        "next_run_time": from_micros(row.next_fire) if row.archived_at is None else None,
        "next_runs": ahead,
        "schedule": None
        if schedule is None
        else describe(schedule, language=language, zone=zone_of(schedule, control.zone)),
    }
    return Json(said(out, language))


@router.get("/upcoming", operation_id="list_upcoming", response_model=UpcomingPage)
def list_upcoming(
    control: Ctl,
    since: From = None,
    until: To = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    task_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> Response:
    """The fires that are ahead, of all tasks, by time; of the next 24 hours unless a span is named."""
    now = from_micros(control.engine.now())
    start = control.instant(since, "from") or now
    end = control.instant(until, "to") or later(start, timedelta(days=1))
    if start > end:
        raise meaningless(say("`from` is later than `to`"), "from", "to")
    found = list(
        islice(
            upcoming(
                control.database,
                control.registry,
                control.engine.times_for,
                max(start, now),
                end,
                task_id=task_id,
            ),
            limit + 1,
        )
    )
    shown = [
        {"task_id": entry.id, "name": entry.name, "logical_time": moment} for moment, entry in found[:limit]
    ]
    return Json({"upcoming": shown, "complete": len(found) <= limit})


def _fire_out(row: Any) -> dict[str, Any]:
    return {
        "logical_time": from_micros(row.logical_time),
        "until": from_micros(row.until),
        "outcome": row.outcome,
        "execution_id": row.execution_id,
        "recorded_time": from_micros(row.recorded_time),
    }
