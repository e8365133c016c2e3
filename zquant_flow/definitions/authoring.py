"""How are tasks and workflows written in Python?

What task files import as `from zquant_flow import task, workflow` (SEMANTICS §4). Standard library only and quick to
import: workers import it too. A decorator only takes notes; the loader turns them into raw definitions, in the form
that a YAML file has, with `raw_definitions`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from zquant_flow.definitions.authoring_body import AuthoringError, Body, ItemRef, NodeRef, ParamRef, Raw, item
from zquant_flow.wording import say, spoken

__all__ = [
    "AuthoringError",
    "ItemRef",
    "NodeRef",
    "TaskFunction",
    "WorkflowFunction",
    "approval",
    "item",
    "task",
    "workflow",
]

if TYPE_CHECKING:
    from zquant_flow.definitions.authoring_keys import TaskKeys, Unpack, WorkflowKeys

P = ParamSpec("P")
R = TypeVar("R")

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
            "notify",
        ),
        *("retry_interval", "retry_backoff", "priority", "isolation", "trigger_rule"),
    }
)
_SCHEDULES = ("cron", "interval", "run_at", "schedules")
_building: ContextVar[Body | None] = ContextVar("zquant_flow_workflow_body", default=None)
_written: list[TaskFunction[..., Any] | WorkflowFunction[..., Any]] = []


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
        body = Body(self)
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


def approval(
    message: str = "", *, who: str | Sequence[str] = (), timeout: Any = None, on_timeout: str = "reject"
) -> NodeRef:
    """In a workflow body: a node that waits until somebody approves it, or one of `who`: `approval("go on?").after(load)`."""
    body = _building.get()
    if body is None:
        raise AuthoringError(say("approval() makes a node: it stands in the body of a workflow"))
    said = {"message": message, "who": who, "timeout": timeout, "on_timeout": on_timeout}
    return body.add("approval", {"approval": {key: value for key, value in said.items() if value}}, {})


def _decorated(kind: Any, function: Any, keys: Raw) -> Any:
    if function is None:
        return lambda function: _checked(kind, function, keys)
    return _checked(kind, function, {})


def _checked(kind: Any, function: Any, keys: Raw) -> Any:
    if isinstance(function, (TaskFunction, WorkflowFunction)) or not hasattr(function, "__code__"):
        raise AuthoringError(
            say("@task and @workflow stand on a function, not on {value:.80}", value=repr(function))
        )
    return kind(function, keys)


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
            raw["params"] = _with_defaults(made.keys.get("params") or {}, defaults)
        if isinstance(made, WorkflowFunction):
            raw["tasks"] = graphs[id(made)]
        elif any(user.__wrapped_task__.__module__ == module for user in made.used_in) and not any(
            made.keys.get(word) is not None for word in _SCHEDULES
        ):
            continue
        else:
            raw["python"] = entry_of(made.__wrapped_task__)
            raw.pop("trigger_rule", None)
            raw.pop("when", None)
        _describe(raw, made.__wrapped_task__)
        out.append((made, raw))
    return out


def entry_of(function: Callable[..., Any]) -> str:
    """`module:function`, where a worker finds it; raises AuthoringError for one that is hidden in another."""
    if "<" in function.__qualname__ or "." in function.__qualname__:
        message = say(
            "{function} is inside another function or class: a task stands at the top of its file",
            function=function.__qualname__,
        )
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


def _with_defaults(params: Raw, defaults: Raw) -> Raw:
    """The params of a decorator over the function's defaults; one in the long form takes its default from there."""
    from zquant_flow.definitions.params import is_spec

    filled = {
        name: {"default": defaults[name], **value} if name in defaults and is_spec(value) else value
        for name, value in params.items()
    }
    return {**defaults, **filled}


def _placeholders(function: Callable[..., Any]) -> tuple[list[ParamRef], dict[str, ParamRef]]:
    import inspect

    args: list[ParamRef] = []
    kwargs: dict[str, ParamRef] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            message = say(
                "a workflow names its parameters: no *{name} in {function}()",
                name=parameter.name,
                function=function.__name__,
            )
            raise AuthoringError(message, function.__code__.co_firstlineno)
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = ParamRef(parameter.name)
        else:
            args.append(ParamRef(parameter.name))
    return args, kwargs


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Raw) -> Raw:
    """The arguments of a call by the names of the function's parameters."""
    import inspect

    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as exc:
        raise AuthoringError(
            say("{function}(): {error}", function=function.__name__, error=spoken(exc))
        ) from None
    out: Raw = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            out.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL or kind is inspect.Parameter.POSITIONAL_ONLY:
            raise AuthoringError(
                say(
                    "{function}(): a task takes its params by name, not as *{name} or before `/`",
                    function=function.__name__,
                    name=name,
                )
            )
        else:
            out[name] = value
    return out
