"""Who may ask? Every route that is not listed as open carries this dependency; nothing looks at paths."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from zquant_flow.api.control import Ctl
from zquant_flow.errors import ZquantFlowError
from zquant_flow.wording import say

_bearer = HTTPBearer(
    auto_error=False, description="The token in `<data>/admin.token`, or one made by `/tokens`."
)


class Unauthorized(ZquantFlowError):
    """No token, or not ours."""

    code = "unauthorized"
    status = 401


def signed_in(
    control: Ctl, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """The name of the caller. Raises Unauthorized."""
    name = control.tokens.name_of(credentials.credentials) if credentials else None
    if name is None:
        raise Unauthorized(
            say("send `Authorization: Bearer TOKEN`; the token stands in admin.token of the data folder")
        )
    return name


Actor = Annotated[str, Depends(signed_in)]


def from_here(request: Request) -> bool:
    """Whether the request comes from this machine and through no proxy."""
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    host = request.client.host if request.client else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
