"""The plan of a workflow: order, and what can't be ordered."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zquant_flow.core.graph import descendants, graph_of, plan_nodes
from zquant_flow.errors import GraphError


def test_ties_are_in_file_order():
    plan = plan_nodes(["c", "b", "a", "d"], {"c": ["a"], "d": ["b"]})
    assert [plan.names[node] for node in plan.order] == ["b", "a", "c", "d"]
    assert plan.dependencies == ((2,), (), (), (1,))
    assert plan.dependents == ((), (3,), (0,), ())


def test_a_dependency_that_is_named_twice_counts_once():
    assert plan_nodes(["a", "b"], {"b": ["a", "a"]}).dependencies == ((), (0,))


@pytest.mark.parametrize(
    ("dependencies", "told"),
    [
        ({"a": ["a"]}, "waits for itself"),
        ({"b": ["aa"]}, "did you mean 'a'"),
        ({"a": ["c"], "b": ["a"], "c": ["b"]}, "a -> b -> c -> a"),
    ],
)
def test_what_can_not_be_ordered_is_named(dependencies, told):
    with pytest.raises(GraphError, match=told):
        plan_nodes(["a", "b", "c"], dependencies)


@st.composite
def graphs(draw):
    """Nodes in any file order, each of which waits for some of those before it in another order."""
    size = draw(st.integers(1, 12))
    rank = draw(st.permutations(range(size)))
    waits = {}
    for node in range(size):
        earlier = [other for other in range(size) if rank[other] < rank[node]]
        waits[str(node)] = (
            [str(one) for one in draw(st.lists(st.sampled_from(earlier), max_size=3))] if earlier else []
        )
    return [str(node) for node in range(size)], waits


@given(graphs())
def test_the_order_is_the_first_of_all_topological_ones(graph):
    plan = plan_nodes(*graph)
    assert plan.order == tuple(nx.lexicographical_topological_sort(graph_of(plan.dependents)))


def test_descendants_wait_directly_or_by_way_of_others() -> None:
    plan = plan_nodes("abcd", {"b": ["a"], "c": ["b"], "d": []})
    assert descendants(plan, 0) == {1, 2}
    assert descendants(plan, 3) == frozenset()
