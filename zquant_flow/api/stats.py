"""Statistics over REST: of all executions or one task's, by task, and along the time (CONTRACT)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Control, Ctl
from zquant_flow.api.models import SeriesOut, StatsOut, TaskStatsPage
from zquant_flow.api.security import signed_in
from zquant_flow.api.tasks import task_row
from zquant_flow.api.validation import meaningless
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.store import statistics
from zquant_flow.store.statistics import Span, Tally
from zquant_flow.wording import say

router = APIRouter(prefix="/stats", tags=["statistics"], dependencies=[Depends(signed_in)])

MOST_POINTS = 2000
_ENDED = ("success", "failed", "terminated", "completed")
TaskFilter = Annotated[int | None, Query(ge=1, le=MAX_ID)]


@router.get("", operation_id="get_stats", response_model=StatsOut)
def get_stats(
    control: Ctl, task_id: TaskFilter = None, since: datetime | None = None, until: datetime | None = None
) -> Response:
    """Of all executions, or of one task's, made in the span. Inline nodes are not counted."""
    if task_id is not None:
        task_row(control, task_id)
    found = statistics.overall(control.database, task_id=task_id, span=_span(control, since, until))
    return Json(
        {
            **_counts(found.tally),
            "latest_execution_time": from_micros(found.latest),
            "duration_percentiles": {f"p{share}": value for share, value in found.percentiles.items()},
        }
    )


@router.get("/series", operation_id="get_stats_series", response_model=SeriesOut)
def get_series(
    control: Ctl,
    task_id: TaskFilter = None,
    since: datetime | None = None,
    until: datetime | None = None,
    step_seconds: Annotated[int, Query(ge=60, le=31 * 86400)] = 3600,
) -> Response:
    """Counts and mean durations by step, of the last 24 hours unless a span is named; it begins and ends on whole steps."""
    if task_id is not None:
        task_row(control, task_id)
    step = step_seconds * 1_000_000
    last = to_micros(control.instant(until, "until")) if until else control.engine.now()
    first = to_micros(control.instant(since, "since")) if since else (last or 0) - 86_400_000_000
    first_step, last_step = max(first or 0, 0) // step, max(last or 0, 0) // step
    if not 0 <= last_step - first_step < MOST_POINTS:
        message = say(
            "the span has to have 1 to {count} steps; choose another `step_seconds`", count=MOST_POINTS
        )
        raise meaningless(message, "step_seconds")
    span = first_step * step, (last_step + 1) * step - 1
    found = statistics.series(control.database, span=span, step=step, task_id=task_id)
    points = [
        _point(number * step, found.get(number, Tally())) for number in range(first_step, last_step + 1)
    ]
    return Json({"step_seconds": step_seconds, "points": points})


@router.get("/tasks", operation_id="list_task_stats", response_model=TaskStatsPage)
def list_task_stats(
    control: Ctl,
    since: datetime | None = None,
    until: datetime | None = None,
    order_by: Literal[
        "total_executions", "failed_count", "success_count", "avg_duration_seconds", "name"
    ] = "failed_count",
    order: Literal["asc", "desc"] = "desc",
    skip: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The tasks that have executions in the span, each with its statistics."""
    rows, total = statistics.by_task(
        control.database,
        span=_span(control, since, until),
        order_by=order_by,
        descending=order == "desc",
        limit=limit,
        skip=skip,
    )
    return Json({"tasks": [_of_task(row) for row in rows], "total": total})


def _span(control: Control, since: datetime | None, until: datetime | None) -> Span | None:
    if since is None and until is None:
        return None
    first, last = to_micros(control.instant(since, "since")), to_micros(control.instant(until, "until"))
    return first or 0, control.engine.now() if last is None else last


def _counts(tally: Tally) -> dict[str, Any]:
    get = tally.counts.get
    ended = sum(get(status, 0) for status in _ENDED)
    success = get("success", 0)
    return {
        "total_executions": sum(tally.counts.values()),
        "success_count": success,
        "failed_count": get("failed", 0),
        "running_count": get("running", 0) + get("paused", 0),
        "terminated_count": get("terminated", 0),
        "completed_count": get("completed", 0),
        "success_rate": success / ended if ended else None,
        "avg_duration_seconds": tally.seconds / success if success else None,
    }


def _of_task(row: Any) -> dict[str, Any]:
    # PostgreSQL sums whole numbers into decimals.
    counts = {f"{status}_count": int(getattr(row, f"{status}_count")) for status in _ENDED}
    ended = sum(counts.values())
    return {
        "task_id": row.task_id,
        "name": row.name,
        "total_executions": int(row.total_executions),
        **counts,
        "success_rate": counts["success_count"] / ended if ended else None,
        "avg_duration_seconds": row.avg_duration_seconds,
        "latest_execution_time": from_micros(row.latest_time),
    }


def _point(start: int, tally: Tally) -> dict[str, Any]:
    get = tally.counts.get
    return {
        "start": from_micros(start),
        "success": get("success", 0),
        "failed": get("failed", 0),
        "terminated": get("terminated", 0),
        "completed": get("completed", 0),
        "avg_duration_seconds": tally.seconds / get("success", 0) if get("success") else None,
    }
