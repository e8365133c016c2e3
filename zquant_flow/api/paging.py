"""Where does the next page of a list begin? A cursor says it in one word, and stays right while rows come and go."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from zquant_flow.api.validation import meaningless
from zquant_flow.wording import say


def cursor(order: str, *position: Any) -> str:
    """The word for a position in a list of that order."""
    text = json.dumps([order, *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(word: str | None, order: str, *kinds: type | tuple[type, ...]) -> list[Any] | None:
    """The position that a cursor says, values of exactly these kinds (`true` is no 1: PostgreSQL does not compare them).

    Raises BadRequest for a word that no list has given.
    """
    if not word:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    is_ours = isinstance(found, list) and len(found) == len(kinds) + 1
    if is_ours and isinstance(found[0], str) and found[0] != order:  # whose values may be of other kinds
        raise meaningless(say("cursor: it belongs to a list in another order"), "cursor")
    if not is_ours or found[0] != order or not _fit(found[1:], kinds):
        raise meaningless(say("cursor: take `next_cursor` of the page before as it is"), "cursor")
    values: list[Any] = found[1:]
    return values


def _fit(values: list[Any], kinds: tuple[type | tuple[type, ...], ...]) -> bool:
    return all(
        type(value) in (kind if isinstance(kind, tuple) else (kind,)) and _kept(value)
        for value, kind in zip(values, kinds, strict=True)
    )


def _kept(value: Any) -> bool:
    """Whether a database can look for it."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    return not isinstance(value, int) or abs(value) < 2**63
