"""What do expressions and templates know when they are evaluated? (SEMANTICS §8.10)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from zquant_flow.core.instants import from_micros
from zquant_flow.core.progress import FAILED, SKIPPED
from zquant_flow.core.references import Absent
from zquant_flow.core.sessions import Sessions, sessions_of
from zquant_flow.engine.memory import Execution, Run
from zquant_flow.wording import say

SESSIONS = ("session", "previous_session", "next_session")
SessionDays = Callable[[Execution], Mapping[str, date | None]]
"""The session of an execution and those around it, by these names; empty where it follows no calendar."""


class Scope(Mapping[str, Any]):
    """The names at the top, each worked out when it is first asked for. `workflow` is the one around the execution."""

    __slots__ = ("_execution", "_known", "_sessions", "_workflow")

    def __init__(self, execution: Execution, workflow: Execution | None, sessions: SessionDays) -> None:
        self._execution, self._workflow, self._sessions = execution, workflow, sessions
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            fact = _FACTS.get(name)
            self._known[name] = self._session(name) if fact is None else fact(self._execution, self._workflow)
        return self._known[name]

    def _session(self, name: str) -> date:
        if name not in SESSIONS:
            raise KeyError(name)
        found = self._sessions(self._execution)
        if not found:
            raise Absent(say("{name}: the task follows no calendar", name=name))
        day = found[name]
        if day is None:
            raise Absent(say("there is no {name} for this logical time", name=name))
        return day

    def __contains__(self, name: object) -> bool:
        return name in _FACTS or name in SESSIONS

    def __iter__(self) -> Iterator[str]:
        return iter((*_FACTS, *SESSIONS))

    def __len__(self) -> int:
        return len(_FACTS) + len(SESSIONS)


class Results(Mapping[str, Any]):
    """The nodes of a run by name: `{"result": ...}` for those that have one."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, name: str) -> Any:
        found = self._run.results.get(name)
        if found is None or found["result"] is None:
            self._explain(name, ended=found is not None)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.results)

    def __len__(self) -> int:
        return len(self._run.results)

    def _explain(self, name: str, *, ended: bool) -> None:
        """Raises where there is no result and never will be; null is the result of a node that has none to give."""
        node = self._run.plan.index(name)
        if node is None:
            raise KeyError(name)
        state = self._run.progress.state[node]
        if state == SKIPPED:
            raise Absent(say("nodes.{name} has no result: it was skipped", name=name))
        if state == FAILED:
            raise Absent(say("nodes.{name} has no result: it failed", name=name))
        if not ended:
            raise Absent(say("nodes.{name} has no result: it has not ended", name=name))


def scope_of(execution: Execution, sessions: SessionDays = lambda execution: {}) -> Mapping[str, Any]:
    """What the templates of an execution know."""
    parent = execution.parent
    scope = Scope(execution, parent and workflow_of(parent), sessions)
    return scope if parent is None else _with_item(scope, parent, execution.node)


def scope_within(workflow: Execution, sessions: SessionDays = lambda execution: {}) -> Scope:
    """What is known to a node that has not begun: `execution` is the workflow's."""
    return Scope(workflow, workflow, sessions)


def scope_of_call(parent: Execution, node: int, sessions: SessionDays) -> Mapping[str, Any]:
    """What is known to the params of a node that begins; the result of one that failed or was skipped is null to them."""
    workflow = workflow_of(parent)
    assert workflow.run is not None
    scope = _Over({"nodes": workflow.run.results}, scope_within(workflow, sessions))
    return _with_item(scope, parent, node)


def event_of(execution: Execution) -> Mapping[str, Any]:
    """What started the whole; of kind null where nothing did but a schedule or a request."""
    event = execution.root.event
    if event is None:
        return {"kind": None}
    return {"kind": None, **{name: value for name, value in event.items() if name != "rerun"}}


def workflow_of(execution: Execution) -> Execution:
    """The workflow that a node stands in, from the execution above it: above an item stands its `for_each`."""
    run = execution.run
    if run is None or run.items is None:
        return execution
    assert execution.parent is not None
    return execution.parent


def _with_item(scope: Mapping[str, Any], parent: Execution, node: int) -> Mapping[str, Any]:
    if parent.run is None or parent.run.items is None:
        return scope
    return _Over({"item": parent.run.items[node], "index": node}, scope)


class _Over(Mapping[str, Any]):
    """A few names before others. (A ChainMap would swallow why one of those is absent.)"""

    __slots__ = ("_first", "_then")

    def __init__(self, first: Mapping[str, Any], then: Mapping[str, Any]) -> None:
        self._first, self._then = first, then

    def __getitem__(self, name: str) -> Any:
        return self._first[name] if name in self._first else self._then[name]

    def __contains__(self, name: object) -> bool:
        return name in self._first or name in self._then

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._first), **dict.fromkeys(self._then)})

    def __len__(self) -> int:
        return len(self._first.keys() | self._then.keys())


def session_days(execution: Execution, calendars: Mapping[str, Sessions]) -> Mapping[str, date | None]:
    """The trading sessions that an execution stands for and between, by its own schedule, else by its root's."""
    root = execution.root
    instant = from_micros(execution.logical_time or root.logical_time or root.created_time)
    return sessions_of(instant, execution.definition, calendars) or sessions_of(
        instant, root.definition, calendars
    )


def _results(execution: Execution, workflow: Execution | None) -> Mapping[str, Any]:
    return Results(workflow.run) if workflow is not None and workflow.run is not None else {}


def _itself(execution: Execution, workflow: Execution | None) -> Mapping[str, Any]:
    return {"id": execution.id, "attempt": execution.retry_count + 1, "task": execution.task.name}


_FACTS: Mapping[str, Callable[[Execution, Execution | None], Any]] = {
    "params": lambda execution, _: execution.params,
    "nodes": _results,
    "logical_time": lambda execution, _: from_micros(execution.logical_time),
    "execution": _itself,
    "event": lambda execution, _: event_of(execution),
}
