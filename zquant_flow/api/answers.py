"""How does an answer become JSON?

Straight from plain values: what shapes make is what the models promise (tests hold one against the other), so it is not
validated once more. Long lists are written piece by piece, and never stand in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from fastapi.responses import Response, StreamingResponse
from pydantic_core import to_json

PIECE = 200
"""Items of a long list that are written at once."""


class Json(Response):
    """JSON of any plain values; instants become ISO 8601."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return as_json(content)


def as_json(value: Any) -> bytes:
    """JSON text, in UTF-8; what is no number is null."""
    return to_json(value, inf_nan_mode="null")


def streamed(name: str, items: Iterable[Mapping[str, Any]], **rest: Any) -> StreamingResponse:
    """`{name: [items...], **rest}`, read and written in pieces."""
    return StreamingResponse(_pieces(name, iter(items), rest), media_type="application/json")


def _pieces(name: str, items: Iterator[Mapping[str, Any]], rest: Mapping[str, Any]) -> Iterator[bytes]:
    head = as_json(rest)[:-1]
    yield head + (b"," if rest else b"") + as_json(name) + b":["
    first = True
    while piece := list(islice(items, PIECE)):
        yield (b"" if first else b",") + as_json(piece)[1:-1]
        first = False
    yield b"]}"
