"""Is it well, and what could not be loaded? Health for machines, load errors and executors for people."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from zquant_flow.api.control import Ctl
from zquant_flow.api.models import LoadErrorPage
from zquant_flow.api.security import from_here, signed_in
from zquant_flow.api.shapes import load_errors_out
from zquant_flow.errors import NotFound
from zquant_flow.executors.installed import executor_classes

router = APIRouter(tags=["system"], dependencies=[Depends(signed_in)])
open_router = APIRouter(tags=["health"])
"""The only routes without a token, and they answer only this machine."""


@router.get("/load-errors", operation_id="list_load_errors", response_model=LoadErrorPage)
def list_load_errors(control: Ctl) -> dict[str, Any]:
    """The files that could not be loaded, with line and column; their last good versions stay."""
    found = load_errors_out(control.registry.errors)
    return {"load_errors": found, "total": len(found)}


@router.get("/openapi.json", operation_id="openapi", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document of this server."""
    return JSONResponse(request.app.openapi())


@router.get("/executors", operation_id="list_executors")
def list_executors() -> dict[str, Any]:
    """The kinds of work that tasks can name."""
    classes = executor_classes()
    return {"executors": [{"name": name, "entry": cls.entry()} for name, cls in classes.items()]}


@router.get("/executors/{name}/schema", operation_id="get_executor_schema")
def get_executor_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of an executor's config."""
    cls = executor_classes().get(name)
    if cls is None:
        raise NotFound(f"no executor is named {name!r}")
    return cls.Config.model_json_schema()


@open_router.get("/healthz", operation_id="healthz")
def healthz(request: Request) -> Response:
    """Alive."""
    if not from_here(request):
        return JSONResponse({"code": "unauthorized", "detail": "only from this machine"}, 401)
    return JSONResponse({"status": "ok"})


@open_router.get("/readyz", operation_id="readyz")
def readyz(request: Request, control: Ctl) -> Response:
    """Ready: the engine decides, and the tasks folder is as it should be."""
    if not from_here(request):
        return JSONResponse({"code": "unauthorized", "detail": "only from this machine"}, 401)
    if not control.engine.running:
        return JSONResponse({"status": "stopped"}, 503, {"Retry-After": "5"})
    if control.folder.unavailable:
        return JSONResponse({"status": "degraded", "reason": control.folder.unavailable})
    return JSONResponse({"status": "ok", "tasks": len(control.registry.by_id)})
