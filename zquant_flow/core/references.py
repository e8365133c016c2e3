"""Which values does a node take from params and earlier results?

A reference stands anywhere inside a JSON value: `{"$ref": ["params", "symbol"]}` or
`{"$ref": ["nodes", "days", "result", "rows"]}`. Its words are keys of mappings, or indexes of lists. In the same way
`{"$expr": "params.limit * 2"}` is the value of an expression, `{"$template": "{{ params.symbol }}.csv"}` a text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from zquant_flow.errors import ParamsError
from zquant_flow.wording import joined, say

REF = "$ref"
EXPRESSION = "$expr"
TEMPLATE = "$template"

Compute = Callable[[str, str, Mapping[str, Any]], Any]
"""What an expression (`$expr`) or template (`$template`) becomes: called with kind, text and scope."""


def is_reference(value: Any) -> bool:
    """Is this value a reference, and nothing else?"""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(REF), (list, tuple))


def computed(value: Any) -> tuple[str, str] | None:
    """The kind and text of a value that is an expression or a template; None for any other."""
    if isinstance(value, Mapping) and len(value) == 1:
        for kind in (EXPRESSION, TEMPLATE):
            if isinstance(text := value.get(kind), str):
                return kind, text
    return None


def resolve(
    value: Any, scope: Mapping[str, Any], compute: Compute | None = None, kept: Collection[str] = ()
) -> Any:
    """The value with its references replaced by what `scope` holds: `{"params": {...}, "nodes": {name: {"result": ...}}}`.

    Raises ParamsError that names the first path which leads nowhere. Expressions are left as they are without `compute`, and
    references to the nodes that are `kept`.
    """
    if isinstance(value, Mapping):
        if is_reference(value):
            return {REF: value[REF]} if kept and _node_of(value[REF]) in kept else _look_up(value[REF], scope)
        if compute is not None and (found := computed(value)) is not None:
            return compute(*found, scope)
        return {key: resolve(item, scope, compute, kept) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, scope, compute, kept) for item in value]
    return value


def expressions(value: Any) -> Iterator[tuple[str, str]]:
    """The kinds and texts of all expressions and templates inside a value, in order."""
    if isinstance(value, Mapping):
        if (found := computed(value)) is not None:
            yield found
        else:
            for item in value.values():
                yield from expressions(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from expressions(item)


def referenced_nodes(value: Any) -> set[str]:
    """The names of the nodes whose results this value uses."""
    return {node for path in references(value) if (node := _node_of(path)) is not None}


def references(value: Any) -> list[list[Any]]:
    """The paths of all references inside a value, in order."""
    if is_reference(value):
        return [list(value[REF])]
    if isinstance(value, Mapping):
        return [path for item in value.values() for path in references(item)]
    if isinstance(value, (list, tuple)):
        return [path for item in value for path in references(item)]
    return []


def fault_of(path: Sequence[Any]) -> str | None:
    """What is wrong with the words of a reference, whatever the scope; None if nothing is."""
    if path[:1] == ["params"] and len(path) > 1 and all(isinstance(word, (str, int)) for word in path):
        return None
    if path[:1] in (["item"], ["index"]) and all(isinstance(word, (str, int)) for word in path):
        return None
    if path[:1] == ["nodes"] and len(path) > 2 and path[2] == "result" and isinstance(path[1], str):
        return None
    return say(
        'a reference is ["params", NAME] or ["nodes", NODE, "result", ...], not {path}', path=repr(list(path))
    )


def _node_of(path: Sequence[Any]) -> Any:
    return path[1] if len(path) > 1 and path[0] == "nodes" else None


class Absent(KeyError):
    """A mapping has no such key, and says why: `nodes.load has no result: it was skipped`."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def _look_up(path: Sequence[Any], scope: Mapping[str, Any]) -> Any:
    found: Any = scope
    for position, word in enumerate(path):
        try:
            found = found[_index(word, found)]
        except Absent as absent:
            raise ParamsError(absent.detail, path=list(path)) from None
        except (KeyError, IndexError, TypeError):
            raise ParamsError(missing(path, position, found), path=list(path)) from None
    return found


def _index(word: Any, found: Any) -> Any:
    if isinstance(found, (list, tuple)) and isinstance(word, str) and word.lstrip("-").isdecimal():
        return int(word)
    if isinstance(found, str):
        raise TypeError("text has no parts")
    return word


def missing(path: Sequence[Any], position: int, found: Any) -> str:
    """Says that the word at `position` leads nowhere from `found`, and what is there."""
    dotted, word = ".".join(str(word) for word in path), repr(path[position])
    if isinstance(found, Mapping):
        known = joined(", ", sorted(str(key) for key in found)[:10]) or say("nothing")
        return say("{path}: there is no {word} (there is: {known})", path=dotted, word=word, known=known)
    if isinstance(found, (list, tuple)):
        return say("{path}: no item {word} in a list of {count}", path=dotted, word=word, count=len(found))
    return say("{path}: {word} can't be taken from {kind}", path=dotted, word=word, kind=type(found).__name__)
