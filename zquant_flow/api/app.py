"""What does the server answer on which path? The application, its error shape, and nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException

from zquant_flow import __version__
from zquant_flow.api import executions, system, tasks
from zquant_flow.api.control import Control
from zquant_flow.api.models import ErrorOut
from zquant_flow.definitions.faults import DefinitionErrors
from zquant_flow.errors import Unavailable, ZquantFlowError

PREFIX = "/api/v1/scheduler"
MAX_BODY = 4 * 1024 * 1024
_SHAPE = frozenset({"unknown_key", "wrong_type", "missing"})

log = logging.getLogger(__name__)


def create_app(control: Control) -> FastAPI:
    """The application over one running scheduler."""
    app = FastAPI(
        title="zquant-flow",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses={"4XX": {"model": ErrorOut}, "503": {"model": ErrorOut}},
    )
    app.state.control = control
    app.include_router(tasks.router, prefix=PREFIX)
    app.include_router(executions.router, prefix=PREFIX)
    app.include_router(system.router, prefix=PREFIX)
    app.include_router(system.open_router)
    app.add_exception_handler(ZquantFlowError, _ours)
    app.add_exception_handler(RequestValidationError, _shape)
    app.add_exception_handler(HTTPException, _http)
    for lost in (OperationalError, InterfaceError, NoConnection):
        app.add_exception_handler(lost, _database_away)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(BoundedBody)
    return app


class AnyJson(JSONResponse):
    """JSON that may hold what a client sent: halves of UTF-16 pairs, which no encoding has, become question marks."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


class BoundedBody:
    """Refuses bodies over `MAX_BODY` before they are read into memory, whether or not they say their length."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            await _too_large()(scope, receive, send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise HTTPException(413, f"the body is over {MAX_BODY} bytes")
            return message

        await self.app(scope, counted, send)


def _too_large() -> Response:
    return _answer(413, "too_large", f"the body is over {MAX_BODY} bytes")


def _ours(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ZquantFlowError)
    more: dict[str, Any] = {}
    status = exc.status
    if isinstance(exc, DefinitionErrors):
        more["errors"] = [
            {"field": error.field, "code": error.code, "message": error.message} for error in exc.errors
        ]
        if any(error.code in _SHAPE for error in exc.errors):
            status = 422
    else:
        more = {key: value for key, value in exc.facts.items() if value not in (None, "")}
    headers = {"Retry-After": "5"} if isinstance(exc, Unavailable) else None
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return _answer(status, exc.code, exc.detail, more, headers)


def _shape(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    errors = [
        {
            "field": _field(error),
            "code": str(error["type"]),
            "message": str(error["msg"]),
        }
        for error in exc.errors()
    ]
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return _answer(422, "invalid_request", detail, {"errors": errors})


def _field(error: dict[str, Any]) -> str:
    """Where a request is wrong; text that is no JSON at all is wrong as a whole."""
    if error["type"] == "json_invalid":
        return "body"
    return ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path"))


def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    return _answer(
        exc.status_code, codes.get(exc.status_code, "http_error"), str(exc.detail), None, exc.headers
    )


def _database_away(request: Request, exc: Exception) -> Response:
    log.warning(
        "%s %s: the database is away: %s",
        request.method,
        request.url.path,
        exc,
        extra={"action": "database_unavailable"},
    )
    return _answer(503, Unavailable.code, "the database is away; try again", None, {"Retry-After": "5"})


def _unexpected(request: Request, exc: Exception) -> Response:
    log.error(
        "%s %s failed", request.method, request.url.path, exc_info=exc, extra={"action": "request_failed"}
    )
    return _answer(500, "internal_error", "something went wrong here; the server's log says what")


def _answer(
    status: int,
    code: str,
    detail: str,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return AnyJson({"code": code, "detail": detail, **(more or {})}, status_code=status, headers=headers)
