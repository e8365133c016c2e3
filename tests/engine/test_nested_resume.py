"""Where does a workflow within a resumed workflow begin?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_earlier import AT_ONCE, fail, order_of, python
from tests.engine.test_resume_and_backfill import row_of, rows_of
from zquant_flow.core.model import ForEach, Node, WorkflowType
from zquant_flow.core.status import Status
from zquant_flow.testing import Harness, command_node, workflow_task

PARALLEL = WorkflowType.PARALLEL


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def inner(*more: Node, name: str = "inner") -> Any:
    return workflow_task(name, [command_node("x"), command_node("y", "x"), *more], params={"day": 1})


def nested(name: str = "n", *after: str, task: str = "inner", **keys: Any) -> Node:
    return command_node(name, *after, task=task, **keys)


def started(h: Harness, *nodes: Node, **keys: Any) -> int:
    h.define(inner())
    [task] = h.define(workflow_task("outer", nodes, **{"workflow_type": PARALLEL, **keys}))
    return h.operations.trigger(task, actor="me", params={"day": 1})


def run(h: Harness, *names: str, failing: str = "") -> None:
    """End these nodes in this order."""
    for name in names:
        h.end(h.backend.node(name), "failed" if name == failing else "success", result=f'"{name}"')


def running(h: Harness) -> list[str]:
    return sorted(order["node"] for order in h.backend.active.values())


def resumed(h: Harness, root: int) -> int:
    return h.operations.resume_execution(root, actor="me")


def test_it_goes_on_where_it_failed(h: Harness) -> None:
    root = started(h, command_node("a"), nested("n", "a"), command_node("b", "n"))
    run(h, "a", "x", "y", failing="y")
    before = rows_of(h, root)["n"]
    again = resumed(h, root)
    now = rows_of(h, again)["n"]
    assert (now.resume_from_execution_id, now.trigger_type, now.inline) == (before.id, "workflow", False)
    assert rows_of(h, now.id)["x"].reused_from == rows_of(h, before.id)["x"].id
    assert running(h) == ["y"]
    run(h, "y", "b")
    assert (h.status(now.id), h.status(again)) == ("success", "success")


def test_it_does_so_through_any_number_of_them_and_after_crashes(h: Harness) -> None:
    h.define(inner())
    h.define(workflow_task("middle", [command_node("m"), nested("deep", "m")]))
    [task] = h.define(workflow_task("outer", [nested("top", task="middle")]))
    root = h.operations.trigger(task, actor="me")
    run(h, "m", "x", "y", failing="y")
    for _ in range(2):
        root = resumed(h, root)
        h.restart()
        assert running(h) == ["y"]
        run(h, "y", failing="y")
        assert h.status(root) == "failed"
    root = resumed(h, root)
    run(h, "y")
    deep = rows_of(h, rows_of(h, root)["top"].id)["deep"]
    assert (h.status(root), len(rows_of(h, deep.id))) == ("success", 2)
    first = rows_of(h, deep.id)["x"].reused_from
    assert row_of(h, first).reused_from is None


def test_a_crash_before_it_has_begun_loses_nothing(h: Harness) -> None:
    root = started(h, command_node("a"), nested("n", "a"))
    run(h, "a", "x", "y", failing="y")
    row = rows_of(h, root)["n"]
    h.operations.mark(rows_of(h, root)["a"].id, Status.FAILED, actor="me")
    again = resumed(h, root)
    h.restart()
    run(h, "a")
    assert (running(h), rows_of(h, again)["n"].resume_from_execution_id) == (["y"], row.id)


def test_one_that_waits_for_another_execution_of_its_task_still_knows_where_to_go_on(h: Harness) -> None:
    root = started(h, nested())
    run(h, "x", "y", failing="y")
    other = h.operations.trigger(row_of(h, rows_of(h, root)["n"].id).task_id, actor="me")
    again = resumed(h, root)
    assert (running(h), h.status(rows_of(h, again)["n"].id)) == (["x"], "pending")
    h.restart()
    run(h, "x", "y")
    assert (h.status(other), running(h)) == ("success", ["y"])
    run(h, "y")
    assert h.status(again) == "success"


def test_with_other_params_it_begins_anew(h: Harness) -> None:
    taken = {"day": {"$ref": ["nodes", "a", "result"]}}
    root = started(h, command_node("a"), nested("n", "a", arguments=taken))
    run(h, "a", "x", "y", failing="y")
    h.operations.mark(rows_of(h, root)["a"].id, Status.FAILED, actor="me")
    again = resumed(h, root)
    h.end(h.backend.node("a"), result='"another day"')
    assert (running(h), rows_of(h, again)["n"].resume_from_execution_id) == (["x"], None)


def test_nodes_that_have_changed_run_again(h: Harness) -> None:
    root = started(h, nested())
    run(h, "x", "y", failing="y")
    h.define(
        workflow_task(
            "inner", [command_node("x", action=python()), command_node("y", "x")], params={"day": 1}
        )
    )
    resumed(h, root)
    assert running(h) == ["x"]


def test_another_task_in_its_place_begins_anew(h: Harness) -> None:
    root = started(h, nested())
    run(h, "x", "y", failing="y")
    h.define(inner(name="other"))
    h.define(workflow_task("outer", [nested(task="other")], workflow_type=PARALLEL))
    again = resumed(h, root)
    assert (running(h), rows_of(h, again)["n"].resume_from_execution_id) == (["x"], None)


def test_an_execution_in_between_that_did_not_get_there_is_passed_over(h: Harness) -> None:
    root = started(h, command_node("a"), nested("n", "a"))
    run(h, "a", "x", "y", failing="y")
    h.operations.mark(rows_of(h, root)["a"].id, Status.FAILED, actor="me")
    between = resumed(h, root)
    run(h, "a", failing="a")
    assert h.nodes(between) == {"a": "failed", "n": "skipped"}
    again = resumed(h, between)
    run(h, "a")
    assert rows_of(h, again)["n"].resume_from_execution_id == rows_of(h, root)["n"].id
    assert running(h) == ["y"]


def test_each_item_goes_on_where_it_failed_and_items_within_it_too(h: Harness) -> None:
    each = command_node("e", "y", for_each=ForEach(items=(1, 2)))
    h.define(inner(each))
    fan = nested(for_each=ForEach(items=("p", "q")), max_parallel=1)
    [task] = h.define(workflow_task("outer", [fan], **AT_ONCE))
    root = h.operations.trigger(task, actor="me")
    run(h, "x", "y", "e[0]", failing="e[0]")
    if "e[1]" in running(h):
        run(h, "e[1]")
    run(h, "x", failing="x")
    again = resumed(h, root)
    h.restart()
    assert running(h) == ["e[0]"]
    run(h, "e[0]")
    if "e[1]" in running(h):
        run(h, "e[1]")
    assert running(h) == ["x"]
    run(h, "x", "y")
    for node in ("e[0]", "e[1]"):
        if node in running(h):
            run(h, node)
    assert h.status(again) == "success"
    items, was = (rows_of(h, rows_of(h, one)["n"].id) for one in (again, root))
    assert [items[name].resume_from_execution_id for name in ("n[0]", "n[1]")] == [
        was["n[0]"].id,
        was["n[1]"].id,
    ]
    assert json.loads(items["n[0]"].params) == {"day": 1, "item": "p"}


def test_a_rerun_goes_into_one_that_failed_and_does_all_of_one_that_succeeded_again(h: Harness) -> None:
    root = started(h, nested(), command_node("b", "n"))
    run(h, "x", "y", failing="y")
    again = h.operations.rerun(root, "n", actor="me")
    assert running(h) == ["y"]
    run(h, "y")
    last = h.operations.rerun(again, "n", actor="me")
    assert (running(h), rows_of(h, last)["n"].resume_from_execution_id) == (["x"], None)


def test_a_failure_that_a_rerun_took_over_is_gone_on_with_later(h: Harness) -> None:
    root = started(h, command_node("a"), nested(), on_failure=AT_ONCE["on_failure"])
    run(h, "a", "x", "y", failing="y")
    between = h.operations.rerun(root, "a", actor="me")
    run(h, "a")
    again = resumed(h, between)
    assert running(h) == ["y"]
    assert rows_of(h, again)["n"].resume_from_execution_id == rows_of(h, root)["n"].id


def test_a_success_that_was_marked_as_a_failure_is_done_again_as_a_whole(h: Harness) -> None:
    root = started(h, nested(), command_node("b"))
    run(h, "x", "y", "b", failing="b")
    h.operations.mark(rows_of(h, root)["n"].id, Status.FAILED, actor="me")
    resumed(h, root)
    assert running(h) == ["b", "x"]


def test_its_nodes_go_on_from_the_state_that_they_have_kept(h: Harness) -> None:
    h.define(workflow_task("inner", [command_node("x", action=python())]))
    [task] = h.define(workflow_task("outer", [nested()]))
    root = h.operations.trigger(task, actor="me")
    kept = fail(h, h.backend.node("x"))
    root = resumed(h, root)
    assert order_of(h, h.backend.node("x"))["state_from"] == [kept]
    later = fail(h, h.backend.node("x"))
    resumed(h, root)
    assert order_of(h, h.backend.node("x"))["state_from"] == [later, kept]
