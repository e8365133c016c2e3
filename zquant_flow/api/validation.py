"""What is wrong with the shape of a request, in words that can be translated?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from zquant_flow.complaints import complaint
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

MAX_FAULTS = 100
_PLACES = ("body", "query", "path", "header")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(say("text can't hold the character NUL"))
    return text


Storable = Annotated[str, AfterValidator(_without_nul)]
"""Text that a database can be asked for: PostgreSQL refuses the character NUL."""


def faults(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """`field`, `code` and `message` of each of pydantic's errors about a request."""
    return [_fault(error) for error in errors[:MAX_FAULTS]]


def meaningless(message: str, *fields: str, code: str = "invalid_value") -> BadRequest:
    """The error for values of the right shape that mean nothing here, with the fields where they stand."""
    return BadRequest(
        message, errors=[{"field": field, "code": code, "message": message} for field in fields]
    )


def unreadable(cause: BaseException | None) -> dict[str, str]:
    """The fault of a body that could not be read as JSON at all."""
    if isinstance(cause, UnicodeDecodeError):
        message = say("the body is not in UTF-8")
    elif isinstance(cause, RecursionError):
        message = say("the body is nested too deeply")
    else:
        message = say("the body can't be read")
    return {"field": "body", "code": "json_invalid", "message": message}


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    kind, path = str(error["type"]), _path(error)
    return {
        "field": ".".join(map(str, path)) if path else "body",
        "code": kind,
        "message": complaint(kind, path, error.get("ctx") or {}, str(error["msg"])),
    }


def _path(error: Mapping[str, Any]) -> Sequence[str | int]:
    """Where a request is wrong, without the part of the request; text that is no JSON at all is wrong as a whole."""
    place: tuple[str | int, ...] = error["loc"]
    if error["type"] == "json_invalid":
        return ()
    return place[1:] if place and place[0] in _PLACES else place
