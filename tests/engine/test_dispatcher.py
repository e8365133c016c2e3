"""Who gets a place? The dispatcher by hand, and against one that looks at everything."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from zquant_flow.core.model import Action
from zquant_flow.core.status import TriggerType
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.memory import Execution


def execution(id_, *, pool=None, parent=None, node=-1):
    """An execution of which the dispatcher sees its id, what is above it, and its pool."""
    action = Action(executor="command", config={}, pool=pool)
    task = SimpleNamespace(name="t")
    return Execution(
        id=id_,
        task=task,
        version=1,
        definition=SimpleNamespace(),
        action=action,
        trigger_type=TriggerType.MANUAL,
        parent=parent,
        node=node,
    )


def taken(dispatcher):
    """The ids, or (id, node), of all that may start now; each of them starts."""
    found = []
    for ready, node in dispatcher.take():
        dispatcher.occupy(ready)
        found.append(ready.id if node < 0 else (ready.id, node))
    return found


def test_the_higher_priority_goes_first():
    d = Dispatcher(3)
    for id_, priority in ((1, 0), (2, 5), (3, -1), (4, 5)):
        d.add(execution(id_), priority=priority)
    assert taken(d) == [2, 4, 1]
    assert d.waiting == 1


def test_roots_take_turns_and_inside_one_it_goes_by_file_order():
    d = Dispatcher(7)
    big, small = execution(1), execution(2)
    for node in (3, 0, 2, 1):
        d.add(big, node)
    for node in (1, 0):
        d.add(small, node)
    assert taken(d) == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (1, 3)]


def test_the_nodes_of_a_nested_workflow_stand_where_it_stands():
    d = Dispatcher(4)
    root = execution(1)
    nested = execution(2, parent=root, node=1)
    for owner, node in ((root, 2), (nested, 1), (nested, 0), (root, 0)):
        d.add(owner, node)
    assert taken(d) == [(1, 0), (2, 0), (2, 1), (1, 2)]


def test_a_root_that_comes_last_waits_for_one_turn_only():
    d = Dispatcher(1)
    crowd = execution(1)
    for node in range(1000):
        d.add(crowd, node)
    [_] = taken(d)
    late = execution(2)
    d.add(late)
    assert d.ahead_of(late) == 1
    d.release(crowd)
    assert taken(d) == [(1, 1)]
    d.release(crowd)
    assert taken(d) == [2]


def test_a_full_pool_holds_back_its_own_and_nobody_else():
    d = Dispatcher(10, {"api": 2})
    for id_ in (1, 2, 3):
        d.add(execution(id_, pool="api"), priority=9, pool="api")
    d.add(execution(4))
    assert taken(d) == [1, 2, 4]
    assert sorted(d.pools["api"].used) == [1, 2]
    assert d.is_full("api")
    assert d.waiting_in("api") == 1
    d.release(d.pools["api"].used[1])
    assert taken(d) == [3]


def test_a_pool_that_shrinks_drains_and_one_that_grows_is_filled():
    d = Dispatcher(10, {"api": 3})
    all_ = [execution(id_, pool="api") for id_ in range(1, 6)]
    for one in all_:
        d.add(one, pool="api")
    assert taken(d) == [1, 2, 3]
    d.resize({"api": 1})
    d.release(all_[0])
    assert taken(d) == []
    d.release(all_[1])
    assert taken(d) == []
    d.release(all_[2])
    assert taken(d) == [4]
    d.resize({"api": 2})
    assert taken(d) == [5]


def test_a_pool_that_nobody_defines_any_more_starts_nothing():
    d = Dispatcher(10, {"api": 1})
    d.resize({})
    d.add(execution(1, pool="api"), pool="api")
    assert taken(d) == []
    d.resize({"api": 1})
    assert taken(d) == [1]


def test_pools_of_one_priority_take_turns():
    d = Dispatcher(4, {"a": 10, "b": 10})
    for id_ in (1, 2, 3):
        d.add(execution(id_, pool="a"), pool="a")
    for id_ in (4, 5, 6):
        d.add(execution(id_, pool="b"), pool="b")
    assert taken(d) == [1, 4, 2, 5]


def test_it_says_how_many_start_before_one():
    d = Dispatcher(1, {"api": 1})
    for id_ in (1, 2):
        d.add(execution(id_, pool="api"), priority=1, pool="api")
    crowd, last = execution(3, pool="api"), execution(4, pool="api")
    for node in range(5):
        d.add(crowd, node, pool="api")
    d.add(last, pool="api")
    assert d.ahead_of(last) == 3  # two of a higher priority, and one turn of the crowd
    assert d.ahead_of(crowd, 2) == 5
    assert d.ahead_of(execution(9)) is None


class Naive:
    """The rules as they are written, by looking at everything that waits."""

    def __init__(self, slots, pools):
        self.slots, self.pools = slots, dict(pools)
        self.waiting = []
        self.used = Counter()
        self.running = 0

    def allowed(self):
        """The roots of which one must be served next, by pool, and the file order that each must show."""
        free = [
            entry
            for entry in self.waiting
            if self.running < self.slots and (entry[3] is None or self.used[entry[3]] < self.pools[entry[3]])
        ]
        top = max((entry[2] for entry in free), default=None)
        best = {}
        for root, node, priority, pool in free:
            if priority == top:
                best[root, pool] = min(node, best.get((root, pool), node))
        return {(root, node, top, pool) for (root, pool), node in best.items()}


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.integers(1, 4),
            st.integers(0, 6),
            st.integers(0, 2),
            st.sampled_from([None, "a", "b"]),
        ),
        st.tuples(st.just("end"), st.integers(0, 20)),
        st.tuples(st.just("resize"), st.integers(0, 3), st.integers(0, 3)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4), steps)
def test_it_grants_what_the_rules_allow_and_all_of_it(slots, story):
    pools = {"a": 2, "b": 1}
    real, naive = Dispatcher(slots, pools), Naive(slots, pools)
    roots, under_way, known, ids = {}, [], {}, iter(range(100, 1000))
    for step in story:
        if step[0] == "add":
            _, root, node, priority, pool = step
            owner = roots.setdefault(root, execution(root))
            child = execution(next(ids), pool=pool, parent=owner, node=node)
            known[child.id] = (root, node, priority, pool)
            real.add(child, priority=priority, pool=pool)
            naive.waiting.append(known[child.id])
        elif step[0] == "resize":
            naive.pools = {"a": step[1], "b": step[2]}
            real.resize(naive.pools)
        elif under_way:
            child = under_way.pop(step[1] % len(under_way))
            real.release(child)
            naive.running -= 1
            naive.used[known[child.id][3]] -= 1
        for child, _ in real.take():
            entry = known[child.id]
            assert entry in naive.allowed()
            naive.waiting.remove(entry)
            naive.running += 1
            naive.used[entry[3]] += 1
            real.occupy(child)
            under_way.append(child)
        assert not naive.allowed()
        assert real.waiting == len(naive.waiting)
        assert real.running == naive.running


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=80))
def test_no_root_waits_longer_than_one_turn_of_all_roots(added):
    d = Dispatcher(1)
    roots = {number: execution(number) for number in added}
    for node, root in enumerate(added):
        d.add(roots[root], node)
    left, waited = Counter(added), Counter()
    while d.waiting:
        served, _ = next(d.take())
        left[served.id] -= 1
        waited[served.id] = 0
        for root in roots:
            if root != served.id and left[root]:
                waited[root] += 1
                assert waited[root] < len(roots)
