"""Do the parts of the engine also hold together: items, questions, pauses, resumes and crashes at the same time?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import retrying
from tests.engine.test_for_each import ITEMS, child, fan, items, start
from zquant_flow.core.approval import Approval
from zquant_flow.core.fan import FanError
from zquant_flow.core.model import ForEach, Node, OnFailure, Overlap, TriggerRule, WorkflowType
from zquant_flow.core.status import Status
from zquant_flow.engine import workflows
from zquant_flow.engine.operations import Operations
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

ASKING = Node(name="ok", approval=Approval(message="take {{ item }}?"), for_each=ITEMS)


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def questions(h: Harness, root: int) -> list[Any]:
    return list(queries.children_of(h.database, child(h, root, "ok")))


def active(h: Harness) -> list[str]:
    return sorted(order["node"] for order in h.backend.active.values())


def test_a_node_with_items_that_is_marked_as_a_failure_runs_again(h: Harness) -> None:
    root = start(h, fan(), command_node("z"), on_failure=OnFailure.CONTINUE)
    for number in range(3):
        h.end(h.backend.node(f"load[{number}]"))
    h.end(h.backend.node("z"), "failed", code="x", error="x")
    h.operations.mark(child(h, root, "load").id, Status.FAILED, actor="u")
    h.operations.resume_execution(root, actor="u")
    assert active(h) == ["load[0]", "load[1]", "load[2]", "z"]


def test_a_resume_takes_over_answers_of_items(h: Harness) -> None:
    root = start(h, ASKING, on_failure=OnFailure.CONTINUE)
    first, second, third = questions(h, root)
    h.operations.approve(first.id, actor="u")
    h.operations.reject(second.id, actor="u")
    h.operations.approve(third.id, actor="u")
    again = h.operations.resume_execution(root, actor="u")
    assert items(h, again, "ok") == {"ok[0]": "success", "ok[1]": "pending", "ok[2]": "success"}


def test_items_that_succeeded_are_known_also_after_a_resume_that_did_not_get_to_them(h: Harness) -> None:
    root = start(h, command_node("a"), fan("load"), on_failure=OnFailure.CONTINUE)
    h.end(h.backend.node("load[0]"))
    h.end(h.backend.node("load[1]"))
    h.end(h.backend.node("load[2]"), "failed", code="x", error="x")
    h.end(h.backend.node("a"), "failed", code="x", error="x")
    h.define(
        workflow_task(
            "w",
            [command_node("a"), fan("load")],
            workflow_type=WorkflowType.PARALLEL,
            max_parallel=1,
            on_failure=OnFailure.CONTINUE,
        )
    )
    second = h.operations.resume_execution(root, actor="u")
    assert active(h) == ["a"]
    h.operations.terminate(second, actor="u")
    h.settle()
    h.operations.resume_execution(second, actor="u")
    h.end(h.backend.node("a"))
    assert active(h) == ["load[2]"]


def test_a_terminate_under_way_begins_no_items_after_a_crash(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = replace(ASKING, for_each=ForEach(range=(0, 2500, 1)))
    goes_on = {"workflow_type": WorkflowType.PARALLEL, "on_failure": OnFailure.CONTINUE}
    (task,) = h.define(workflow_task("w", [asking], **goes_on))
    monkeypatch.setattr(
        h.engine.lifecycle.workflows, "work_off", lambda: False
    )  # it does not get to the rest
    inside = Operations(h.engine, inside=True)

    def begin_and_end() -> int:
        root = inside.trigger(task, actor="u")
        inside.terminate(root, actor="u")
        return root

    root = h.engine.call(begin_and_end)
    begun = list(items(h, root, "ok").values()).count("terminated")
    assert 0 < begun < 2500
    h.restart()
    for _ in range(4):
        h.settle()
    assert h.status(root) == "terminated"
    assert list(items(h, root, "ok").values()).count("terminated") == begun
    assert len(items(h, root, "ok")) == 2500


def test_items_are_taken_over_although_a_crash_comes_before_and_after_they_begin(h: Harness) -> None:
    root = start(h, command_node("a"), fan("load", "a"), command_node("z"), on_failure=OnFailure.CONTINUE)
    h.end(h.backend.node("a"))
    h.end(h.backend.node("load[0]"), result="0")
    h.end(h.backend.node("load[1]"), "failed", code="x", error="x")
    h.end(h.backend.node("load[2]"), result="2")
    h.end(h.backend.node("z"), "failed", code="x", error="x")
    h.operations.mark(child(h, root, "a").id, Status.FAILED, actor="u")
    again = h.operations.resume_execution(root, actor="u")
    h.restart()
    h.end(h.backend.node("a"))
    assert active(h) == ["load[1]", "z"]
    h.restart()
    assert active(h) == ["load[1]", "z"]
    h.end(h.backend.node("load[1]"), result="1")
    h.restart()
    h.end(h.backend.node("z"))
    assert h.status(again) == "success"
    assert child(h, again, "load").result == "[0,1,2]"


def test_paused_items_stay_so_over_crashes_and_go_on(h: Harness) -> None:
    root = start(h, fan(max_parallel=1), command_node("after", "load"))
    h.operations.pause_execution(root, actor="u")
    h.settle()
    h.restart()
    assert child(h, root, "load").status == "paused"
    h.end(h.backend.node("load[0]"))
    assert active(h) == []
    h.restart()
    assert active(h) == []
    h.operations.resume_execution(root, actor="u")
    h.settle()
    assert active(h) == ["load[1]"]
    h.end(h.backend.node("load[1]"))
    h.end(h.backend.node("load[2]"))
    h.end(h.backend.node("after"))
    assert h.status(root) == "success"


def test_a_rerun_of_items_survives_crashes_and_is_resumed_item_by_item(h: Harness) -> None:
    root = start(
        h, fan(), command_node("after", "load", arguments={"all": {"$ref": ["nodes", "load", "result"]}})
    )
    for number in range(3):
        h.end(h.backend.node(f"load[{number}]"), result=str(number))
    h.end(h.backend.node("after"))
    again = h.operations.rerun(root, "load", actor="u", descendants=True)
    h.end(h.backend.node("load[1]"), result="11")
    h.restart()
    h.end(h.backend.node("load[0]"), result="10")
    h.end(h.backend.node("load[2]"), "failed", code="x", error="x")
    assert h.status(again) == "failed"
    third = h.operations.resume_execution(again, actor="u")
    assert active(h) == ["load[2]"]
    h.restart()
    h.end(h.backend.node("load[2]"), result="12")
    assert h.backend.active[h.backend.node("after")]["params"] == {"all": [10, 11, 12]}
    h.end(h.backend.node("after"))
    assert h.status(third) == "success"
    fourth = h.operations.rerun(third, "after", actor="u")
    h.restart()
    assert h.backend.active[h.backend.node("after")]["params"] == {"all": [10, 11, 12]}
    h.end(h.backend.node("after"))
    assert h.status(fourth) == "success"


def test_items_that_wait_for_each_other_survive_a_pause_and_crashes(h: Harness) -> None:
    h.define(command_task("t", overlap=Overlap.QUEUE, max_active_runs=1), path="t.yaml")
    root = start(h, command_node("load", task="t", for_each=ITEMS))
    assert len(h.backend.active) == 1
    h.operations.pause_execution(root, actor="u")
    h.settle()
    h.restart()
    h.end(next(iter(h.backend.active)))
    assert not h.backend.active
    h.restart()
    h.operations.resume_execution(root, actor="u")
    h.settle()
    for _ in range(2):
        assert len(h.backend.active) == 1
        h.end(next(iter(h.backend.active)))
    assert h.status(root) == "success"


def test_under_stop_no_item_begins_after_a_failure_whatever_the_rule_of_the_node(h: Harness) -> None:
    h.define(command_task("t", overlap=Overlap.QUEUE, max_active_runs=1), path="t.yaml")
    root = start(
        h,
        command_node("p"),
        command_node("load", "p", task="t", for_each=ITEMS, trigger_rule=TriggerRule.ALL_DONE),
        on_failure=OnFailure.STOP,
    )
    h.end(h.backend.node("p"))
    h.end(next(iter(h.backend.active)), "failed", code="x", error="x")
    assert items(h, root) == {"load[0]": "failed", "load[1]": "skipped", "load[2]": "skipped"}
    assert h.status(root) == "failed"


def test_a_terminate_ends_all_questions_of_a_node_alike(h: Harness) -> None:
    root = start(h, ASKING)
    h.operations.terminate(root, actor="u")
    h.settle()
    assert h.status(root) == "terminated"
    assert set(items(h, root, "ok").values()) == {"terminated"}


@pytest.fixture
def forgotten(h: Harness, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Crashes, and nobody can tell any more what the items were."""

    def crash() -> None:
        def unknown(*_: Any) -> None:
            raise FanError("for_each_not_a_list", "nobody knows")

        monkeypatch.setattr(workflows, "fan_of", unknown)
        h.restart()

    return crash


@pytest.mark.parametrize("ended", [0, 1, 3])
def test_items_that_nobody_knows_after_a_crash_end_with_those_that_ran(
    h: Harness, forgotten: Callable[[], None], ended: int
) -> None:
    root = start(h, fan(each=ForEach(range=(0, 4, 1))), command_node("after", "load"))
    for number in range(ended):
        h.end(h.backend.node(f"load[{number}]"))
    forgotten()
    for number in range(ended, 4):
        assert h.status(root) == "running"
        h.end(h.backend.node(f"load[{number}]"))
    assert h.nodes(root) == {"load": "failed", "after": "skipped"}
    assert h.status(root) == "failed"


def test_an_item_that_is_tried_again_after_such_a_crash_is_the_same(
    h: Harness, forgotten: Callable[[], None]
) -> None:
    trying = replace(retrying(1), config={"command": ["echo", "{{ item }}"]})
    root = start(h, fan(action=trying))
    h.end(h.backend.node("load[1]"), "failed", code="exit", error="once")
    forgotten()
    h.tick(1000)
    assert h.backend.active[h.backend.node("load[1]")]["config"] == {"command": ["echo", "b"]}
    for execution_id in list(h.backend.active):
        h.end(execution_id)
    assert h.status(root) == "failed"
