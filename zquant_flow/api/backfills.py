"""Backfills over REST: which there are, how far they are, and an end to them (CONTRACT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Control, Ctl
from zquant_flow.api.models import BackfillPage, BackfillStateOut, CancelledOut
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.shapes import shown_name
from zquant_flow.core.instants import from_micros
from zquant_flow.errors import BackfillNotFound
from zquant_flow.store import backfills as store
from zquant_flow.wording import say

router = APIRouter(prefix="/backfills", tags=["operations"], dependencies=[Depends(signed_in)])

BackfillId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("", operation_id="list_backfills", response_model=BackfillPage)
def list_backfills(
    control: Ctl,
    task_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The newest backfills first, with how many of their executions are in each status."""
    found = _shown(control, store.newest(control.database, task_id=task_id, limit=limit))
    return Json({"backfills": found, "total": len(found)})


@router.get("/{backfill_id}", operation_id="get_backfill", response_model=BackfillStateOut)
def get_backfill(control: Ctl, backfill_id: BackfillId) -> Response:
    """One backfill, and how far it is."""
    row = store.backfill(control.database, backfill_id)
    if row is None:
        raise BackfillNotFound(say("no backfill has the id {id}", id=backfill_id))
    return Json(_shown(control, [row])[0])


@router.post("/{backfill_id}/cancel", operation_id="cancel_backfill", response_model=CancelledOut)
def cancel_backfill(
    control: Ctl,
    actor: Actor,
    backfill_id: BackfillId,
    terminate: Annotated[bool, Query(description="End what runs of it too.")] = False,
) -> Response:
    """Begin nothing more of it. What has not begun is `terminated`, and its logical times can be backfilled again."""
    ended = control.operations.cancel_backfill(backfill_id, actor=actor, terminate=terminate)
    return Json({"backfill_id": backfill_id, "cancelled": ended})


def _shown(control: Control, rows: Sequence[Any]) -> list[dict[str, Any]]:
    counts = store.counts(control.database, [row.id for row in rows])
    return [
        {
            "id": row.id,
            "task_id": row.task_id,
            "task_name": shown_name(row.task_name),
            "from": from_micros(row.from_time),
            "to": from_micros(row.to_time),
            "parallel": row.parallel,
            "counts": counts.get(row.id, {}),
            "created_by": row.created_by,
            "created_time": from_micros(row.created_time),
            "cancelled_by": row.cancelled_by,
            "cancelled_time": from_micros(row.cancelled_time),
        }
        for row in rows
    ]
