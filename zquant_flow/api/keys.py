"""Which request is this, if it names an `Idempotency-Key`?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header

from zquant_flow.api.security import Actor
from zquant_flow.engine.keys import Key

_Header = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A word of your choice: a repetition with the same one causes nothing new and is answered alike.",
    ),
]


def _maker(actor: Actor, key: _Header = None) -> Callable[..., Key | None]:
    def key_of(*request: Any) -> Key | None:
        if key is None:
            return None
        text = json.dumps(request, sort_keys=True, default=str)
        return Key(key, actor, hashlib.sha256(text.encode(errors="replace")).hexdigest())

    return key_of


KeyOf = Annotated[Callable[..., Key | None], Depends(_maker)]
"""Makes the key of a request from what identifies it; None for a request without one."""
