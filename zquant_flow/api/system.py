"""Is it well, what could not be loaded, and what is installed here? Health for machines, the rest for people too."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse, Response

from zquant_flow import __version__
from zquant_flow.api.answers import Json
from zquant_flow.api.control import Control, Ctl
from zquant_flow.api.languages import headers_of, language_of, said
from zquant_flow.api.models import (
    EnginePage,
    ExecutorPage,
    HealthOut,
    JsonSchemaOut,
    LoadErrorPage,
    PluginPage,
    ServerOut,
)
from zquant_flow.api.security import from_here, signed_in
from zquant_flow.api.shapes import load_errors_out, plugin_out
from zquant_flow.core.instants import from_micros
from zquant_flow.errors import NotFound
from zquant_flow.store.terms import known_engines
from zquant_flow.wording import say

router = APIRouter(tags=["system"], dependencies=[Depends(signed_in)])
open_router = APIRouter(tags=["health"])
"""The only routes without a token, and they answer only this machine."""


@router.get("/load-errors", operation_id="list_load_errors", response_model=LoadErrorPage)
def list_load_errors(request: Request, response: Response, control: Ctl) -> dict[str, Any]:
    """The files that could not be loaded, with line and column; their last good versions stay."""
    language = language_of(request)
    response.headers.update(headers_of(language))
    found = said(load_errors_out(control.registry.errors), language)
    return {"load_errors": found, "total": len(found)}


@router.get("/openapi.json", operation_id="openapi", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document of this server."""
    return JSONResponse(request.app.openapi())


@router.get("/server", operation_id="get_server", response_model=ServerOut)
def get_server(control: Ctl) -> Response:
    """What serves here."""
    return Json(
        {
            "version": __version__,
            "timezone": control.zone.key,
            "locale": control.locale,
            "started_time": from_micros(control.started),
            "tasks": len(control.registry.by_id),
            "load_errors": len(control.registry.errors),
        }
    )


@router.get("/engines", operation_id="list_engines", response_model=EnginePage)
def list_engines(control: Ctl) -> Response:
    """The schedulers on this database: which one leads, who is alive, and whose tasks folder is not what is registered."""
    now, length = control.engine.now(), control.engine.lease.length
    return Json(
        {
            "engines": [
                {
                    "id": row.id,
                    "host": row.host,
                    "pid": row.pid,
                    "leads": bool(row.leads) or not control.engine.lease.shared,
                    "alive": now - row.heartbeat < length if length else control.engine.running,
                    "slots": row.slots,
                    "drift": row.drift,
                    "heartbeat": from_micros(row.heartbeat or None),
                    "started_time": from_micros(row.started_time),
                }
                for row in known_engines(control.database)
            ]
        }
    )


@router.get("/schema", operation_id="get_definition_schema", response_model=JsonSchemaOut)
def get_definition_schema(control: Ctl) -> dict[str, Any]:
    """The JSON Schema of task files, for editors and forms; with what the executors that are there take."""
    from zquant_flow.definitions.schema import json_schema  # 0.1 s that a start never pays

    return json_schema(control.plugged.configs)


@router.get("/plugins", operation_id="list_plugins", response_model=PluginPage)
def list_plugins(request: Request, control: Ctl) -> Response:
    """The plugins that are there, the built-ins first, with what is wrong with those that could not be loaded."""
    plugins = [plugin_out(plugin) for plugin in control.plugged.current.known]
    return Json({"plugins": said(plugins, language_of(request))})


@router.get("/executors", operation_id="list_executors", response_model=ExecutorPage)
def list_executors(control: Ctl) -> Response:
    """The kinds of work that tasks can name."""
    classes = control.plugged.current.executors
    return Json({"executors": [{"name": name, "entry": cls.entry()} for name, cls in classes.items()]})


@router.get("/executors/{name}/schema", operation_id="get_executor_schema", response_model=JsonSchemaOut)
def get_executor_schema(
    control: Ctl, name: Annotated[str, Path(description="The name of an executor.")]
) -> dict[str, Any]:
    """The JSON Schema of an executor's config."""
    cls = control.plugged.current.executors.get(name)
    if cls is None:
        raise NotFound(say("no executor is named {name!r}", name=name))
    return cls.Config.model_json_schema()


@open_router.get("/healthz", operation_id="healthz", response_model=HealthOut)
async def healthz(request: Request) -> Response:
    """Alive. In the event loop, like `readyz`: answered also while all threads are taken."""
    if not from_here(request):
        return _elsewhere(request)
    return JSONResponse({"status": "ok"})


@open_router.get("/readyz", operation_id="readyz", response_model=HealthOut)
async def readyz(request: Request, control: Ctl) -> Response:
    """Ready: the engine decides, and the tasks folder is as it should be."""
    if not from_here(request):
        return _elsewhere(request)
    if not control.engine.running and not (
        control.serves_only and await asyncio.to_thread(_somebody_leads, control)
    ):
        return JSONResponse({"status": "stopped"}, 503, {"Retry-After": "5"})
    if control.engine.unwritable is not None:
        return JSONResponse({"status": "degraded", "reason": control.engine.unwritable})
    if not control.engine.leads:
        return JSONResponse({"status": "ok"})  # the tasks folder is another scheduler's matter
    if control.folder.unavailable:
        return JSONResponse({"status": "degraded", "reason": control.folder.unavailable})
    return JSONResponse({"status": "ok", "tasks": len(control.registry.by_id)})


def _somebody_leads(control: Control) -> bool:
    now, length = control.engine.now(), control.engine.lease.length
    return any(row.leads and now - row.heartbeat < length for row in known_engines(control.database))


def _elsewhere(request: Request) -> JSONResponse:
    language = language_of(request)
    content = {"code": "unauthorized", "detail": say("only from this machine")}
    return JSONResponse(said(content, language), 401, headers_of(language))
