"""What does a call become in the body of a workflow?

A node, and values that do not exist yet: they can be handed on, and nothing else. Standard library only, as `authoring`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from zquant_flow.wording import say

Raw = dict[str, Any]


class AuthoringError(TypeError):
    """A workflow body that does what only a running task can do; `line` where no traceback leads to the user's."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Unready:
    """A value that does not exist yet while a workflow body is read."""

    def _refuse(self, doing: str, instead: str) -> NoReturn:
        raise AuthoringError(
            say(
                "{value} has no value yet: a workflow body only builds the graph, so no {doing} here; {instead}",
                value=repr(self),
                doing=doing,
                instead=instead,
            )
        )

    def __bool__(self) -> bool:
        self._refuse(
            say("`if`, `and` or `not` of it"), say("use `when` on the node, or decide inside a task")
        )

    def __iter__(self) -> Iterator[Any]:
        self._refuse(say("`for` over it"), say("use `for_each` on the node, or loop inside a task"))

    def __len__(self) -> int:
        self._refuse("len()", say("use `for_each` on the node, or measure inside a task"))

    def __format__(self, spec: str) -> str:
        self._refuse(
            say("formatting into text"), say("pass it as an argument, and make the text inside a task")
        )

    def __str__(self) -> str:
        self._refuse("str()", say("pass it as an argument, and make the text inside a task"))

    def _compute(self, *_: Any) -> NoReturn:
        self._refuse(
            say("calculating or comparing"),
            say("pass it as an argument to a task that does (see also `when`, `for_each`)"),
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __floordiv__ = __mod__ = __pow__ = __neg__ = __and__ = __or__ = __invert__ = _compute
    __lt__ = __le__ = __gt__ = __ge__ = _compute
    __int__ = __float__ = __index__ = __contains__ = _compute


class ResultRef(_Unready):
    """The result of a node, or with `[...]` a part of it."""

    def __init__(self, node: NodeRef, words: tuple[str | int, ...] = ()) -> None:
        self._node, self._words = node, words

    def __getitem__(self, word: str | int) -> ResultRef:
        return ResultRef(self._node, (*self._words, word))

    def __repr__(self) -> str:
        return say("the result of node {name!r}", name=self._node.name)


class ParamRef(_Unready):
    """A parameter of the workflow, or with `[...]` a part of it."""

    def __init__(self, name: str, words: tuple[str | int, ...] = ()) -> None:
        self._name, self._words = name, words

    def __getitem__(self, word: str | int) -> ParamRef:
        return ParamRef(self._name, (*self._words, word))

    def __repr__(self) -> str:
        return say("the workflow's param {name!r}", name=self._name)


class ItemRef(_Unready):
    """The item that a node with `for_each` runs for, or with `[...]` a part of it; `index` is its number, from 0."""

    def __init__(self, root: str = "item", words: tuple[str | int, ...] = ()) -> None:
        self._root, self._words = root, words

    def __getitem__(self, word: str | int) -> ItemRef:
        return ItemRef(self._root, (*self._words, word))

    @property
    def index(self) -> ItemRef:
        """Its number, from 0."""
        return ItemRef("index")

    def __repr__(self) -> str:
        return say("the item of a node")


item = ItemRef()
"""The item itself: `load(code=item["code"]).for_each(codes)`."""


class NodeRef(_Unready):
    """What a task's call in a workflow body returns: the node it has become."""

    def __init__(self, body: Body, name: str, raw: Raw, arguments: Raw) -> None:
        self._body, self._raw, self._arguments = body, raw, arguments
        self._after: list[NodeRef] = []
        self._condition: str | bool | ParamRef | ResultRef | None = None
        self._each: Any = None
        self._keys: Raw = {}
        self.name = name

    @property
    def result(self) -> ResultRef:
        """What the node will return, for other nodes' arguments: `days.result["rows"]`."""
        return ResultRef(self)

    def after(self, *nodes: NodeRef) -> NodeRef:
        """Starts only after these nodes."""
        for node in nodes:
            if not isinstance(node, NodeRef):
                raise AuthoringError(
                    say("after() takes what the calls of tasks return, not {kind}", kind=type(node).__name__)
                )
            self._after.append(node)
        return self

    def when(self, condition: str | bool | ParamRef | ResultRef | NodeRef) -> NodeRef:
        """Runs only if this is true once its turn has come, else it is skipped: `.when("params.full")`, `.when(days.result["new"])`."""
        if isinstance(condition, NodeRef):
            condition = condition.result
        if isinstance(condition, ResultRef):
            self._after.append(condition._node)
        self._condition = condition
        return self

    def for_each(self, items: Any, *, max_parallel: int | None = None) -> NodeRef:
        """Runs once for each item of a list, a range, a param or a result: `load(code=item).for_each(codes.result, max_parallel=8)`.

        Its result is the list of theirs. Text is an expression, as `when` takes one.
        """
        if isinstance(items, NodeRef):
            items = items.result
        if isinstance(items, ResultRef):
            self._after.append(items._node)
        self._each = items
        if max_parallel is not None:
            self._keys["max_parallel"] = max_parallel
        return self

    def in_group(self, name: str) -> NodeRef:
        """For people: nodes of one group are shown together; `/` nests."""
        self._keys["group"] = name
        return self

    def fails_on_partial(self) -> NodeRef:
        """A nested workflow that ends `completed` counts as failed."""
        self._keys["fail_on_partial"] = True
        return self

    def named(self, name: str) -> NodeRef:
        """Gives the node a name of its own; advised in loops, since a resume matches nodes by name."""
        self.name = name
        return self

    def __getitem__(self, word: Any) -> NoReturn:
        raise AuthoringError(
            say(
                "{node} is a node: take a part of its result with .result[{word}]",
                node=repr(self),
                word=repr(word),
            )
        )

    def __repr__(self) -> str:
        return say("node {name!r}", name=self.name)


class Body:
    """The nodes that one run of a workflow body has made so far."""

    def __init__(self, owner: Any) -> None:
        self.workflow = owner
        self._made: list[NodeRef] = []
        self._calls: dict[str, int] = {}

    def add(self, name: str, raw: Raw, arguments: Raw) -> NodeRef:
        count = self._calls[name] = self._calls.get(name, 0) + 1
        node = NodeRef(self, name if count == 1 else f"{name}-{count}", raw, arguments)
        self._made.append(node)
        return node

    def nodes(self) -> list[Raw]:
        """Written down last, as `.named` may come after a use."""
        return [self._node(node) for node in self._made]

    def _node(self, node: NodeRef) -> Raw:
        waits_for = list(node._after)
        params = {name: self._value(value, waits_for) for name, value in node._arguments.items()}
        for other in waits_for:
            if other._body is not self:
                raise AuthoringError(
                    say(
                        "{node} uses {other}, which belongs to another workflow",
                        node=repr(node),
                        other=repr(other),
                    )
                )
        raw: Raw = {"name": node.name, **node._raw, **node._keys}
        if node._condition is not None:
            raw["when"] = _written(node._condition)
        if node._each is not None:
            raw["for_each"] = self._items(node._each, waits_for)
        if params:
            raw["params"] = params
        if waits_for:
            raw["dependencies"] = list(dict.fromkeys(other.name for other in waits_for))
        return raw

    def _items(self, each: Any, waits_for: list[NodeRef]) -> Any:
        if isinstance(each, range):
            return {"range": [each.start, each.stop, each.step]}
        return self._value(each, waits_for) if isinstance(each, (list, tuple)) else _written(each)

    def _value(self, value: Any, waits_for: list[NodeRef]) -> Any:
        """An argument with references in place of what has no value yet; their nodes are waited for."""
        if isinstance(value, NodeRef):
            value = value.result
        if isinstance(value, ResultRef):
            waits_for.append(value._node)
            return {"$ref": ["nodes", value._node.name, "result", *value._words]}
        if isinstance(value, ParamRef):
            return {"$ref": ["params", value._name, *value._words]}
        if isinstance(value, ItemRef):
            return {"$ref": [value._root, *value._words]}
        if isinstance(value, dict):
            return {key: self._value(item, waits_for) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(item, waits_for) for item in value]
        return value


def _written(condition: Any) -> Any:
    """A param or a result as an expression; anything else as it is."""
    if isinstance(condition, ParamRef):
        return _path("params", condition._name, *condition._words)
    if isinstance(condition, ResultRef):
        return _path("nodes", condition._node.name, "result", *condition._words)
    return condition


def _path(root: str, *words: str | int) -> str:
    import json

    return root + "".join(f"[{json.dumps(word, ensure_ascii=False)}]" for word in words)
