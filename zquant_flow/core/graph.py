"""In which order can the nodes of a workflow run?

A workflow is a directed acyclic graph (networkx). `plan_nodes` checks it once, when its definition is read; `Plan` is
what a run needs of it: nodes by index in file order, and who waits for whom, as plain lists.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zquant_flow.core.model import Workflow
from zquant_flow.errors import GraphError
from zquant_flow.wording import say

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Plan:
    """The nodes of a workflow by index; `order` is topological, ties in file order."""

    names: tuple[str, ...]
    order: tuple[int, ...]
    dependencies: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.names)


def plan_workflow(workflow: Workflow) -> Plan:
    """The plan of a workflow as it is defined; raises GraphError."""
    return plan_nodes(
        [node.name for node in workflow.nodes], {node.name: node.dependencies for node in workflow.nodes}
    )


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


def _index_of(index: Mapping[str, int], name: str, position: int, wanted: str) -> int:
    found = index.get(wanted)
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
    if found == position:
        raise GraphError(say("node {name!r} waits for itself", name=name), field=field)
    return found


def _topological(names: Sequence[str], frees: Sequence[Sequence[int]]) -> tuple[int, ...]:
    import networkx as nx  # 12 MB and 70 ms that a server without workflows never pays

    graph = graph_of(frees)
    try:
        return tuple(nx.lexicographical_topological_sort(graph))
    except nx.NetworkXUnfeasible:
        cycle = [names[edge[0]] for edge in nx.find_cycle(graph)]
        shown = " -> ".join([*cycle, cycle[0]])
        raise GraphError(
            say("these nodes wait for each other: {cycle}", cycle=shown), field="tasks", cycle=cycle
        ) from None


def graph_of(dependents: Sequence[Sequence[int]]) -> nx.DiGraph[int]:
    """The graph over node indices, with an edge from each node to those that wait for it."""
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(dependents)))
    graph.add_edges_from((earlier, later) for earlier, targets in enumerate(dependents) for later in targets)
    return graph
