"""What does a node with `for_each` run for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zquant_flow.core.expressions import compute, evaluate
from zquant_flow.core.model import ForEach
from zquant_flow.core.references import resolve
from zquant_flow.wording import say


class FanError(Exception):
    """What is named is no list, or one that is too long: why the node fails, never the answer to a request."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def items_of(each: ForEach, scope: Mapping[str, Any], limit: int) -> Sequence[Any]:
    """The items, in order. Raises ExpressionError or ParamsError where a name leads nowhere, and FanError."""
    if each.range is not None:
        return _few(range(*each.range), limit)
    if each.expression is None:
        return _few(resolve(each.items or (), scope, compute), limit)
    found = evaluate(each.expression, scope)
    if isinstance(found, (list, tuple)):
        return _few(found, limit)
    raise FanError(
        "for_each_not_a_list",
        say("for_each: {expression} is {kind}, not a list", expression=each.expression, kind=_kind(found)),
    )


def _few(items: Sequence[Any], limit: int) -> Sequence[Any]:
    if len(items) <= limit:
        return items
    raise FanError(
        "for_each_too_large",
        say(
            "for_each: {count} items are more than for_each_limit, which is {limit}: raise that setting, or take them in parts",
            count=f"{len(items):,}",
            limit=f"{limit:,}",
        ),
    )


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return say("true or false")
    if isinstance(value, (int, float)):
        return say("a number")
    return say("text") if isinstance(value, str) else say("a mapping")
