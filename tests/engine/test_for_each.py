"""What does a node with `for_each` run for, and what comes of it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import retrying
from zquant_flow.core.approval import Approval
from zquant_flow.core.model import Action, ForEach, Node, OnFailure, WorkflowType
from zquant_flow.engine import fans
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

ITEMS = ForEach(items=("a", "b", "c"))


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


@pytest.fixture
def both(tmp_path: Path, url: str) -> Iterator[Harness]:
    """On every database: where rows are read that are written nowhere else."""
    with Harness(tmp_path, url=url) as harness:
        yield harness


def running(*words: str) -> Action:
    return Action(executor="command", config={"command": list(words)})


def fan(name: str = "load", *dependencies: str, each: ForEach = ITEMS, **keys: Any) -> Node:
    return command_node(name, *dependencies, for_each=each, **keys)


def start(h: Harness, *nodes: Node, **keys: Any) -> int:
    keys = {"workflow_type": WorkflowType.PARALLEL, **keys}
    (task,) = h.define(workflow_task("w", nodes, **keys))
    return h.operations.trigger(task, actor="u")


def row(h: Harness, execution_id: int) -> Any:
    return queries.execution_row(h.database, execution_id)


def child(h: Harness, above: int, name: str) -> Any:
    return next(found for found in queries.children_of(h.database, row(h, above)) if found.node == name)


def items(h: Harness, root: int, name: str = "load") -> dict[str, str]:
    return h.nodes(child(h, root, name).id)


def test_each_item_is_an_execution_and_the_results_are_one_list_in_order(h: Harness) -> None:
    take = fan(
        "load", action=running("echo", "{{ item }}", "{{ index }}"), arguments={"code": {"$ref": ["item"]}}
    )
    after = command_node("sum", "load", arguments={"all": {"$ref": ["nodes", "load", "result"]}})
    root = start(h, take, after)
    assert items(h, root) == {"load[0]": "running", "load[1]": "running", "load[2]": "running"}
    order = h.backend.active[h.backend.node("load[1]")]
    assert order["config"] == {"command": ["echo", "b", "1"]}
    assert order["params"] == {"item": "b", "code": "b"}
    for number in (2, 0, 1):
        h.end(h.backend.node(f"load[{number}]"), result=json.dumps({"n": number}))
    assert child(h, root, "load").status == "success"
    assert json.loads(child(h, root, "load").result) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert h.backend.active[h.backend.node("sum")]["params"] == {"all": [{"n": 0}, {"n": 1}, {"n": 2}]}
    h.end(h.backend.node("sum"))
    assert h.status(root) == "success"


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (ForEach(range=(0, 3, 1)), [0, 1, 2]),
        (ForEach(range=(10, 0, -5)), [10, 5]),
        (ForEach(expression="params.codes"), ["600000", "000001"]),
        (
            ForEach(items=({"$ref": ["params", "codes", 1]}, {"$template": "x{{ params.codes[0] }}"})),
            ["000001", "x600000"],
        ),
    ],
)
def test_items_are_a_list_a_range_or_what_an_expression_gives(
    tmp_path: Path, each: ForEach, expected: list[Any]
) -> None:
    with Harness(tmp_path) as h:
        start(h, fan(each=each), params={"codes": ["600000", "000001"]})
        assert [order["params"]["item"] for order in h.backend.active.values()] == expected


def test_items_are_an_earlier_result_and_survive_a_crash(both: Harness) -> None:
    h = both
    root = start(
        h, command_node("list"), fan("load", "list", each=ForEach(expression="nodes.list.result.codes"))
    )
    h.end(h.backend.node("list"), result='{"codes": [5, 6, 7]}')
    h.end(h.backend.node("load[0]"), result="50")
    h.restart()
    assert items(h, root) == {"load[0]": "success", "load[1]": "running", "load[2]": "running"}
    h.end(h.backend.node("load[2]"), result="70")
    h.restart()
    h.end(h.backend.node("load[1]"), result="60")
    assert child(h, root, "load").result == "[50,60,70]"
    assert h.status(root) == "success"


def test_no_items_are_a_success_with_an_empty_list(h: Harness) -> None:
    nothing = ForEach(items=())
    root = start(h, fan("a", each=nothing), fan("b", "a", each=nothing), command_node("c", "b"))
    h.settle()
    h.settle()
    assert h.nodes(root) == {"a": "success", "b": "success", "c": "running"}
    assert child(h, root, "a").result == "[]"


def test_a_long_chain_without_items_ends(tmp_path: Path) -> None:
    nothing = ForEach(items=())
    chain = [fan("n0", each=nothing), *(fan(f"n{i}", f"n{i - 1}", each=nothing) for i in range(1, 300))]
    with Harness(tmp_path) as h:
        root = start(h, *chain)
        for _ in range(301):
            h.settle()
        assert h.status(root) == "success"


def test_max_parallel_is_the_nodes_own(h: Harness) -> None:
    root = start(h, fan(max_parallel=2), max_parallel=1)
    assert items(h, root) == {"load[0]": "running", "load[1]": "running"}
    h.end(h.backend.node("load[0]"))
    assert items(h, root) == {"load[0]": "success", "load[1]": "running", "load[2]": "running"}


def test_a_serial_workflow_has_one_item_at_a_time_and_a_container_takes_one_place(h: Harness) -> None:
    root = start(h, fan("a"), command_node("b"), workflow_type=WorkflowType.SERIAL)
    for number in range(3):
        assert [order["node"] for order in h.backend.active.values()] == [f"a[{number}]"]
        h.end(h.backend.node(f"a[{number}]"))
    h.end(h.backend.node("b"))
    assert h.status(root) == "success"


def test_a_failed_item_fails_the_node_and_the_others_go_on_under_continue(h: Harness) -> None:
    root = start(h, fan(), command_node("after", "load"), on_failure=OnFailure.CONTINUE)
    h.end(h.backend.node("load[1]"), "failed", code="exit", error="exit code 1")
    assert h.status(root) == "running"
    h.end(h.backend.node("load[0]"), result="1")
    h.end(h.backend.node("load[2]"), result="3")
    done = child(h, root, "load")
    assert (done.status, done.error_code, done.error_message) == (
        "failed",
        "items_failed",
        "1 of 3 items did not succeed",
    )
    assert done.result == "[1,null,3]"
    assert h.nodes(root)["after"] == "skipped"
    assert h.status(root) == "completed"


def test_under_stop_what_has_not_begun_is_skipped(h: Harness) -> None:
    root = start(h, fan(max_parallel=1))
    h.end(h.backend.node("load[0]"), "failed", code="exit", error="exit code 1")
    assert items(h, root) == {"load[0]": "failed", "load[1]": "skipped", "load[2]": "skipped"}
    assert child(h, root, "load").status == "failed"
    assert h.status(root) == "failed"


def test_each_item_has_the_retries_of_the_node(h: Harness) -> None:
    root = start(h, fan(action=retrying(1)))
    h.end(h.backend.node("load[1]"), "failed", code="exit", error="exit code 1")
    assert items(h, root)["load[1]"] == "pending"
    h.tick(60)
    for number in range(3):
        h.end(h.backend.node(f"load[{number}]"))
    assert h.status(root) == "success"


def test_a_condition_is_told_once_before_the_items(h: Harness) -> None:
    root = start(h, fan(when="false", each=ForEach(expression="params.missing|default(5)")))
    assert (h.nodes(root), h.status(root)) == ({"load": "skipped"}, "success")


@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("params.number", "for_each_not_a_list", "for_each: params.number is a number, not a list"),
        ("params.text", "for_each_not_a_list", "for_each: params.text is text, not a list"),
        ("params.map", "for_each_not_a_list", "for_each: params.map is a mapping, not a list"),
        ("params.none", "for_each_not_a_list", "for_each: params.none is null, not a list"),
        ("params.many", "for_each_too_large", "for_each: 6 items are more than for_each_limit, which is 5"),
        ("params.map.x", "for_each_failed", "params.map.x: there is no 'x'"),
    ],
)
def test_what_is_no_list_or_too_long_fails_the_node_and_says_why(
    tmp_path: Path, expression: str, code: str, said: str
) -> None:
    params = {"number": 5, "text": "ab", "map": {"a": 1}, "none": None, "many": [1] * 6}
    with Harness(tmp_path, item_limit=5) as h:
        root = start(
            h,
            fan(each=ForEach(expression=expression)),
            command_node("b"),
            params=params,
            on_failure=OnFailure.CONTINUE,
        )
        failed = child(h, root, "load")
        assert (failed.status, failed.error_code) == ("failed", code)
        assert said in failed.error_message
        h.end(h.backend.node("b"))
        assert h.status(root) == "completed"


def test_a_huge_range_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        root = start(h, fan(each=ForEach(range=(0, 2**53, 1))))
        assert child(h, root, "load").error_code == "for_each_too_large"
        assert h.status(root) == "failed"


def test_terminate_ends_the_items_and_skips_those_to_come(h: Harness) -> None:
    root = start(h, fan(max_parallel=1))
    h.operations.terminate(root, actor="u")
    h.settle()
    assert items(h, root) == {"load[0]": "terminated", "load[1]": "skipped", "load[2]": "skipped"}
    assert (child(h, root, "load").status, h.status(root)) == ("terminated", "terminated")


def test_a_node_with_items_is_terminated_by_its_own_id(h: Harness) -> None:
    root = start(h, fan(), command_node("b"), on_failure=OnFailure.CONTINUE)
    h.operations.terminate(child(h, root, "load").id, actor="u")
    h.settle()
    assert h.nodes(root) == {"load": "terminated", "b": "running"}


def test_pause_holds_items_back_and_stills_those_that_run(h: Harness) -> None:
    root = start(h, fan(max_parallel=2))
    h.operations.pause_execution(root, actor="u")
    assert (child(h, root, "load").status, h.status(root)) == ("paused", "paused")
    h.backend.pause(h.backend.node("load[0]"), 1)
    h.end(h.backend.node("load[1]"))
    assert items(h, root) == {"load[0]": "paused", "load[1]": "success"}
    h.restart()
    h.operations.resume_execution(root, actor="u")
    h.backend.resume(h.backend.node("load[0]"), 1)
    h.settle()
    assert items(h, root) == {"load[0]": "running", "load[1]": "success", "load[2]": "running"}


def test_items_of_a_task_do_not_wait_for_each_other_unless_it_says_so(h: Harness) -> None:
    h.define(command_task("free"), command_task("bound", max_active_runs=1), path="others.yaml")
    root = start(h, fan("a", task="free"), fan("b", task="bound"))
    assert set(items(h, root, "a").values()) == {"running"}
    assert items(h, root, "b") == {"b[0]": "running", "b[1]": "pending", "b[2]": "pending"}
    for number in range(3):
        h.end(h.backend.node(f"b[{number}]"))
        h.end(h.backend.node(f"a[{number}]"))
    assert h.status(root) == "success"


def test_items_of_a_task_get_its_params_and_the_item(h: Harness) -> None:
    h.define(command_task("sync", params={"code": "none", "level": 1}), path="others.yaml")
    start(h, fan("a", task="sync", arguments={"code": {"$expr": "item ~ '.SH'"}}))
    assert h.backend.active[h.backend.node("a[1]")]["params"] == {"code": "b.SH", "level": 1, "item": "b"}


def test_a_resume_repeats_only_the_items_that_did_not_succeed_by_their_values(both: Harness) -> None:
    h = both
    each = ForEach(expression="nodes.list.result")
    root = start(h, command_node("list"), fan("load", "list", each=each), on_failure=OnFailure.CONTINUE)
    h.end(h.backend.node("list"), result='["a", "b", "c"]')
    for number, kind in enumerate(("success", "failed", "success")):
        h.end(h.backend.node(f"load[{number}]"), kind, result=f'"{number}"')
    again = h.operations.resume_execution(root, actor="u")
    assert items(h, again) == {"load[0]": "success", "load[1]": "running", "load[2]": "success"}
    h.end(h.backend.node("load[1]"), "failed", code="exit", error="again")
    third = h.operations.resume_execution(again, actor="u")
    assert [order["node"] for order in h.backend.active.values()] == ["load[1]"]
    h.end(h.backend.node("load[1]"), result='"one"')
    assert child(h, third, "load").result == '["0","one","2"]'
    assert h.status(third) == "success"


def test_ten_thousand_items_leave_other_work_its_turns(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=50) as h:
        root = start(h, fan(each=ForEach(range=(0, 10_000, 1))))
        (other,) = h.define(command_task("other"), path="other.yaml")
        h.operations.trigger(other, actor="u")
        while h.backend.active:
            for execution_id in list(h.backend.active):
                h.backend.end(execution_id, result="1")
            h.settle()
        assert h.status(root) == "success"
        assert len(json.loads(child(h, root, "load").result)) == 10_000
        assert {"total_items": child(h, root, "load").total_items} == {"total_items": 10_000}


def test_each_item_can_ask_for_an_answer(h: Harness) -> None:
    asking = Node(name="ok", approval=Approval(message="take {{ item }}?"), for_each=ITEMS, max_parallel=1)
    root = start(h, asking, on_failure=OnFailure.CONTINUE)
    questions = queries.children_of(h.database, child(h, root, "ok"))
    assert [question.message for question in questions] == ["take a?", "take b?", "take c?"]
    h.operations.approve(questions[0].id, actor="u")
    h.restart()
    h.operations.reject(questions[2].id, actor="u")
    h.operations.approve(questions[1].id, actor="u")
    assert items(h, root, "ok") == {"ok[0]": "success", "ok[1]": "success", "ok[2]": "failed"}
    assert h.status(root) == "completed"


def test_a_rerun_of_the_node_does_all_items_again(h: Harness) -> None:
    root = start(
        h, fan(), command_node("after", "load", arguments={"all": {"$ref": ["nodes", "load", "result"]}})
    )
    for number in range(3):
        h.end(h.backend.node(f"load[{number}]"), result=str(number))
    h.end(h.backend.node("after"))
    again = h.operations.rerun(root, "after", actor="u")
    assert h.backend.active[h.backend.node("after")]["params"] == {"all": [0, 1, 2]}
    h.end(h.backend.node("after"))
    h.operations.rerun(again, "load", actor="u")
    assert sorted(order["node"] for order in h.backend.active.values()) == ["load[0]", "load[1]", "load[2]"]


def test_results_that_are_too_large_together_fail_the_node_and_are_not_kept(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fans, "LARGEST", 8)
    root = start(h, fan())
    for item in ("load[0]", "load[1]", "load[2]"):
        h.end(h.backend.node(item), result='"1234"')
    found = child(h, root, "load")
    assert (found.status, found.error_code, found.result) == ("failed", "result_too_large", None)
    assert set(items(h, root).values()) == {"success"}
    assert h.status(root) == "failed"


def test_results_of_the_largest_size_together_are_a_list(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fans, "LARGEST", 18)
    root = start(h, fan())
    for item in ("load[0]", "load[1]", "load[2]"):
        h.end(h.backend.node(item), result='"1234"')
    assert json.loads(child(h, root, "load").result) == ["1234"] * 3
