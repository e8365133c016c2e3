"""What does one of pydantic's complaints say, in words that can be translated?

pydantic names the kind of a complaint (`type`) and its numbers (`ctx`); its own sentences are English only. Whoever has
the complaint says where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zquant_flow.wording import Message, say, spoken

_WANTED = {
    "string": say("text: write it in quotes"),
    "string_sub": say("text"),
    "int": say("a whole number"),
    "int_from_float": say("a whole number"),
    "float": say("a number"),
    "finite_number": say("a number"),
    "bool": say("true or false"),
    "list": say("a list"),
    "dict": say("a mapping of names to values"),
    "model": say("a mapping of keys to values"),
    "model_attributes": say("a mapping of keys to values"),
    "datetime": say("an instant such as 2026-01-31T18:30:00+08:00"),
    "datetime_from_date": say("an instant such as 2026-01-31T18:30:00+08:00"),
    "datetime_object_invalid": say("an instant such as 2026-01-31T18:30:00+08:00"),
    "path": say("a path"),
}


def complaint(kind: str, path: Sequence[str | int], ctx: Mapping[str, Any], fallback: str) -> str:
    """The sentence for a complaint about what stands at `path`; `fallback` is pydantic's own."""
    if kind == "value_error" and isinstance(ctx.get("error"), Exception):
        return spoken(ctx["error"])
    if kind == "json_invalid":
        return say("this is no JSON: {error}", error=str(ctx.get("error", fallback)))
    subject = next((repr(word) for word in reversed(path) if isinstance(word, str)), None)
    predicate = _predicate(kind, ctx) or _type(kind)
    if predicate is None:
        predicate = say("is wrong: {error}", error=fallback[:1].lower() + fallback[1:])
    return say("{subject} {predicate}", subject=subject or say("this"), predicate=predicate)


def _predicate(kind: str, ctx: Mapping[str, Any]) -> Message | None:
    match kind:
        case "missing":
            return say("is missing")
        case "extra_forbidden":
            return say("is unknown here: leave it out")
        case "enum" | "literal_error":
            return say("must be one of {expected}", expected=ctx["expected"].replace(" or ", ", "))
        case "string_pattern_mismatch":
            return say("must match the pattern {pattern}", pattern=ctx["pattern"])
        case "int_parsing_size":
            return say("has too many digits")
    return _bound(kind, ctx)


def _bound(kind: str, ctx: Mapping[str, Any]) -> Message | None:
    match kind:
        case "greater_than_equal":
            return say("must be at least {bound}", bound=ctx["ge"])
        case "less_than_equal":
            return say("must be at most {bound}", bound=ctx["le"])
        case "greater_than":
            return say("must be more than {bound}", bound=ctx["gt"])
        case "less_than":
            return say("must be less than {bound}", bound=ctx["lt"])
        case "string_too_short" | "too_short" if ctx["min_length"] > 1:
            return say("is too short: at least {count}", count=ctx["min_length"])
        case "string_too_short" | "too_short":
            return say("must not be empty")
        case "string_too_long" | "too_long":
            return say("is too long: at most {count}", count=ctx["max_length"])
    return None


def _type(kind: str) -> Message | None:
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    return say("must be {wanted}", wanted=wanted) if wanted else None
