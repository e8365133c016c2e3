"""What runs when one node of an ended workflow is to run again, and what stays as it was?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_resume_and_backfill import row_of, rows_of
from zquant_flow.core.model import Action, OnFailure, TriggerRule, WorkflowType
from zquant_flow.errors import AlreadyRunning, ExecutionNotFound, NodeNotFound, WrongState
from zquant_flow.store import history
from zquant_flow.store.history import Wanted
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

CONTINUE, PARALLEL = OnFailure.CONTINUE, WorkflowType.PARALLEL
CHAIN = (command_node("a"), command_node("b", "a"), command_node("c", "b"))


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def ran(h: Harness, *nodes, failing: str = "", **keys) -> int:
    """A workflow whose nodes have ended: all well but those that are failing."""
    [task] = h.define(workflow_task("flow", nodes, **keys))
    root = h.operations.trigger(task, actor="me", params={"day": 3})
    finish(h, failing=failing)
    return root


def finish(h: Harness, *, failing: str = "") -> list[str]:
    """End what runs, and what runs then; which nodes they were."""
    found = []
    while h.backend.active:
        id_, order = next(iter(h.backend.active.items()))
        found.append(order["node"])
        h.end(id_, "failed" if order["node"] in failing else "success", result=f'"{order["node"]} of {id_}"')
    return found


def test_one_node_runs_again_and_all_others_stay_as_they_were(h: Harness) -> None:
    root = ran(h, *CHAIN)
    before = rows_of(h, root)
    again = h.operations.rerun(root, "b", actor="alice")
    assert finish(h) == ["b"]
    row = row_of(h, again)
    assert (row.status, row.trigger_type, row.resume_from_execution_id) == ("success", "resume", root)
    assert (row.params, row.created_by) == ('{"day":3}', "alice")
    after = rows_of(h, again)
    assert {name: one.reused_from for name, one in after.items()} == {
        "a": before["a"].id,
        "b": None,
        "c": before["c"].id,
    }
    assert after["c"].result == before["c"].result
    assert history.page(h.database, Wanted(), limit=9).total == 2


def test_with_descendants_all_that_waits_for_it_runs_too(h: Harness) -> None:
    root = ran(h, *CHAIN, command_node("beside", "a"))
    h.operations.rerun(root, "b", actor="me", descendants=True)
    assert finish(h) == ["b", "c"]


def test_a_node_runs_again_although_what_it_waits_for_has_failed(h: Harness) -> None:
    root = ran(h, *CHAIN, failing="a")
    assert h.nodes(root) == {"a": "failed", "b": "skipped", "c": "skipped"}
    again = h.operations.rerun(root, "b", actor="me", descendants=True)
    assert finish(h) == ["b", "c"]
    assert (h.status(again), h.nodes(again)) == ("failed", {"a": "failed", "b": "success", "c": "success"})
    taken = rows_of(h, again)["a"]
    assert (taken.error_code, taken.reused_from) == ("failed", rows_of(h, root)["a"].id)


def test_what_was_skipped_stays_skipped_with_its_reason(h: Harness) -> None:
    root = ran(h, *CHAIN, failing="b")
    again = h.operations.rerun(root, "b", actor="me")
    assert finish(h) == ["b"]
    assert (h.status(again), h.nodes(again)["c"]) == ("success", "skipped")
    assert rows_of(h, again)["c"].skip_reason == rows_of(h, root)["c"].skip_reason


def test_a_failure_of_before_stops_nothing_and_a_new_one_does(h: Harness) -> None:
    nodes = (command_node("x"), command_node("a"), command_node("b", "a"), command_node("c", "b"))
    root = ran(h, *nodes, failing="x", workflow_type=PARALLEL, on_failure=CONTINUE)
    assert h.status(root) == "completed"
    [task] = h.define(workflow_task("flow", nodes, workflow_type=PARALLEL), path="flow.yaml")
    again = h.operations.rerun(root, "a", actor="me", descendants=True)
    assert finish(h, failing="b") == ["a", "b"]
    assert h.nodes(again) == {"x": "failed", "a": "success", "b": "failed", "c": "skipped"}
    assert (h.status(again), task) == ("failed", row_of(h, again).task_id)


def test_a_descendant_whose_rule_is_not_met_is_skipped(h: Harness) -> None:
    nodes = (command_node("x"), command_node("a"), command_node("both", "x", "a"))
    root = ran(h, *nodes, failing="x", workflow_type=PARALLEL, on_failure=CONTINUE)
    again = h.operations.rerun(root, "a", actor="me", descendants=True)
    assert finish(h) == ["a"]
    assert (h.status(again), h.nodes(again)["both"]) == ("completed", "skipped")


@pytest.mark.parametrize("descendants", [False, True])
def test_a_crash_in_between_changes_nothing(h: Harness, descendants: bool) -> None:
    root = ran(h, *CHAIN, command_node("end", "c", trigger_rule=TriggerRule.ALL_DONE), failing="a")
    again = h.operations.rerun(root, "b", actor="me", descendants=descendants)
    h.restart()
    h.end(h.backend.node("b"))
    h.restart()
    assert finish(h) == (["c", "end"] if descendants else [])
    assert h.status(again) == "failed"
    assert {name for name, row in rows_of(h, again).items() if row.reused_from} == (
        {"a"} if descendants else {"a", "c", "end"}
    )


def test_a_crash_before_the_node_has_begun_forgets_nothing(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=1) as h:
        [busy] = h.define(command_task("busy"))
        root = ran(h, *CHAIN, failing="a")
        holder = h.operations.trigger(busy, actor="me")
        again = h.operations.rerun(root, "b", actor="me")
        assert h.nodes(again) == {"a": "failed", "c": "skipped"}
        h.restart()
        h.end(holder)
        assert finish(h) == ["b"]
        assert h.nodes(again) == {"a": "failed", "b": "success", "c": "skipped"}


def test_a_rerun_of_a_rerun_names_what_really_ran(h: Harness) -> None:
    root = ran(h, *CHAIN, failing="a")
    second = h.operations.rerun(root, "b", actor="me")
    finish(h)
    third = h.operations.rerun(second, "c", actor="me")
    assert finish(h) == ["c"]
    assert h.nodes(third) == {"a": "failed", "b": "success", "c": "success"}
    assert rows_of(h, third)["b"].reused_from == rows_of(h, second)["b"].id
    assert rows_of(h, third)["a"].reused_from == rows_of(h, root)["a"].id


def test_a_resume_of_a_rerun_is_a_resume(h: Harness) -> None:
    root = ran(h, *CHAIN, failing="a")
    second = h.operations.rerun(root, "b", actor="me")
    finish(h)
    h.operations.resume_execution(second, actor="me")
    assert finish(h) == ["a", "c"]


def test_a_node_gets_the_results_of_those_that_stay(h: Harness) -> None:
    shown = Action(executor="command", config={"command": ["echo", "{{ nodes.a.result }}"]})
    root = ran(h, command_node("a"), command_node("b", "a", action=shown))
    h.operations.rerun(root, "b", actor="me")
    [order] = h.backend.active.values()
    assert order["config"]["command"][1] == f"a of {rows_of(h, root)['a'].id}"


def test_it_is_of_the_current_version_or_of_the_original_one(h: Harness) -> None:
    root = ran(h, *CHAIN)
    other = Action(executor="command", config={"command": "date"})
    changed = [command_node("a"), command_node("bee", "a"), command_node("c", "bee", action=other)]
    h.define(workflow_task("flow", changed), path="flow.yaml")
    with pytest.raises(WrongState, match="node 'b' is not in the current version"):
        h.operations.rerun(root, "b", actor="me")
    h.operations.rerun(root, "c", actor="me")
    assert sorted(finish(h)) == ["bee", "c"]  # 'bee' has never run, and is due
    old = h.operations.rerun(root, "b", actor="me", original=True)
    assert finish(h) == ["b"]
    assert row_of(h, old).version == 1


def test_what_can_not_run_again_is_refused(h: Harness) -> None:
    root = ran(h, *CHAIN)
    node = rows_of(h, root)["a"].id
    with pytest.raises(NodeNotFound, match=f"execution {root} has no node 'B'"):
        h.operations.rerun(root, "B", actor="me")
    with pytest.raises(WrongState, match=f"rerun of the workflow's execution {root}"):
        h.operations.rerun(node, "a", actor="me")
    with pytest.raises(ExecutionNotFound):
        h.operations.rerun(99_999, "a", actor="me")
    again = h.operations.rerun(root, "a", actor="me")
    with pytest.raises(WrongState, match="its nodes can run again when it has ended"):
        h.operations.rerun(again, "a", actor="me")
    with pytest.raises(AlreadyRunning):
        h.operations.rerun(root, "b", actor="me")
    [task] = h.define(command_task("plain"))
    single = h.operations.trigger(task, actor="me")
    h.end(single)
    with pytest.raises(WrongState, match="is no workflow"):
        h.operations.rerun(single, "a", actor="me")
