"""How are tasks and workflows written in Python?

What task files import as `from zquant_flow import task, workflow` (SEMANTICS §4). Standard library only and quick to
import: workers import it too. A decorator only takes notes; the loader turns them into raw definitions, in the form
that a YAML file has, with `raw_definitions`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from zquant_flow.definitions.authoring_keys import TaskKeys, Unpack, WorkflowKeys

P = ParamSpec("P")
R = TypeVar("R")
Raw = dict[str, Any]

_NODE_KEYS = frozenset(
    {
        *(
            "executor",
            "command",
            "config",
            "shell",
            "env",
            "working_dir",
            "timeout",
            "max_retries",
            "pool",
            "when",
        ),
        *("retry_interval", "retry_backoff", "priority", "isolation", "trigger_rule", "for_each"),
    }
)
_SCHEDULES = ("cron", "interval", "run_at", "schedules")
_building: ContextVar[_Body | None] = ContextVar("zquant_flow_workflow_body", default=None)
_written: list[TaskFunction[..., Any] | WorkflowFunction[..., Any]] = []


class AuthoringError(TypeError):
    """A workflow body that does what only a running task can do; `line` where no traceback leads to the user's."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class TaskFunction(Generic[P, R]):
    """A function under `@task`: called as itself everywhere but in a workflow body, where a call is a node."""

    def __init__(self, function: Callable[P, R], keys: Raw) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped_task__ = function
        self.keys = keys
        self.used_in: list[WorkflowFunction[..., Any]] = []
        _written.append(self)

    @property
    def name(self) -> str:
        """The name of the task, and of the node it becomes."""
        return str(self.keys.get("name") or self.__wrapped_task__.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        body = _building.get()
        if body is None:
            return self.__wrapped_task__(*args, **kwargs)
        self.used_in.append(body.workflow)
        node = {key: value for key, value in self.keys.items() if key in _NODE_KEYS}
        node["python"] = entry_of(self.__wrapped_task__)
        return body.add(self.name, node, _bound(self.__wrapped_task__, args, kwargs))  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"<task {self.name!r}>"


class WorkflowFunction(Generic[P, R]):
    """A function under `@workflow`: its body builds a graph of nodes once, in the loader."""

    def __init__(self, function: Callable[P, R], keys: Raw) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped_task__ = function
        self.keys = keys
        _written.append(self)

    @property
    def name(self) -> str:
        return str(self.keys.get("name") or self.__wrapped_task__.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        body = _building.get()
        if body is None:
            return self.__wrapped_task__(*args, **kwargs)
        return body.add(self.name, {"task": self.name}, _bound(self.__wrapped_task__, args, kwargs))  # type: ignore[return-value]

    def nodes(self) -> list[Raw]:
        """The nodes that the body makes, in the order of its calls."""
        body = _Body(self)
        function: Callable[..., Any] = self.__wrapped_task__
        token = _building.set(body)
        try:
            args, kwargs = _placeholders(function)
            function(*args, **kwargs)
        finally:
            _building.reset(token)
        return body.nodes()

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


@overload
def task(function: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(**keys: Unpack[TaskKeys]) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **keys: Any) -> Any:
    """Makes a function a task; takes the keys that a task has in YAML: `@task(cron="0 18 * * 1-5", timeout="10m")`."""
    return _decorated(TaskFunction, function, keys)


@overload
def workflow(function: Callable[P, R], /) -> WorkflowFunction[P, R]: ...
@overload
def workflow(**keys: Unpack[WorkflowKeys]) -> Callable[[Callable[P, R]], WorkflowFunction[P, R]]: ...
def workflow(function: Callable[..., Any] | None = None, /, **keys: Any) -> Any:
    """Makes a function whose body calls tasks a workflow; takes the keys that a workflow has in YAML, but `tasks`."""
    return _decorated(WorkflowFunction, function, keys)


def _decorated(kind: Any, function: Any, keys: Raw) -> Any:
    if function is None:
        return lambda function: _checked(kind, function, keys)
    return _checked(kind, function, {})


def _checked(kind: Any, function: Any, keys: Raw) -> Any:
    if isinstance(function, (TaskFunction, WorkflowFunction)) or not hasattr(function, "__code__"):
        raise AuthoringError(f"@task and @workflow stand on a function, not on {function!r:.80}")
    return kind(function, keys)


class _Unready:
    """A value that does not exist yet while a workflow body is read."""

    def _refuse(self, doing: str, instead: str) -> NoReturn:
        raise AuthoringError(
            f"{self!r} has no value yet: a workflow body only builds the graph, so no {doing} here; {instead}"
        )

    def __bool__(self) -> bool:
        self._refuse("`if`, `and` or `not` of it", "use `when` on the node, or decide inside a task")

    def __iter__(self) -> Iterator[Any]:
        self._refuse("`for` over it", "use `for_each` on the node, or loop inside a task")

    def __len__(self) -> int:
        self._refuse("len()", "use `for_each` on the node, or measure inside a task")

    def __format__(self, spec: str) -> str:
        self._refuse("formatting into text", "pass it as an argument, and make the text inside a task")

    def __str__(self) -> str:
        self._refuse("str()", "pass it as an argument, and make the text inside a task")

    def _compute(self, *_: Any) -> NoReturn:
        self._refuse(
            "calculating or comparing",
            "pass it as an argument to a task that does (see also `when`, `for_each`)",
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
        return f"the result of node {self._node.name!r}"


class ParamRef(_Unready):
    """A parameter of the workflow, or with `[...]` a part of it."""

    def __init__(self, name: str, words: tuple[str | int, ...] = ()) -> None:
        self._name, self._words = name, words

    def __getitem__(self, word: str | int) -> ParamRef:
        return ParamRef(self._name, (*self._words, word))

    def __repr__(self) -> str:
        return f"the workflow's param {self._name!r}"


class NodeRef(_Unready):
    """What a task's call in a workflow body returns: the node it has become."""

    def __init__(self, body: _Body, name: str, raw: Raw, arguments: Raw) -> None:
        self._body, self._raw, self._arguments = body, raw, arguments
        self._after: list[NodeRef] = []
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
                    f"after() takes what the calls of tasks return, not {type(node).__name__}"
                )
            self._after.append(node)
        return self

    def named(self, name: str) -> NodeRef:
        """Gives the node a name of its own; advised in loops, since a resume matches nodes by name."""
        self.name = name
        return self

    def __getitem__(self, word: Any) -> NoReturn:
        raise AuthoringError(f"{self!r} is a node: take a part of its result with .result[{word!r}]")

    def __repr__(self) -> str:
        return f"node {self.name!r}"


class _Body:
    """The nodes that one run of a workflow body has made so far."""

    def __init__(self, owner: WorkflowFunction[..., Any]) -> None:
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
                raise AuthoringError(f"{node!r} uses {other!r}, which belongs to another workflow")
        raw: Raw = {"name": node.name, **node._raw}
        if params:
            raw["params"] = params
        if waits_for:
            raw["dependencies"] = list(dict.fromkeys(other.name for other in waits_for))
        return raw

    def _value(self, value: Any, waits_for: list[NodeRef]) -> Any:
        """An argument with references in place of what has no value yet; their nodes are waited for."""
        if isinstance(value, NodeRef):
            value = value.result
        if isinstance(value, ResultRef):
            waits_for.append(value._node)
            return {"$ref": ["nodes", value._node.name, "result", *value._words]}
        if isinstance(value, ParamRef):
            return {"$ref": ["params", value._name, *value._words]}
        if isinstance(value, dict):
            return {key: self._value(item, waits_for) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(item, waits_for) for item in value]
        return value


def written() -> Sequence[TaskFunction[..., Any] | WorkflowFunction[..., Any]]:
    """All that decorators have made in this process, in order."""
    return tuple(_written)


def raw_definitions(module: str) -> list[tuple[TaskFunction[..., Any] | WorkflowFunction[..., Any], Raw]]:
    """The definitions that a module makes, in its order, in the form of a YAML file.

    Bodies of workflows run here. A task without a schedule that a workflow of the module uses is private to it.
    """
    own = [made for made in _written if made.__wrapped_task__.__module__ == module]
    out: list[tuple[TaskFunction[..., Any] | WorkflowFunction[..., Any], Raw]] = []
    graphs = {id(made): made.nodes() for made in own if isinstance(made, WorkflowFunction)}
    for made in own:
        raw = {"name": made.name, **made.keys}
        defaults = _defaults(made.__wrapped_task__)
        if defaults or "params" in made.keys:
            raw["params"] = {**defaults, **(made.keys.get("params") or {})}
        if isinstance(made, WorkflowFunction):
            raw["tasks"] = graphs[id(made)]
        elif any(user.__wrapped_task__.__module__ == module for user in made.used_in) and not any(
            made.keys.get(word) is not None for word in _SCHEDULES
        ):
            continue
        else:
            raw["python"] = entry_of(made.__wrapped_task__)
            raw.pop("trigger_rule", None)
        _describe(raw, made.__wrapped_task__)
        out.append((made, raw))
    return out


def entry_of(function: Callable[..., Any]) -> str:
    """`module:function`, where a worker finds it; raises AuthoringError for one that is hidden in another."""
    if "<" in function.__qualname__ or "." in function.__qualname__:
        message = f"{function.__qualname__} is inside another function or class: a task stands at the top of its file"
        raise AuthoringError(message, function.__code__.co_firstlineno)
    return f"{function.__module__}:{function.__name__}"


def required_params(function: Callable[..., Any]) -> list[str]:
    """The parameters without a default: what a trigger has to give."""
    import inspect

    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [item.name for item in parameters if item.default is item.empty and item.kind not in variadic]


def _describe(raw: Raw, function: Callable[..., Any]) -> None:
    text = (function.__doc__ or "").strip()
    if text and "description" not in raw:
        raw["description"] = text.splitlines()[0][:10_000]


def _defaults(function: Callable[..., Any]) -> Raw:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}


def _placeholders(function: Callable[..., Any]) -> tuple[list[ParamRef], dict[str, ParamRef]]:
    import inspect

    args: list[ParamRef] = []
    kwargs: dict[str, ParamRef] = {}
    for item in inspect.signature(function).parameters.values():
        if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
            message = f"a workflow names its parameters: no *{item.name} in {function.__name__}()"
            raise AuthoringError(message, function.__code__.co_firstlineno)
        if item.kind is item.KEYWORD_ONLY:
            kwargs[item.name] = ParamRef(item.name)
        else:
            args.append(ParamRef(item.name))
    return args, kwargs


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Raw) -> Raw:
    """The arguments of a call by the names of the function's parameters."""
    import inspect

    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as exc:
        raise AuthoringError(f"{function.__name__}(): {exc}") from None
    out: Raw = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            out.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL or kind is inspect.Parameter.POSITIONAL_ONLY:
            raise AuthoringError(
                f"{function.__name__}(): a task takes its params by name, not as *{name} or before `/`"
            )
        else:
            out[name] = value
    return out
