"""What does the server answer on which path? The application, its error shape, and nothing else."""

from __future__ import annotations

import asyncio
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
from zquant_flow.api import (
    backfills,
    channels,
    decisions,
    events,
    executions,
    explained,
    hooks,
    logs,
    operate,
    planned,
    plugged,
    pools,
    reference,
    results,
    simulated,
    stats,
    system,
    tasks,
    tokens,
    workflows,
)
from zquant_flow.api.calls import ACTOR, BODY, LET_IN
from zquant_flow.api.control import Control
from zquant_flow.api.description import described
from zquant_flow.api.languages import headers_of, language_of, said
from zquant_flow.api.models import ErrorOut
from zquant_flow.api.security import Unauthorized, name_in
from zquant_flow.api.validation import faults, unreadable
from zquant_flow.definitions.faults import DefinitionErrors
from zquant_flow.errors import Elsewhere, Unavailable, ZquantFlowError
from zquant_flow.wording import Message, joined, say

PREFIX = "/api/v1/scheduler"
MAX_BODY = 4 * 1024 * 1024
_FRAMEWORK = {
    "Not Found": say("Not Found"),
    "Method Not Allowed": say("Method Not Allowed"),
}
"""What the framework itself says."""
MAX_TEXT = 1000
"""Characters of a text in an error: what a client sent is not sent back at length."""
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
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    parts = (
        operate,
        backfills,
        tasks,
        workflows,
        planned,
        simulated,
        executions,
        decisions,
        explained,
        logs,
        results,
        events,
        stats,
        tokens,
        pools,
        plugged,
        channels,
        hooks,
        system,
    )
    for part in parts:
        app.include_router(part.router, prefix=PREFIX)
    app.include_router(hooks.open_router)
    app.include_router(system.open_router)
    app.include_router(reference.router)
    app.add_exception_handler(Elsewhere, _forwarded)
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
            answer = _answer(Request(scope), 413, "too_large", _too_large())
            await answer(scope, receive, send)
            return
        seen, waiting = 0, False
        kept = scope.setdefault(BODY, bytearray())

        async def counted() -> Any:
            nonlocal seen, waiting
            waiting = True
            message = await receive()
            waiting = bool(message.get("more_body"))
            seen += len(message.get("body", b""))
            kept.extend(message.get("body", b""))
            if seen > MAX_BODY:
                raise HTTPException(413, _too_large())
            return message

        try:
            await self.app(scope, counted, send)
        except asyncio.CancelledError:
            if not waiting:
                raise
            # A stop that waits no longer for the rest of a body.
            answer = _answer(Request(scope), 503, Unavailable.code, _stopping(), None, {"Retry-After": "5"})
            await answer(scope, receive, send)


def _stopping() -> Message:
    return say("the server is stopping; try again when it is back")


def _too_large() -> Message:
    return say("the body is over {count} bytes", count=MAX_BODY)


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
    if isinstance(exc, Unauthorized):
        headers = {"WWW-Authenticate": "Bearer"}
    return _answer(request, status, exc.code, exc.detail, more, headers)


async def _forwarded(request: Request, exc: Exception) -> Response:
    """Another process decides this: its answer, as if the request had come there."""
    assert isinstance(exc, Elsewhere)
    if ACTOR in request.scope:
        return _ours(request, exc)  # it was forwarded already, and who led then does so no more
    control: Control = request.app.state.control
    try:
        actor: str | None = request.scope.get(LET_IN)
        if actor is None:
            actor = await asyncio.to_thread(name_in, request, control.tokens)
        return await control.asking.forwarded(request, actor, exc.engine_id)
    except ZquantFlowError as error:
        return _ours(request, error)


def _shape(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    errors = faults(exc.errors())
    detail = joined("; ", [error["message"] for error in errors])
    return _answer(request, 422, "invalid_request", detail, {"errors": errors})


def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    if exc.status_code == 400:  # the framework's only one: it could not read the body
        fault = unreadable(exc.__cause__)
        return _answer(request, 422, "invalid_request", fault["message"], {"errors": [fault]})
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    code = codes.get(exc.status_code, "http_error")
    detail = _FRAMEWORK.get(exc.detail, exc.detail)
    return _answer(request, exc.status_code, code, detail, None, exc.headers)


def _database_away(request: Request, exc: Exception) -> Response:
    log.warning(
        "%s %s: the database is away: %s",
        request.method,
        request.url.path,
        exc,
        extra={"action": "database_unavailable"},
    )
    detail = say("the database is away; try again")
    return _answer(request, 503, Unavailable.code, detail, None, {"Retry-After": "5"})


def _unexpected(request: Request, exc: Exception) -> Response:
    log.error(
        "%s %s failed", request.method, request.url.path, exc_info=exc, extra={"action": "request_failed"}
    )
    return _answer(
        request, 500, "internal_error", say("something went wrong here; the server's log says what")
    )


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in the language of the request."""
    language = language_of(request)
    content = _bounded(said({"code": code, "detail": detail, **(more or {})}, language))
    return AnyJson(content, status_code=status, headers={**headers_of(language), **(headers or {})})


def _bounded(value: Any) -> Any:
    """The same without the rest of texts that are too long."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 3] + "..."
    if isinstance(value, dict):
        return {key: _bounded(item) for key, item in value.items()}
    return [_bounded(item) for item in value] if isinstance(value, list) else value
