"""Every execution, and every node of one, can say why it runs, waits or ended so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from tests.engine.test_pools import make_pool, pooled
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import ForEach, OnFailure, Overlap, TriggerRule, WorkflowType
from zquant_flow.engine.explain import Reason
from zquant_flow.engine.explain_executions import explain_execution, explain_node
from zquant_flow.engine.explaining import Explained, Explaining
from zquant_flow.engine.situations import NodeSituation, Place, Situation
from zquant_flow.errors import NodeNotFound
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task
from zquant_flow.wording import translated

PARALLEL = WorkflowType.PARALLEL


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path, slots=2) as harness:
        yield harness


def explained(h: Harness, execution_id: int, node: str | None = None) -> Explained:
    row = queries.execution_row(h.database, execution_id)
    explaining = Explaining(h.database, h.operations, h.engine.resuming)
    return explaining.execution(row) if node is None else explaining.node(row, node)


def said(h: Harness, execution_id: int, node: str | None = None) -> dict[str, str]:
    """The reasons by code, in order."""
    reasons = explained(h, execution_id, node).reasons
    for reason in reasons:
        assert translated(reason.detail, "zh") != reason.detail, "not translated"
    return {reason.code: str(reason.detail) for reason in reasons}


def run(h: Harness, *tasks: Any) -> int:
    """An execution of the last one."""
    return h.operations.trigger(h.define(*tasks)[-1], actor="me")


def test_what_runs_says_since_when_and_which_attempt(h: Harness) -> None:
    one = run(h, command_task("a", action=retrying(2)))
    assert said(h, one) == {"running": "it runs since 2026-01-05 12:00:00 UTC: attempt 1 of 3"}


def test_what_succeeded_says_so(h: Harness) -> None:
    one = run(h, command_task("a"))
    h.end(one)
    assert said(h, one) == {"succeeded": "it succeeded at 2026-01-05 12:00:00 UTC, with attempt 1"}


def test_a_retry_says_when_and_what_had_gone_wrong(h: Harness) -> None:
    one = run(h, command_task("a", action=retrying(1)))
    h.end(one, "failed", code="exit", error="exit code 3")
    assert said(h, one) == {
        "waiting_for_retry": "its attempt failed, and it will be tried again, until 2026-01-05 12:01:00 UTC",
        "attempt_failed": "attempt 1 ended with: exit code 3",
    }
    assert explained(h, one).reasons[0].until == to_micros(h.clock.now()) + 60_000_000
    h.tick(60)
    h.end(one, "failed", code="exit", error="exit code 4")
    assert said(h, one) == {
        "failed": "it failed at 2026-01-05 12:01:00 UTC: exit code 4",
        "attempts_used_up": "all 2 attempts ended so",
    }


def test_what_waits_for_a_slot_says_how_many_come_before(h: Harness) -> None:
    runs = [run(h, command_task(name)) for name in "abcd"]
    assert said(h, runs[3]) == {
        "waiting_for_slot": "it waits for a slot: 2 of 2 are in use, 1 wait before it"
    }


def test_what_waits_for_a_pool_says_whose_executions_hold_it(h: Harness) -> None:
    make_pool(h, 1)
    first = run(h, command_task("a", action=pooled()))
    second = run(h, command_task("b", action=pooled()))
    assert said(h, second) == {
        "waiting_for_pool": f"it waits for the pool 'api': 1 of 1 places are in use (by: {first}), 0 wait before it"
    }


def test_what_waits_for_others_says_for_which(h: Harness) -> None:
    task = command_task("a", overlap=Overlap.QUEUE)
    first = run(h, task)
    second = h.operations.trigger(h.operations.registry.by_name["a"].id, actor="me")
    assert said(h, second) == {
        "waiting_for_overlap": f"it waits until the task's other executions have ended (now active: execution {first})"
    }


def test_what_waits_for_its_backfill_says_for_which(h: Harness) -> None:
    [id_] = h.define(command_task("a", schedule=EVERY_MINUTE))
    now = to_micros(h.clock.now())
    moments = [now - 120_000_000, now - 60_000_000]
    made = h.operations.backfill(id_, moments, span=(moments[0], moments[1]), parallel=1, actor="me")
    first, second = made["executions"].values()
    assert said(h, second) == {
        "waiting_for_backfill": f"it waits for its place in the backfill (now active: execution {first})"
    }


def test_jitter_says_until_when(h: Harness) -> None:
    schedule = replace(EVERY_MINUTE, jitter=timedelta(seconds=50))
    [id_] = h.define(command_task("a", schedule=schedule))
    h.tick(60)
    [row] = queries.active_of(h.database, [id_])[id_]
    (reason,) = explained(h, row.id).reasons
    assert reason.code == "waiting_for_jitter"
    assert reason.until == row.waiting_until


def test_what_a_paused_task_holds_back_says_so(h: Harness) -> None:
    one = run(h, command_task("a", action=retrying(1)))
    h.end(one, "failed")
    h.operations.pause(h.operations.registry.by_name["a"].id, actor="me")
    h.tick(60)
    assert list(said(h, one)) == ["task_paused", "waiting_for_retry", "attempt_failed"]


def test_what_is_paused_says_so_and_what_does_not_stand_yet_too(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(h, command_task("a"))
    h.operations.pause_execution(one, actor="me")
    h.settle()
    assert list(said(h, one)) == ["execution_paused"]
    monkeypatch.setattr(h.backend, "pause", lambda *_: None)
    other = run(h, command_task("b"))
    h.operations.pause_execution(other, actor="me")
    assert list(said(h, other)) == ["pause_requested", "running"]


def test_what_is_being_ended_says_so(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h.backend, "terminate", lambda *_: None)
    one = run(h, command_task("a"))
    h.operations.terminate(one, actor="me")
    assert list(said(h, one)) == ["terminate_requested", "running"]


def test_what_was_ended_says_why(h: Harness) -> None:
    one = run(h, command_task("a"))
    h.operations.terminate(one, actor="me")
    h.settle()
    assert said(h, one) == {"terminated": "it was ended at 2026-01-05 12:00:00 UTC: terminated by request"}


def test_what_is_late_says_so(h: Harness) -> None:
    one = run(h, command_task("a", expected_within=timedelta(seconds=30)))
    h.tick(31)
    assert said(h, one)["deadline_missed"] == "it should have ended by 2026-01-05 12:00:30 UTC"


def test_a_workflow_says_what_is_under_way_and_a_node_what_it_waits_for(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b"), command_node("c", "a", "b"), command_node("d", "c")]
    flow = run(h, workflow_task("w", nodes, workflow_type=PARALLEL))
    assert said(h, flow) == {"nodes_under_way": "under way: a (running), b (running); 2 nodes have not begun"}
    assert said(h, flow, "c") == {"waiting_for_nodes": "node 'c' waits for a (running), b (running)"}
    assert said(h, flow, "d") == {"waiting_for_nodes": "node 'd' waits for c (pending)"}
    assert list(said(h, flow, "a")) == ["running"]
    assert explained(h, flow, "a").execution_id == h.backend.node("a")
    h.end(h.backend.node("a"))
    assert said(h, flow, "c") == {"waiting_for_nodes": "node 'c' waits for b (running)"}


def test_a_node_that_is_not_there_is_said_not_to_be(h: Harness) -> None:
    flow = run(h, workflow_task("w", [command_node("extract")]))
    with pytest.raises(NodeNotFound, match=r"no node 'extrat' \(did you mean 'extract'\?\)"):
        explained(h, flow, "extrat")
    alone = run(h, command_task("a"))
    with pytest.raises(NodeNotFound):
        explained(h, alone, "extract")


def test_ready_nodes_say_what_holds_them_back(h: Harness) -> None:
    make_pool(h, 1)
    nodes = [command_node(name) for name in "abc"]
    parallel = run(h, workflow_task("w", nodes, workflow_type=PARALLEL, max_parallel=1))
    assert said(h, parallel, "b") == {
        "max_parallel": "node 'b' waits for a place: `max_parallel` is 1, and under way are a (running)"
    }
    serial = run(h, workflow_task("s", [command_node("x"), command_node("y")]))
    assert said(h, serial, "y") == {
        "waiting_for_turn": "node 'y' waits for its turn: its workflow runs one node at a time, now x (running)"
    }
    third = run(h, workflow_task("t", [command_node("z")]))
    assert said(h, third, "z") == {
        "waiting_for_slot": "node 'z' is ready: it waits for a slot: 2 of 2 are in use, 0 wait before it"
    }


def test_a_node_says_whose_executions_hold_its_pool(h: Harness) -> None:
    make_pool(h, 1)
    first = run(h, command_task("a", action=pooled()))
    flow = run(h, workflow_task("w", [command_node("x", action=pooled())]))
    assert said(h, flow, "x") == {
        "waiting_for_pool": "node 'x' is ready: it waits for the pool 'api': "
        f"1 of 1 places are in use (by: {first}), 0 wait before it"
    }


def test_a_paused_workflow_says_who_does_not_stand_still_and_its_nodes_that_it_is_paused(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h.backend, "pause", lambda *_: None)
    nodes = [command_node("a"), command_node("b"), command_node("c", "a")]
    flow = run(h, workflow_task("w", nodes, workflow_type=PARALLEL))
    h.operations.pause_execution(flow, actor="me")
    assert said(h, flow) == {
        "execution_paused": "it is paused; resume it",
        "pause_requested": "these have not come to stand still yet: a (running), b (running)",
    }
    h.end(h.backend.node("a"))
    assert said(h, flow, "c") == {"workflow_paused": "node 'c' begins when its workflow is resumed"}


def test_a_task_in_a_paused_workflow_names_that_one(h: Harness) -> None:
    task = command_task("t", action=retrying(1))
    flow = run(h, task, workflow_task("w", [command_node("a", task="t")]))
    [child] = h.backend.active
    h.end(child, "failed")
    h.operations.pause_execution(flow, actor="me")
    assert said(h, child)["workflow_paused"] == f"the workflow around it, execution {flow}, is paused"


def test_skipped_nodes_say_why(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a"),
        command_node("c", when="1 > 2"),
        command_node("d", "b", trigger_rule=TriggerRule.ANY_FAILED),
    ]
    flow = run(h, workflow_task("w", nodes, workflow_type=PARALLEL, on_failure=OnFailure.CONTINUE))
    h.end(h.backend.node("a"), "failed", error="oh")
    assert said(h, flow, "b") == {"rule_not_met": "its `trigger_rule` all_success is not met: a (failed)"}
    assert said(h, flow, "c") == {"when_false": "its `when` is not true: 1 > 2"}
    assert said(h, flow, "d") == {"rule_not_met": "its `trigger_rule` any_failed is not met: b (skipped)"}
    found = said(h, flow)
    assert list(found) == ["completed", "nodes_failed"]
    assert found["nodes_failed"] == "did not succeed: a (failed)"


def test_a_failure_stops_the_others_and_they_say_so(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b"), command_node("c", "b")]
    flow = run(h, workflow_task("w", nodes, workflow_type=PARALLEL))
    h.end(h.backend.node("a"), "failed", error="oh")
    h.end(h.backend.node("b"))
    assert list(said(h, flow, "c")) == ["workflow_stopped"]
    assert said(h, flow)["failed"] == "it failed at 2026-01-05 12:00:00 UTC: 1 of 3 nodes did not succeed"


def test_nodes_of_an_ended_workflow_say_so(h: Harness) -> None:
    flow = run(h, workflow_task("w", [command_node("a"), command_node("b", "a")]))
    h.operations.terminate(flow, actor="me")
    h.settle()
    assert list(said(h, flow, "b")) == ["workflow_terminated"]


def test_what_was_taken_over_says_from_where(h: Harness) -> None:
    flow = run(h, workflow_task("w", [command_node("a"), command_node("b", "a")]))
    before = h.backend.node("a")
    h.end(before)
    h.end(h.backend.node("b"), "failed")
    resumed = h.operations.resume_execution(flow, actor="me")
    assert said(h, resumed, "a") == {
        "reused": f"it was taken over from execution {before}, where it succeeded"
    }


def test_a_workflow_that_has_not_begun_answers_for_its_nodes(h: Harness) -> None:
    flow = workflow_task("w", [command_node("a")], overlap=Overlap.QUEUE)
    first = run(h, flow)
    second = h.operations.trigger(h.operations.registry.by_name["w"].id, actor="me")
    assert said(h, second, "a") == {
        "waiting_for_overlap": f"it waits until the task's other executions have ended (now active: execution {first})"
    }


def row(status: str, **facts: Any) -> SimpleNamespace:
    usual = {
        "id": 7,
        "status": status,
        "deadline_missed": False,
        "pause_requested": False,
        "terminate_requested": False,
        "waiting_for": "slot",
        "waiting_until": None,
    }
    return SimpleNamespace(**usual | facts)


def of(a_row: SimpleNamespace, situation: Situation | None) -> list[Reason]:
    return explain_execution(a_row, command_task("a"), situation=situation, attempts=(), nodes=())


@pytest.mark.parametrize("status", ["pending", "running", "paused"])
def test_what_nobody_drives_waits_for_a_server(status: str) -> None:
    assert [reason.code for reason in of(row(status), None)] == ["not_served"]


@pytest.mark.parametrize("status", ["pending", "running"])
def test_what_another_scheduler_drives_names_it(status: str) -> None:
    (reason,) = of(row(status), Situation(slots=(0, 1), engine=3))
    assert (reason.code, str(reason.detail)) == ("elsewhere", "another scheduler, engine 3, drives it")


def test_what_was_paused_before_it_began_says_so() -> None:
    found = of(row("pending", pause_requested=True), Situation(slots=(0, 1)))
    assert [reason.code for reason in found] == ["execution_paused", "waiting_for_slot"]


def test_a_word_that_is_new_is_said_as_it_is() -> None:
    found = of(row("pending", waiting_for="moon"), Situation(slots=(0, 1)))
    assert [(reason.code, str(reason.detail)) for reason in found] == [
        ("waiting_for_moon", "it waits for moon")
    ]


@pytest.mark.parametrize("place", [Place.DECIDED, Place.OVER])
def test_a_node_between_two_turns_is_about_to_begin(place: Place) -> None:
    (reason,) = explain_node(command_node("a"), NodeSituation(place=place, slots=(0, 1)))
    assert (reason.code, str(reason.detail)) == ("starting", "node 'a' is about to begin")


def test_items_say_what_holds_them_back(h: Harness) -> None:
    node = command_node("load", for_each=ForEach(items=(1, 2)), max_parallel=1)
    root = run(h, workflow_task("w", [node]))
    [fan] = queries.children_of(h.database, queries.execution_row(h.database, root))
    assert said(h, fan.id) == {"nodes_under_way": "under way: load[0] (running); 1 nodes have not begun"}
    assert said(h, fan.id, "load[1]") == {
        "max_parallel": "node 'load[1]' waits for a place: `max_parallel` is 1, and under way are load[0] (running)"
    }


def test_a_look_that_comes_later_says_when(h: Harness) -> None:
    one = run(h, command_task("sensor"))
    h.end(one, "deferred", after=30)
    assert said(h, one) == {
        "waiting_for_check": "it waits for something elsewhere, and looks again, until 2026-01-05 12:00:30 UTC"
    }
    h.tick(31)
    h.end(one, "deferred", after=30, progress={"message": "waits for the file a.csv"})
    assert said(h, one) == {
        "waiting_for_check": "it looks again at 2026-01-05 12:01:01 UTC: waits for the file a.csv"
    }
