"""Who lets a workflow go on that waits for an answer, and what becomes of the answer?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from zquant_flow.core.approval import Approval, OnTimeout
from zquant_flow.core.model import Node, OnFailure, TriggerRule, WorkflowType
from zquant_flow.errors import ExecutionNotFound, NotApprover, WrongState
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, workflow_task

DAY = 86_400


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def asking(*dependencies: str, name: str = "ask", **keys) -> Node:
    return Node(name=name, dependencies=dependencies, approval=Approval(**keys))


def begun(h: Harness, *nodes: Node, **keys) -> int:
    [task] = h.define(workflow_task("flow", nodes, **keys))
    return h.operations.trigger(task, actor="me")


def node(h: Harness, root: int, name: str = "ask"):
    row = queries.execution_row(h.database, root)
    return next(child for child in queries.children_of(h.database, row) if child.node == name)


def test_what_comes_after_a_question_waits_for_its_answer(h: Harness) -> None:
    root = begun(h, command_node("load"), asking("load", message="go on?"), command_node("publish", "ask"))
    h.end(h.backend.node("load"))
    asked = node(h, root)
    assert (asked.status, asked.waiting_for, asked.message) == ("pending", "approval", "go on?")
    assert not h.backend.active
    h.operations.approve(asked.id, actor="alice", comment="looks right")
    answered = node(h, root)
    assert answered.status == "success"
    result = json.loads(answered.result)
    assert (result["approved"], result["by"], result["comment"]) == (True, "alice", "looks right")
    h.end(h.backend.node("publish"))
    assert h.status(root) == "success"


def test_a_rejected_question_has_failed_and_stops_what_comes_after(h: Harness) -> None:
    root = begun(
        h,
        asking(),
        command_node("publish", "ask"),
        command_node("tell", "ask", trigger_rule=TriggerRule.ANY_FAILED),
    )
    h.operations.reject(node(h, root).id, actor="alice", comment="rows are missing")
    row = node(h, root)
    assert (row.status, row.error_code) == ("failed", "rejected")
    assert row.error_message == "rejected by alice: rows are missing"
    h.end(h.backend.node("tell"))
    assert (h.status(root), h.nodes(root)["publish"]) == ("failed", "skipped")


def test_only_those_who_are_named_may_answer(h: Harness) -> None:
    root = begun(h, asking(who=("alice", "carol")))
    asked = node(h, root).id
    with pytest.raises(NotApprover, match="alice, carol may answer this, not bob"):
        h.operations.approve(asked, actor="bob")
    with pytest.raises(NotApprover):
        h.operations.reject(asked, actor="bob")
    h.operations.approve(asked, actor="carol")
    assert h.status(root) == "success"


def test_there_is_one_answer(h: Harness) -> None:
    root = begun(h, asking())
    asked = node(h, root).id
    h.operations.approve(asked, actor="alice")
    with pytest.raises(WrongState, match=f"execution {asked} was approved by alice at 2026-01-05T12:00:00"):
        h.operations.reject(asked, actor="bob")
    with pytest.raises(WrongState, match="waits for no answer"):
        h.operations.approve(root, actor="bob")
    with pytest.raises(ExecutionNotFound):
        h.operations.approve(root + 1000, actor="bob")


def test_a_second_rejection_is_told_who_was_first(h: Harness) -> None:
    root = begun(h, asking())
    h.operations.reject(node(h, root).id, actor="alice")
    with pytest.raises(WrongState, match="rejected by alice"):
        h.operations.approve(node(h, root).id, actor="bob")


@pytest.mark.parametrize(
    ("on_timeout", "status", "code"),
    [(OnTimeout.REJECT, "failed", "approval_timeout"), (OnTimeout.APPROVE, "success", None)],
)
def test_silence_is_an_answer_once_its_time_is_over(
    h: Harness, on_timeout: OnTimeout, status: str, code: str | None
) -> None:
    root = begun(h, asking(timeout=timedelta(days=2), on_timeout=on_timeout))
    h.tick(2 * DAY - 1)
    assert node(h, root).status == "pending"
    h.tick(1)
    assert (node(h, root).status, node(h, root).error_code) == (status, code)
    assert h.status(root) == status


def test_an_answer_in_time_is_not_taken_back_by_the_end_of_the_time(h: Harness) -> None:
    root = begun(h, asking(timeout=timedelta(hours=1)), command_node("after", "ask"))
    h.operations.approve(node(h, root).id, actor="alice")
    h.tick(7200)
    assert node(h, root).status == "success"


def test_a_question_outlives_a_crash_and_its_time_goes_on(h: Harness) -> None:
    root = begun(
        h, asking(timeout=timedelta(hours=1)), asking(name="other"), workflow_type=WorkflowType.PARALLEL
    )
    h.clock.advance(1800)
    h.restart()
    assert node(h, root).status == "pending"
    h.operations.approve(node(h, root, "other").id, actor="alice")
    h.tick(1800)
    assert h.nodes(root) == {"ask": "failed", "other": "success"}


def test_time_that_was_over_while_nobody_served_is_over(h: Harness) -> None:
    root = begun(h, asking(timeout=timedelta(hours=1)))
    h.engine.stop(keep_attempts=True)
    h.clock.advance(7200)
    h.restart()
    h.tick()
    assert h.status(root) == "failed"


def test_a_question_takes_no_place_of_max_parallel(h: Harness) -> None:
    root = begun(
        h, asking(), command_node("a"), command_node("b"), workflow_type=WorkflowType.PARALLEL, max_parallel=1
    )
    assert [order["node"] for order in h.backend.active.values()] == ["a"]
    h.operations.approve(node(h, root).id, actor="me")
    assert [order["node"] for order in h.backend.active.values()] == ["a"]
    h.restart()
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    assert h.status(root) == "success"


def test_an_answer_to_a_paused_workflow_counts_and_what_it_frees_waits(h: Harness) -> None:
    root = begun(h, asking(), command_node("after", "ask"))
    h.operations.pause_execution(root, actor="me")
    h.operations.approve(node(h, root).id, actor="me")
    assert not h.backend.active
    h.operations.resume_execution(root, actor="me")
    h.end(h.backend.node("after"))
    assert h.status(root) == "success"


def test_a_terminated_workflow_asks_no_more(h: Harness) -> None:
    root = begun(h, asking(timeout=timedelta(hours=1)))
    h.operations.terminate(root, actor="me")
    assert h.nodes(root) == {"ask": "terminated"}
    with pytest.raises(WrongState, match="is terminated, and waits for no answer"):
        h.operations.approve(node(h, root).id, actor="me")
    h.tick(7200)
    assert h.status(root) == "terminated"


def test_a_failure_beside_it_takes_the_question_back(h: Harness) -> None:
    root = begun(h, asking(), command_node("a"), workflow_type=WorkflowType.PARALLEL)
    h.end(h.backend.node("a"), "failed")
    assert (h.status(root), h.nodes(root)["ask"]) == ("failed", "skipped")


def test_under_continue_it_is_asked_all_the_same(h: Harness) -> None:
    root = begun(
        h, asking(), command_node("a"), workflow_type=WorkflowType.PARALLEL, on_failure=OnFailure.CONTINUE
    )
    h.end(h.backend.node("a"), "failed")
    h.operations.approve(node(h, root).id, actor="me")
    assert h.status(root) == "completed"


def test_the_question_shows_what_went_before(h: Harness) -> None:
    root = begun(h, command_node("load"), asking("load", message="{{ nodes.load.result.rows }} rows: go on?"))
    h.end(h.backend.node("load"), result='{"rows": 7}')
    assert node(h, root).message == "7 rows: go on?"


def test_a_question_that_can_not_be_put_has_failed(h: Harness) -> None:
    root = begun(h, command_node("load"), asking("load", message="{{ nodes.load.result.rows }} rows"))
    h.end(h.backend.node("load"), result="{}")
    assert (node(h, root).error_code, h.status(root)) == ("invalid_template", "failed")


def test_a_resume_takes_an_approval_over(h: Harness) -> None:
    root = begun(h, asking(), command_node("after", "ask"))
    asked = node(h, root).id
    h.operations.approve(asked, actor="alice")
    h.end(h.backend.node("after"), "failed")
    again = h.operations.resume_execution(root, actor="me")
    assert (node(h, again).status, node(h, again).reused_from) == ("success", asked)


def test_answers_are_in_the_audit(h: Harness) -> None:
    root = begun(h, asking())
    h.operations.reject(node(h, root).id, actor="alice", comment="no")
    with h.database.read() as connection:
        found = connection.exec_driver_sql("SELECT actor, detail FROM audit WHERE action = 'reject'").all()
    assert found == [("alice", "no")]
