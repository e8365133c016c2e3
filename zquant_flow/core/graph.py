"""In which order can the nodes of a workflow run?

A workflow is a directed acyclic graph; networkx names its cycles. `plan_nodes` checks it once, when its definition is read; `Plan` is
what a run needs of it: nodes by index in file order, and who waits for whom, as plain lists.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from zquant_flow.core.model import Workflow
from zquant_flow.errors import GraphError
from zquant_flow.wording import say

if TYPE_CHECKING:
    import networkx as nx


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """The nodes of a workflow by index; `order` is topological, ties in file order."""

    names: Sequence[str]
    order: Sequence[int]
    dependencies: Sequence[Sequence[int]]
    dependents: Sequence[Sequence[int]]
    _positions: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int | None:
        """The index of the node of that name."""
        if not self._positions:
            self._positions.update((name, position) for position, name in enumerate(self.names))
        return self._positions.get(name)


def plan_workflow(workflow: Workflow) -> Plan:
    """The plan of a workflow as it is defined; raises GraphError."""
    return plan_nodes(
        [node.name for node in workflow.nodes], {node.name: node.dependencies for node in workflow.nodes}
    )


def plan_items(name: str, count: int) -> Plan:
    """The plan of a node's items, `name[0]`, `name[1]` and so on: nobody waits for another. Costs nothing, however many."""
    nobody = Alike((), count)
    return Plan(names=_Numbered(name, count), order=range(count), dependencies=nobody, dependents=nobody)


class Alike(Sequence[T]):
    """One value, so many times."""

    __slots__ = ("_count", "_value")

    def __init__(self, value: T, count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._value


class _Numbered(Sequence[str]):
    """`name[0]`, `name[1]`, ..."""

    __slots__ = ("_count", "_name")

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return f"{self._name}[{index}]"


def plan_nodes(names: Sequence[str], dependencies: Mapping[str, Sequence[str]]) -> Plan:
    """The plan of these nodes, in file order. Raises GraphError: a double name, an unknown dependency, a cycle."""
    index = {name: position for position, name in enumerate(names)}
    if len(index) != len(names):
        double = next(name for name, count in Counter(names).items() if count > 1)
        raise GraphError(
            say("two nodes are named {name!r}; give one of them another `name`", name=double),
            field="tasks",
        )
    waits_for: list[tuple[int, ...]] = []
    frees: list[list[int]] = [[] for _ in names]
    for position, name in enumerate(names):
        own = tuple(
            dict.fromkeys(_index_of(index, name, position, wanted) for wanted in dependencies.get(name, ()))
        )
        waits_for.append(own)
        for earlier in own:
            frees[earlier].append(position)
    return Plan(
        names=tuple(names),
        order=_topological(names, frees),
        dependencies=tuple(waits_for),
        dependents=tuple(map(tuple, frees)),
    )


def descendants(plan: Plan, node: int) -> frozenset[int]:
    """The nodes that wait for this one, directly or by way of others."""
    found: set[int] = set()
    left = [node]
    while left:
        for later in plan.dependents[left.pop()]:
            if later not in found:
                found.add(later)
                left.append(later)
    return frozenset(found)


def _index_of(index: Mapping[str, int], name: str, position: int, wanted: str) -> int:
    found = index.get(wanted)
    if found is not None and found != position:
        return found
    field = f"tasks.{position}.dependencies"
    if found is None:
        close = difflib.get_close_matches(wanted, index, n=1)
        hint = say(" (did you mean {word!r}?)", word=close[0]) if close else ""
        raise GraphError(
            say(
                "node {name!r} waits for {wanted!r}, which is not in this workflow{hint}",
                name=name,
                wanted=wanted,
                hint=hint,
            ),
            field=field,
        )
    raise GraphError(say("node {name!r} waits for itself", name=name), field=field)


def _topological(names: Sequence[str], frees: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Kahn's order with a heap: of the nodes that could be next, the first in the file."""
    missing = [0] * len(frees)
    for later in chain.from_iterable(frees):
        missing[later] += 1
    free = [node for node, count in enumerate(missing) if not count]
    order: list[int] = []
    while free:
        node = heappop(free)
        order.append(node)
        for later in frees[node]:
            missing[later] -= 1
            if not missing[later]:
                heappush(free, later)
    if len(order) < len(frees):
        raise _cycle(names, frees)
    return tuple(order)


def _cycle(names: Sequence[str], frees: Sequence[Sequence[int]]) -> GraphError:
    import networkx as nx  # 12 MB and 70 ms that a sound workflow never pays

    cycle = [names[edge[0]] for edge in nx.find_cycle(graph_of(frees))]
    shown = " -> ".join([*cycle, cycle[0]])
    return GraphError(
        say("these nodes wait for each other: {cycle}", cycle=shown), field="tasks", cycle=cycle
    )


def graph_of(dependents: Sequence[Sequence[int]]) -> nx.DiGraph[int]:
    """The graph over node indices, with an edge from each node to those that wait for it."""
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(dependents)))
    graph.add_edges_from((earlier, later) for earlier, targets in enumerate(dependents) for later in targets)
    return graph
