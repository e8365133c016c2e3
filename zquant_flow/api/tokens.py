"""Bearer tokens over REST: make, list, revoke. A token is shown once, when it is made."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Ctl, TaskId
from zquant_flow.api.known_tokens import digest_of
from zquant_flow.api.models import TokenIn, TokenOut, TokenPage
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.validation import meaningless
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.errors import TokenNotFound
from zquant_flow.store import tokens as store
from zquant_flow.wording import say

router = APIRouter(prefix="/tokens", tags=["tokens"], dependencies=[Depends(signed_in)])


@router.get("", operation_id="list_tokens", response_model=TokenPage)
def list_tokens(control: Ctl) -> Response:
    """The tokens beside the admin's own, without the words themselves."""
    return Json({"tokens": [_token_out(row) for row in store.all_tokens(control.database)]})


@router.post("", status_code=201, operation_id="create_token", response_model=TokenOut)
def create_token(control: Ctl, actor: Actor, body: TokenIn) -> Response:
    """A new token; the answer is the only place where it can be read."""
    if not body.name.isprintable() or body.name != body.name.strip() or body.name == "admin":
        raise meaningless(say("name: printable, without blanks around it, and not `admin`"), "name")
    now, expires = control.engine.now(), to_micros(control.instant(body.expires_time, "expires_time"))
    if expires is not None and expires <= now:
        raise meaningless(say("expires_time: it is past already"), "expires_time")
    token = secrets.token_urlsafe(32)
    row = store.add(
        control.database, name=body.name, digest=digest_of(token), actor=actor, now=now, expires=expires
    )
    control.tokens.forget()
    return Json({**_token_out(row), "token": token}, status_code=201)


@router.delete("/{token_id}", status_code=204, operation_id="revoke_token")
def revoke_token(control: Ctl, actor: Actor, token_id: TaskId) -> Response:
    """The token opens nothing any more, from now on."""
    if not store.remove(control.database, token_id):
        raise TokenNotFound(say("no token has the id {id}", id=token_id))
    control.tokens.forget()
    return Response(status_code=204)


def _token_out(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "created_by": row.created_by,
        "created_time": from_micros(row.created_time),
        "expires_time": from_micros(row.expires_time),
        "token": None,
    }
