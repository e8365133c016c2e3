"""Webhooks: how do other systems start tasks, and how do they prove that they may?

A request to `/hooks/{name}` carries no token: it is signed with the secret of that webhook, which is made from the
installation's key, the task and a generation, and stands nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from zquant_flow.api.answers import Json
from zquant_flow.api.calls import ACTOR, LET_IN
from zquant_flow.api.control import Control, Ctl, TaskId
from zquant_flow.api.languages import message
from zquant_flow.api.models import HookOut, TriggeredOut
from zquant_flow.api.security import Actor, signed_in
from zquant_flow.api.tasks import task_row
from zquant_flow.definitions.faults import FieldError
from zquant_flow.definitions.json_values import to_plain
from zquant_flow.definitions.registry import Entry
from zquant_flow.engine.keys import Key
from zquant_flow.errors import BadSignature, HookNotFound
from zquant_flow.wording import say

router = APIRouter(prefix="/tasks/{task_id}/hook", tags=["operations"], dependencies=[Depends(signed_in)])
open_router = APIRouter(tags=["webhooks"])
"""The route without a token: what comes there is signed."""

MAX_BODY = 256 * 1024
_KINDS = ("x-github-event", "x-gitea-event", "x-gitlab-event", "x-event-type")
"""Where senders say what their event is about."""

log = logging.getLogger(__name__)

_Word = {"min_length": 1, "max_length": 255, "pattern": r"^[\x21-\x7e]+$"}
_Delivery = Annotated[
    str | None,
    Header(
        alias="X-GitHub-Delivery",
        description="As `Idempotency-Key`; senders such as GitHub give one to each delivery.",
        **_Word,
    ),
]
_IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", description="A repetition with the same one causes nothing new.", **_Word
    ),
]
_Signature = Annotated[
    str | None,
    Header(
        alias="X-Hub-Signature-256",
        description="`sha256=` and the HMAC-SHA256 of the body with the secret of the webhook, in hex.",
    ),
]
_OwnSignature = Annotated[
    str | None, Header(alias="X-ZQF-Signature", description="The same, where the other is not sent.")
]


async def _raw(request: Request) -> bytes:
    """The body as it came. Nothing is read on that is too long."""
    read = bytearray()
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) <= MAX_BODY:
        async for part in request.stream():
            read += part
            if len(read) > MAX_BODY:
                break
        else:
            return bytes(read)
    raise HTTPException(413, say("the body is over {count} bytes", count=MAX_BODY))


@open_router.post(
    "/hooks/{name}",
    operation_id="call_hook",
    response_model=TriggeredOut,
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {}}, "text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def call_hook(
    request: Request,
    control: Ctl,
    name: Annotated[str, Path(description="The name that a task has under `webhook`.")],
    body: Annotated[bytes, Depends(_raw)],
    signature: _Signature = None,
    own_signature: _OwnSignature = None,
    delivery: _Delivery = None,
    idempotency_key: _IdempotencyKey = None,
) -> Response:
    """Run the task that has this webhook. The body, JSON or text, is `event.body` in its templates."""
    entry = _entry(control, name)
    if ACTOR not in request.scope:  # the process that passed it on has looked already
        _refuse_unsigned(control, entry, body, signature or own_signature)
    actor = request.scope[LET_IN] = f"hook:{name}"
    word = delivery or idempotency_key
    execution_id = control.operations.call_hook(
        entry.id,
        {"kind": "webhook", "name": name, "type": _kind(request), "body": _content(body)},
        actor=actor,
        key=None if word is None else Key(word, actor, hashlib.sha256(body).hexdigest()),
    )
    return Json({"message": message("triggered", request), "execution_id": execution_id}, 202)


@router.get("", operation_id="get_hook", response_model=HookOut)
def get_hook(control: Ctl, task_id: TaskId) -> Response:
    """The address of the task's webhook, and the secret that requests to it are signed with."""
    return Json(_shown(control, task_id, task_row(control, task_id).hook_generation))


@router.post("/rotate", operation_id="rotate_hook", response_model=HookOut)
def rotate_hook(control: Ctl, actor: Actor, task_id: TaskId) -> Response:
    """Give it another secret: requests signed with the one before are refused from now on."""
    return Json(_shown(control, task_id, control.operations.rotate_hook(task_id, actor=actor)))


def _shown(control: Control, task_id: int, generation: int) -> Mapping[str, Any]:
    entry = control.registry.by_id.get(task_id)
    hook = entry.definition.webhook if entry is not None else None
    if hook is None:
        raise HookNotFound(say("task {id} has no webhook: give it one by `webhook`", id=task_id))
    return {
        "name": hook.name,
        "path": f"/hooks/{hook.name}",
        "header": "X-Hub-Signature-256",
        "secret": secret_of(control, task_id, generation),
    }


def secret_of(control: Control, task_id: int, generation: int) -> str:
    """The secret of a task's webhook."""
    return _hex(control.secret(), f"hook:{task_id}:{generation}".encode())


def _hex(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def _entry(control: Control, name: str) -> Entry:
    for entry in control.registry.by_name.values():
        if entry.definition.webhook is not None and entry.definition.webhook.name == name:
            return entry
    raise HookNotFound(say("no task has a webhook named {name!r}", name=name))


def _refuse_unsigned(control: Control, entry: Entry, body: bytes, signature: str | None) -> None:
    generation = task_row(control, entry.id).hook_generation
    right = f"sha256={_hex(secret_of(control, entry.id, generation), body)}"
    if not hmac.compare_digest((signature or "").strip().lower().encode(errors="replace"), right.encode()):
        log.warning(
            "a request to the webhook of task %r is not signed with its secret",
            entry.name,
            extra={"action": "bad_signature"},
        )
        raise BadSignature(
            say("send X-Hub-Signature-256: sha256=HMAC of the body with the webhook's secret, in hex")
        )


def _kind(request: Request) -> str | None:
    found = (request.headers.get(header) for header in _KINDS)
    return next((kind[:100] for kind in found if kind), None)


def _content(body: bytes) -> Any:
    """What the body says, if it is JSON that can be kept, else its text."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    errors: list[FieldError] = []
    if value is not None:
        plain = to_plain(value, errors)
        if not errors:
            return plain
    return body.decode(errors="replace").replace("\0", "\ufffd")
