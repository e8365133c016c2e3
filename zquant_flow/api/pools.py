"""Pools over REST: named limits that tasks share (CONTRACT)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response
from pydantic import AfterValidator

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Ctl
from zquant_flow.api.models import PoolIn, PoolOut, PoolPage
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.definitions.forms import check_name

router = APIRouter(prefix="/pools", tags=["pools"], dependencies=[Depends(signed_in)])

PoolName = Annotated[str, Path(description="The name of a pool."), AfterValidator(check_name)]


@router.get("", operation_id="list_pools", response_model=PoolPage)
def list_pools(control: Ctl) -> Response:
    """All pools by name: their places, who holds them, and how many wait."""
    found = control.operations.pools()
    return Json({"pools": found, "total": len(found)})


@router.put("/{name:path}", operation_id="put_pool", response_model=PoolOut)
def put_pool(control: Ctl, actor: Actor, name: PoolName, body: PoolIn) -> Response:
    """Make a pool, or change its places; files that waited for it are loaded. One that shrinks drains."""
    return Json(control.operations.put_pool(name, body.slots, body.description, actor=actor))


@router.delete("/{name:path}", status_code=204, operation_id="delete_pool")
def delete_pool(control: Ctl, actor: Actor, name: PoolName) -> Response:
    """Delete a pool that no task names."""
    control.operations.delete_pool(name, actor=actor)
    return Response(status_code=204)
