"""Where do people read about the API? At `/docs`, from files of this server alone."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from zquant_flow.errors import NotFound
from zquant_flow.web.assets import media_type, reference_file
from zquant_flow.wording import say

router = APIRouter(include_in_schema=False)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/docs")
def reference() -> Response:
    """The page; it shows nothing before somebody gives it a token."""
    return _file("index.html")


@router.get("/docs/assets/{name}")
def asset(request: Request, name: str) -> Response:
    """A file of the page."""
    return _file(name)


def _file(name: str) -> Response:
    found = reference_file(name)
    if found is None:
        raise NotFound(say("no such file"))
    return Response(found, media_type=media_type(name), headers=_HEADERS)
