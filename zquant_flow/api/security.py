"""Who may ask? Every route that is not listed as open carries this dependency; nothing looks at paths."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from zquant_flow.api.calls import ACTOR
from zquant_flow.api.control import Ctl
from zquant_flow.api.known_tokens import KnownTokens
from zquant_flow.errors import ZquantFlowError
from zquant_flow.wording import say

ASK_AGAIN = 60.0
"""Seconds after which a stream asks whether the token that opened it still opens anything."""

_bearer = HTTPBearer(
    auto_error=False, description="The token in `<data>/admin.token`, or one made by `/tokens`."
)


class Unauthorized(ZquantFlowError):
    """No token, or not ours."""

    code = "unauthorized"
    status = 401


_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def signed_in(request: Request, control: Ctl, credentials: _Credentials) -> str:
    """The name of the caller, here or where another process has let the request in. Raises Unauthorized."""
    actor: str | None = request.scope.get(ACTOR)
    if actor is not None:
        return actor
    return _named(control.tokens.name_of(credentials.credentials) if credentials else None)


def name_in(request: Request, tokens: KnownTokens) -> str:
    """The name of the caller of a request as such. Raises Unauthorized."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return _named(tokens.name_of(token.strip()) if scheme.lower() == "bearer" else None)


def _named(name: str | None) -> str:
    if name is None:
        raise Unauthorized(
            say("send `Authorization: Bearer TOKEN`; the token stands in admin.token of the data folder")
        )
    return name


Actor = Annotated[str, Depends(signed_in)]

Frames = AsyncGenerator[bytes]


async def guard(control: Ctl, credentials: _Credentials) -> Callable[[Frames], AsyncIterator[bytes]]:
    """Ends a stream whose token is revoked or over meanwhile: it outlives the request that was let in."""
    token = credentials.credentials if credentials else ""
    return lambda frames: _while_known(frames, control.tokens, token)


Guard = Annotated[Callable[[Frames], AsyncIterator[bytes]], Depends(guard)]


async def _while_known(frames: Frames, tokens: KnownTokens, token: str) -> AsyncIterator[bytes]:
    """The frames, which come at least every few seconds, as long as the token opens."""
    asked = monotonic()
    async with aclosing(frames):
        async for frame in frames:
            if monotonic() - asked >= ASK_AGAIN:
                if await asyncio.to_thread(tokens.name_of, token) is None:
                    return
                asked = monotonic()
            yield frame


def from_here(request: Request) -> bool:
    """Whether the request comes from this machine and through no proxy."""
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    host = request.client.host if request.client else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
