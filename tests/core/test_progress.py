"""The rules of SEMANTICS §8: rule x outcome x on_failure, serial and parallel, and random graphs against a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zquant_flow.core.graph import Plan, plan_nodes
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.core.progress import Progress, SkipReason
from zquant_flow.core.status import Status
from zquant_flow.errors import GraphError

S, F = Status.SUCCESS, Status.FAILED


def make(
    dependencies: dict[str, list[str]],
    *,
    serial: bool = False,
    stop: bool = True,
    rules: dict[str, TriggerRule] | None = None,
) -> tuple[Progress, Plan]:
    plan = plan_nodes(list(dependencies), dependencies)
    return (
        Progress(
            plan,
            [(rules or {}).get(name, TriggerRule.ALL_SUCCESS) for name in plan.names],
            workflow_type=WorkflowType.SERIAL if serial else WorkflowType.PARALLEL,
            on_failure=OnFailure.STOP if stop else OnFailure.CONTINUE,
        ),
        plan,
    )


def names(plan: Plan, nodes: list[int]) -> list[str]:
    return [plan.names[node] for node in nodes]


def run(progress: Progress, plan: Plan, fates: dict[str, Status]) -> tuple[list[str], dict[str, str]]:
    """Play a run, always ending the earliest started node; returns the order of starts and who was skipped why."""
    step = progress.start()
    started, skipped = [], {}
    waiting: list[int] = []
    while True:
        skipped |= {plan.names[node]: reason.value for node, reason in step.skipped}
        waiting = [node for node in waiting if progress.may_start(node)] + step.ready
        running = list(waiting)
        if not running:
            break
        node = running[0]
        waiting.remove(node)
        progress.began(node)
        started.append(plan.names[node])
        step = progress.finish(node, fates.get(plan.names[node], S))
    assert progress.finished
    return started, skipped


def test_a_node_starts_the_moment_its_own_dependencies_allow() -> None:
    progress, plan = make({"slow": [], "quick": [], "after-quick": ["quick"]})
    assert names(plan, progress.start().ready) == ["slow", "quick"]
    assert names(plan, progress.finish(1, S).ready) == ["after-quick"]


def test_serial_runs_one_node_at_a_time_in_topological_order_with_ties_in_file_order() -> None:
    progress, plan = make({"c": ["a"], "b": [], "a": []}, serial=True)
    assert run(progress, plan, {})[0] == ["b", "a", "c"]


def test_serial_never_offers_a_second_node_while_one_runs() -> None:
    progress, plan = make({"a": [], "b": [], "c": []}, serial=True)
    assert names(plan, progress.start().ready) == ["a"]
    assert names(plan, progress.finish(0, S).ready) == ["b"]


def test_stop_skips_what_was_ready_and_lets_the_running_finish() -> None:
    progress, plan = make({"bad": [], "running": [], "queued": [], "child": ["running"]})
    progress.start()
    progress.began(0)
    progress.began(1)
    step = progress.finish(0, F)
    assert sorted(names(plan, [node for node, _ in step.skipped])) == ["child", "queued"]
    assert {reason for _, reason in step.skipped} == {SkipReason.STOPPED}
    assert not progress.finished
    assert progress.finish(1, S).ready == []
    assert progress.finished
    assert progress.outcome() is Status.FAILED


def test_failed_dependency_blocks_only_its_own_branch_under_continue() -> None:
    progress, plan = make({"bad": [], "child": ["bad"], "grandchild": ["child"], "other": []}, stop=False)
    started, skipped = run(progress, plan, {"bad": F})
    assert started == ["bad", "other"]
    assert skipped == {"child": "trigger_rule", "grandchild": "trigger_rule"}
    assert progress.outcome() is Status.COMPLETED


def test_terminated_counts_as_failure_and_skipped_does_not() -> None:
    progress, plan = make(
        {"bad": [], "skipped": ["bad"], "watch": ["skipped"]},
        stop=False,
        rules={"watch": TriggerRule.NONE_FAILED},
    )
    started, _ = run(progress, plan, {"bad": Status.TERMINATED})
    assert started == ["bad", "watch"]


@pytest.mark.parametrize(
    ("rule", "fates", "runs"),
    [
        (TriggerRule.ALL_SUCCESS, (S, S), True),
        (TriggerRule.ALL_SUCCESS, (S, F), False),
        (TriggerRule.ALL_SUCCESS, (F, F), False),
        (TriggerRule.ALL_DONE, (S, S), True),
        (TriggerRule.ALL_DONE, (S, F), True),
        (TriggerRule.ALL_DONE, (F, F), True),
        (TriggerRule.ANY_SUCCESS, (S, S), True),
        (TriggerRule.ANY_SUCCESS, (S, F), True),
        (TriggerRule.ANY_SUCCESS, (F, F), False),
        (TriggerRule.ANY_FAILED, (S, S), False),
        (TriggerRule.ANY_FAILED, (S, F), True),
        (TriggerRule.ANY_FAILED, (F, F), True),
        (TriggerRule.NONE_FAILED, (S, S), True),
        (TriggerRule.NONE_FAILED, (S, F), False),
        (TriggerRule.NONE_FAILED, (F, F), False),
    ],
)
@pytest.mark.parametrize("stop", [True, False])
def test_rule_by_outcome_by_on_failure(
    rule: TriggerRule, fates: tuple[Status, Status], runs: bool, stop: bool
) -> None:
    progress, _plan = make({"x": [], "y": [], "node": ["x", "y"]}, stop=stop, rules={"node": rule})
    progress.start()
    progress.began(0)
    progress.began(1)
    progress.finish(0, fates[0])
    progress.finish(1, fates[1])
    survives = rule in (TriggerRule.ALL_DONE, TriggerRule.ANY_FAILED)
    assert progress.may_start(2) is (runs and (survives or not stop or fates == (S, S)))


def test_any_success_starts_before_the_others_end() -> None:
    progress, _ = make({"x": [], "y": [], "node": ["x", "y"]}, rules={"node": TriggerRule.ANY_SUCCESS})
    progress.start()
    assert progress.finish(0, S).ready == [2]
    assert progress.finish(1, S).ready == []


def test_a_cleanup_node_runs_after_a_stop_once_what_it_waits_for_is_skipped() -> None:
    progress, plan = make(
        {"bad": [], "never": ["bad"], "cleanup": ["never"]}, rules={"cleanup": TriggerRule.ALL_DONE}
    )
    started, skipped = run(progress, plan, {"bad": F})
    assert started == ["bad", "cleanup"]
    assert skipped == {"never": "trigger_rule"}


def test_terminate_skips_all_that_has_not_started() -> None:
    progress, _ = make({"a": [], "b": [], "c": ["a"]})
    progress.start()
    progress.began(0)
    assert [node for node, _ in progress.abandon().skipped] == [1, 2]
    progress.finish(0, Status.TERMINATED)
    assert progress.finished


def test_a_cycle_is_named_node_by_node() -> None:
    with pytest.raises(
        GraphError, match=r"these nodes wait for each other: (a -> c -> b -> a|a -> b -> c -> a)"
    ):
        plan_nodes(["a", "b", "c"], {"a": ["b"], "b": ["c"], "c": ["a"]})


def test_an_unknown_dependency_names_the_near_one() -> None:
    with pytest.raises(GraphError, match=r"'load' waits for 'extrat', .* \(did you mean 'extract'\?\)"):
        plan_nodes(["extract", "load"], {"load": ["extrat"]})


def test_a_chain_of_a_hundred_thousand_skips_without_recursion() -> None:
    size = 100_000
    chain = {f"n{i}": [f"n{i - 1}"] if i else [] for i in range(size)}
    progress, _ = make(chain, stop=False)
    progress.start()
    progress.began(0)
    assert len(progress.finish(0, F).skipped) == size - 1
    assert progress.finished


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, Status], dict[str, TriggerRule]]:
    size = draw(st.integers(1, 9))
    nodes = [f"n{i}" for i in range(size)]
    edges = {
        name: draw(st.lists(st.sampled_from(nodes[:i]), unique=True, max_size=3)) if i else []
        for i, name in enumerate(nodes)
    }
    fates = {name: draw(st.sampled_from([S, S, F])) for name in nodes}
    rules = {name: draw(st.sampled_from(list(TriggerRule))) for name in nodes}
    return edges, fates, rules


def model(
    edges: dict[str, list[str]], fates: dict[str, Status], rules: dict[str, TriggerRule]
) -> dict[str, str]:
    """Under `continue`, where order does not matter: the final word for each node, computed from its dependencies."""
    final: dict[str, str] = {}
    for name, deps in edges.items():
        ends = [final[dep] for dep in deps]
        runs = (
            not deps
            or {
                TriggerRule.ALL_SUCCESS: all(end == "success" for end in ends),
                TriggerRule.ALL_DONE: True,
                TriggerRule.ANY_SUCCESS: "success" in ends,
                TriggerRule.ANY_FAILED: "failed" in ends,
                TriggerRule.NONE_FAILED: "failed" not in ends,
            }[rules[name]]
        )
        final[name] = fates[name].value if runs else "skipped"
    return final


@given(graphs(), st.booleans())
def test_random_graphs_end_as_the_model_says(
    graph: tuple[dict[str, list[str]], dict[str, Status], dict[str, TriggerRule]], serial: bool
) -> None:
    edges, fates, rules = graph
    progress, plan = make(edges, serial=serial, stop=False, rules=rules)
    started, skipped = run(progress, plan, fates)
    got = {name: fates[name].value for name in started} | dict.fromkeys(skipped, "skipped")
    assert got == model(edges, fates, rules)


@given(graphs(), st.booleans(), st.booleans(), st.data())
def test_a_run_rebuilt_from_its_rows_goes_on_as_if_nothing_had_happened(
    graph: tuple[dict[str, list[str]], dict[str, Status], dict[str, TriggerRule]],
    serial: bool,
    stop: bool,
    data: st.DataObject,
) -> None:
    edges, fates, rules = graph
    whole, plan = make(edges, serial=serial, stop=stop, rules=rules)
    started, skipped = run(whole, plan, fates)
    cut = data.draw(st.integers(0, len(started)))

    before, _ = make(edges, serial=serial, stop=stop, rules=rules)
    rows: list[tuple[int, Status]] = []
    waiting: list[int] = []
    step = before.start()
    for _ in range(cut):
        waiting = [n for n in waiting if before.may_start(n)] + step.ready
        rows += [(node, Status.SKIPPED) for node, _ in step.skipped]
        node = waiting.pop(0)
        before.began(node)
        rows.append((node, fates[plan.names[node]]))
        step = before.finish(node, fates[plan.names[node]])
    after, _ = make(edges, serial=serial, stop=stop, rules=rules)
    step = after.restore(rows, [])
    ended = {plan.names[node] for node, _ in rows}
    left = set()
    waiting = []
    while True:
        left |= {plan.names[node] for node, _ in step.skipped}
        waiting = [n for n in waiting if after.may_start(n)] + step.ready
        if not waiting:
            break
        node = waiting.pop(0)
        after.began(node)
        left.add(plan.names[node])
        step = after.finish(node, fates[plan.names[node]])
    assert after.finished
    assert after.outcome() is whole.outcome()
    assert left == (set(started) | set(skipped)) - ended


def test_what_ended_in_an_earlier_run_counts_and_stops_nothing() -> None:
    plan = plan_nodes(["x", "a", "b"], {"b": ["a"]})
    progress = Progress(
        plan, [TriggerRule.ALL_SUCCESS] * 3, workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.STOP
    )
    step = progress.restore((), (), past=[(0, Status.FAILED), (2, Status.SUCCESS)], free=1)
    assert (step.ready, step.skipped, progress.stopped) == ([1], [], False)
    progress.began(1)
    progress.finish(1, Status.SUCCESS)
    assert (progress.finished, progress.outcome()) == (True, Status.FAILED)


def test_a_free_node_starts_whatever_its_rule_says_and_those_after_it_by_theirs() -> None:
    plan = plan_nodes(["a", "b", "c"], {"b": ["a"], "c": ["b", "a"]})
    progress = Progress(
        plan, [TriggerRule.ALL_SUCCESS] * 3, workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.STOP
    )
    step = progress.restore((), (), past=[(0, Status.FAILED)], free=1)
    assert step.ready == [1]
    assert step.skipped == [(2, SkipReason.RULE)]
