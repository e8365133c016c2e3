"""The engine over a real SQLite file, with the clock and the attempts in the test's hands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.model import (
    Catchup,
    OnFailure,
    Overlap,
    Rule,
    Schedule,
    TriggerRule,
    WorkflowType,
)
from zquant_flow.errors import AlreadyFired, AlreadyRunning, TaskNotFound, WrongState
from zquant_flow.store import history, queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


def ledger(h: Harness, task_id: int) -> list[tuple[str, str]]:
    rows = queries.ledger(h.database, task_id, 0, 1 << 60)
    return [(row.outcome, str(row.execution_id)) for row in rows]


def test_a_due_instant_becomes_one_execution_with_its_logical_time(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.tick(59)
    assert h.backend.orders == []
    h.tick(1)
    [order] = h.backend.orders
    assert order["logical_time"] == "2026-01-05T12:01:00+00:00"
    h.tick(0)
    assert len(h.backend.orders) == 1
    assert ledger(h, task_id) == [("fired", str(order["id"]))]


def test_a_triggered_task_runs_and_succeeds(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    execution = h.operations.trigger(task_id, actor="me", params={"x": 1})
    assert h.status(execution) == "running"
    assert h.backend.active[execution]["params"] == {"x": 1}
    h.end(execution, result='{"rows": 3}')
    row = queries.execution_row(h.database, execution)
    assert (row.status, row.result, row.progress_percent) == ("success", '{"rows": 3}', 100.0)
    [attempt] = queries.attempts_of(h.database, execution)
    assert attempt.outcome == "success"


def test_a_failed_attempt_is_tried_again_after_its_interval_and_as_often_as_allowed(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(3)))
    execution = h.operations.trigger(task_id, actor="me")
    for number in (1, 2, 3):
        h.end(execution, "failed", code="exit_code", error="exit code 1")
        assert h.status(execution) == "pending"
        h.tick(59)
        assert execution not in h.backend.active
        h.tick(1)
        assert h.backend.active[execution]["attempt"] == number + 1
    h.end(execution, "failed", code="exit_code", error="exit code 1")
    assert h.status(execution) == "failed"
    assert len(queries.attempts_of(h.database, execution)) == 4


def test_the_final_attempts_timeout_terminates(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "timeout", code="timeout", error="ran longer than 1 s")
    assert h.status(execution) == "terminated"


def test_terminate_ends_a_running_attempt_without_a_retry(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(3)))
    execution = h.operations.trigger(task_id, actor="me")
    h.operations.terminate(execution, actor="me")
    h.settle()
    assert h.status(execution) == "terminated"
    with pytest.raises(WrongState, match="has ended"):
        h.operations.terminate(execution, actor="me")


def test_terminate_ends_an_execution_that_waits_for_its_retry(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(3)))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    h.operations.terminate(execution, actor="me")
    assert h.status(execution) == "terminated"
    h.tick(3600)
    assert len(h.backend.orders) == 1


def test_slots_limit_what_runs_at_once(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=2) as h:
        ids = [h.operations.trigger(h.define(command_task(f"t{i}"))[0], actor="me") for i in range(3)]
        assert [h.status(id_) for id_ in ids] == ["running", "running", "pending"]
        h.end(ids[0])
        assert h.status(ids[2]) == "running"


def test_overlap_skip_refuses_a_trigger_and_records_a_fire(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    execution = h.operations.trigger(task_id, actor="me")
    with pytest.raises(AlreadyRunning, match=f"execution {execution}"):
        h.operations.trigger(task_id, actor="me")
    h.tick(60)
    assert len(h.backend.orders) == 1
    assert ledger(h, task_id) == [("overlap", "None")]


def test_an_execution_between_retries_is_active(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(1)))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    with pytest.raises(AlreadyRunning):
        h.operations.trigger(task_id, actor="me")


def test_overlap_queue_runs_one_after_the_other(h: Harness) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.QUEUE))
    first, second, third = (h.operations.trigger(task_id, actor="me") for _ in range(3))
    assert [h.status(id_) for id_ in (first, second, third)] == ["running", "pending", "pending"]
    h.end(first)
    assert [h.status(id_) for id_ in (second, third)] == ["running", "pending"]
    h.end(second)
    assert h.status(third) == "running"


def test_overlap_replace_ends_the_old_and_then_starts_the_new(h: Harness) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.REPLACE))
    old = h.operations.trigger(task_id, actor="me")
    new = h.operations.trigger(task_id, actor="me")
    h.settle()
    assert h.status(old) == "terminated"
    assert h.status(new) == "running"


def test_overlap_allow_runs_both(h: Harness) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.ALLOW))
    ids = [h.operations.trigger(task_id, actor="me") for _ in range(2)]
    assert [h.status(id_) for id_ in ids] == ["running", "running"]


def test_a_disabled_task_records_one_span_and_catches_nothing_up(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.operations.disable(task_id, actor="me")
    h.tick(3600)
    assert h.backend.orders == []
    h.operations.enable(task_id, actor="me")
    h.tick(0)
    assert h.backend.orders == []
    assert ledger(h, task_id) == [("disabled", "None")]
    h.tick(60)
    assert len(h.backend.orders) == 1


def test_a_paused_task_can_be_triggered_and_stays_paused(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.operations.pause(task_id, actor="me")
    execution = h.operations.trigger(task_id, actor="me")
    assert h.status(execution) == "running"
    assert queries.task_row(h.database, task_id).paused
    h.end(execution)
    h.tick(60)
    assert len(h.backend.orders) == 1


def test_a_pause_holds_a_retry_until_resume(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(1)))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    h.operations.pause(task_id, actor="me")
    h.tick(60)
    assert execution not in h.backend.active
    h.operations.resume(task_id, actor="me")
    assert execution in h.backend.active


def test_a_named_logical_time_fires_once_unless_a_rerun_is_asked_for(h: Harness) -> None:
    [task_id] = h.define(command_task("t", overlap=Overlap.ALLOW))
    moment = h.clock.now()
    first = h.operations.trigger(task_id, actor="me", logical_time=moment)
    with pytest.raises(AlreadyFired, match=f"execution {first}"):
        h.operations.trigger(task_id, actor="me", logical_time=moment)
    h.operations.trigger(task_id, actor="me", logical_time=moment, rerun=True)
    assert ledger(h, task_id) == [("fired", str(first))]


def test_fires_missed_while_down_become_one_run_and_a_span(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    h.engine.stop(keep_attempts=True)
    h.clock.advance(3 * 3600)
    h.restart()
    h.settle()
    # 175 are older than the grace of 300 s and join the newest; 14:55 to 15:00 are on time, and one runs at a time.
    outcomes = [outcome for outcome, _ in ledger(h, task_id)]
    assert outcomes[0] == "coalesced"
    assert outcomes.count("fired") == 1
    assert len(h.backend.orders) == 1


def test_catchup_all_runs_the_oldest_first(tmp_path: Path) -> None:
    schedule = Schedule(rules=(Rule(cron="0 * * * *"),), catchup=Catchup.ALL)
    with Harness(tmp_path) as h:
        h.define(command_task("t", schedule=schedule, overlap=Overlap.ALLOW))
        h.clock.advance(3 * 3600 + 600)
        h.restart()
        h.settle()
        assert [order["logical_time"][11:16] for order in h.backend.orders] == ["13:00", "14:00", "15:00"]


def test_a_clock_set_back_fires_nothing_twice_and_what_is_due_when_it_comes(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    h.tick(60)
    h.tick(60)
    h.clock.step(-90)
    h.tick(0)
    assert len(h.backend.orders) == 2
    for _ in range(3):
        h.tick(60)
    times = [order["logical_time"][11:16] for order in h.backend.orders]
    assert times == ["12:01", "12:02", "12:03"]
    assert [outcome for outcome, _ in ledger(h, task_id)] == ["fired"] * 3


def test_an_unknown_task_is_said_so(h: Harness) -> None:
    with pytest.raises(TaskNotFound, match="no task has the id 99"):
        h.operations.trigger(99, actor="me")


# ── workflows ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_parallel_workflow_starts_each_node_when_its_own_dependencies_allow(h: Harness) -> None:
    nodes = [command_node("slow"), command_node("quick"), command_node("next", "quick")]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    assert h.nodes(root) == {"slow": "running", "quick": "running"}
    h.end(h.backend.node("quick"))
    assert h.nodes(root) == {"slow": "running", "quick": "success", "next": "running"}
    h.end(h.backend.node("slow"))
    h.end(h.backend.node("next"))
    assert h.status(root) == "success"


def test_a_serial_workflow_runs_one_node_at_a_time(h: Harness) -> None:
    [task_id] = h.define(workflow_task("w", [command_node("a"), command_node("b")]))
    root = h.operations.trigger(task_id, actor="me")
    assert h.nodes(root) == {"a": "running"}
    h.end(h.backend.node("a"))
    assert h.nodes(root) == {"a": "success", "b": "running"}


def test_stop_lets_running_nodes_finish_and_writes_the_others_as_skipped(h: Harness) -> None:
    nodes = [
        command_node("bad"),
        command_node("other"),
        command_node("child", "bad"),
        command_node("late", "other"),
    ]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("bad"), "failed")
    assert h.status(root) == "running"
    h.end(h.backend.node("other"))
    assert h.nodes(root) == {"bad": "failed", "other": "success", "child": "skipped", "late": "skipped"}
    row = queries.execution_row(h.database, root)
    assert (row.status, row.progress_percent) == ("failed", 25.0)


def test_continue_ends_completed_and_never_at_a_hundred_percent(h: Harness) -> None:
    nodes = [command_node("bad"), command_node("other")]
    [task_id] = h.define(workflow_task("w", nodes, on_failure=OnFailure.CONTINUE))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("bad"), "failed")
    h.end(h.backend.node("other"))
    row = queries.execution_row(h.database, root)
    assert (row.status, row.progress_percent, row.error_message) == (
        "completed",
        50.0,
        "1 of 2 nodes did not succeed",
    )


def test_max_parallel_bounds_a_workflow(h: Harness) -> None:
    nodes = [command_node(f"n{i}") for i in range(4)]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, max_parallel=2))
    root = h.operations.trigger(task_id, actor="me")
    assert sorted(h.nodes(root)) == ["n0", "n1"]
    h.end(h.backend.node("n0"))
    assert sorted(h.nodes(root)) == ["n0", "n1", "n2"]


def test_a_node_retries_by_itself_while_others_go_on(h: Harness) -> None:
    nodes = [command_node("flaky", action=retrying(1)), command_node("after", "flaky"), command_node("other")]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("flaky"), "failed")
    h.end(h.backend.node("other"))
    assert h.nodes(root) == {"flaky": "pending", "other": "success"}
    h.tick(60)
    h.end(h.backend.node("flaky"))
    h.end(h.backend.node("after"))
    assert h.status(root) == "success"


def test_a_cleanup_node_runs_after_a_failure(h: Harness) -> None:
    nodes = [command_node("bad"), command_node("cleanup", "bad", trigger_rule=TriggerRule.ALL_DONE)]
    [task_id] = h.define(workflow_task("w", nodes))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("bad"), "failed")
    h.end(h.backend.node("cleanup"))
    assert h.status(root) == "failed"


def test_terminating_a_workflow_ends_its_whole_tree(h: Harness) -> None:
    inner = workflow_task("inner", [command_node("leaf"), command_node("never", "leaf")])
    outer = workflow_task(
        "outer",
        [command_node("sub", task="inner"), command_node("side"), command_node("last", "sub")],
        workflow_type=WorkflowType.PARALLEL,
    )
    _, outer_id = h.define(inner, outer)
    root = h.operations.trigger(outer_id, actor="me")
    h.operations.terminate(root, actor="me")
    h.settle()
    assert h.nodes(root) == {"sub": "terminated", "side": "terminated", "last": "skipped"}
    assert h.status(root) == "terminated"
    assert h.backend.active == {}


def test_a_referenced_task_stands_in_its_own_history_and_runs_though_disabled(h: Harness) -> None:
    shared = command_task("shared")
    outer = workflow_task("outer", [command_node("step", task="shared")])
    shared_id, outer_id = h.define(shared, outer)
    h.operations.disable(shared_id, actor="me")
    root = h.operations.trigger(outer_id, actor="me")
    [child] = h.backend.active
    h.end(child)
    assert h.status(root) == "success"
    page = history.page(h.database, history.Wanted(task_id=shared_id), limit=10)
    assert (page.total, page.rows[0].node, page.rows[0].parent_execution_id) == (1, "step", root)


def test_a_node_waits_for_the_referenced_tasks_own_execution(h: Harness) -> None:
    shared_id, outer_id = h.define(
        command_task("shared"), workflow_task("outer", [command_node("step", task="shared")])
    )
    first = h.operations.trigger(shared_id, actor="me")
    root = h.operations.trigger(outer_id, actor="me")
    assert list(h.nodes(root).values()) == ["pending"]
    h.end(first)
    assert list(h.nodes(root).values()) == ["running"]


def test_a_workflow_of_missing_tasks_fails_node_by_node_without_recursion(h: Harness) -> None:
    nodes = [command_node(f"n{i}", task=f"t{i}") for i in range(2000)]
    tasks = [command_task(f"t{i}") for i in range(2000)]
    h.define(*tasks, path="tasks.yaml")
    [task_id] = h.define(workflow_task("w", nodes, on_failure=OnFailure.CONTINUE))
    h.operations.register([], ["tasks.yaml"])
    root = h.operations.trigger(task_id, actor="me")
    assert h.status(root) == "completed"
    assert set(h.nodes(root).values()) == {"failed"}


def test_results_are_given_to_the_nodes_that_ask_for_them(h: Harness) -> None:
    nodes = [
        command_node("extract"),
        command_node("load", "extract", arguments={"rows": {"$ref": ["nodes", "extract", "result", "rows"]}}),
    ]
    [task_id] = h.define(workflow_task("w", nodes))
    h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("extract"), result='{"rows": 7}')
    assert h.backend.active[h.backend.node("load")]["params"] == {"rows": 7}


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_that_ran_on_without_its_engine_is_attached_again(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    execution = h.operations.trigger(task_id, actor="me")
    h.restart()
    assert h.status(execution) == "running"
    h.end(execution)
    assert h.status(execution) == "success"


def test_an_outcome_that_came_while_nobody_listened_is_taken_at_the_start(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    execution = h.operations.trigger(task_id, actor="me")
    h.engine.stop(keep_attempts=True)
    h.backend.end(execution)
    h.restart()
    assert h.status(execution) == "success"
    assert h.backend.kept == []


def test_a_lost_attempt_is_tried_again_only_if_retries_are_left(h: Harness) -> None:
    none_left, one_left = (
        h.operations.trigger(h.define(task)[0], actor="me")
        for task in (command_task("a"), command_task("b", action=retrying(1)))
    )
    h.backend.active.clear()
    h.restart()
    assert h.status(none_left) == "terminated"
    assert h.status(one_left) == "pending"
    h.tick(60)
    assert h.backend.active[one_left]["attempt"] == 2


def test_a_workflow_goes_on_from_where_it_was_with_its_results(h: Harness) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a", arguments={"x": {"$ref": ["nodes", "a", "result"]}}),
        command_node("c"),
    ]
    [task_id] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("a"), result="5")
    h.restart()
    assert h.nodes(root) == {"a": "success", "c": "running", "b": "running"}
    h.end(h.backend.node("c"))
    h.end(h.backend.node("b"))
    assert h.status(root) == "success"


def test_a_retry_keeps_its_time_over_a_restart(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=retrying(1)))
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, "failed")
    h.clock.advance(30)
    h.restart()
    h.tick(29)
    assert execution not in h.backend.active
    h.tick(1)
    assert execution in h.backend.active


def test_a_graceful_stop_gives_a_retry_or_ends_with_that_reason(h: Harness) -> None:
    none_left, one_left = (
        h.operations.trigger(h.define(task)[0], actor="me")
        for task in (command_task("a"), command_task("b", action=retrying(1)))
    )
    h.restart(kill=False)
    row = queries.execution_row(h.database, none_left)
    assert (row.status, row.error_code) == ("terminated", "shutdown")
    assert h.status(one_left) in ("pending", "running")


def test_a_running_execution_keeps_the_definition_it_started_with(h: Harness) -> None:
    [task_id] = h.define(workflow_task("w", [command_node("a"), command_node("old", "a")]))
    root = h.operations.trigger(task_id, actor="me")
    h.define(workflow_task("w", [command_node("a"), command_node("new", "a")]))
    h.restart()
    h.end(h.backend.node("a"))
    assert h.nodes(root) == {"a": "success", "old": "running"}


# ── the database away ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_locked_database_delays_a_fire_and_loses_nothing(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from zquant_flow.store import batch as store_batch

    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    real, failures = store_batch.apply, iter(range(2))

    def flaky(*args: object, **options: object) -> None:
        if next(failures, None) is not None:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("zquant_flow.engine.service.STORE_PAUSE", 0.001)
    monkeypatch.setattr(store_batch, "apply", flaky)
    h.tick(60)
    assert len(h.backend.orders) == 1
    assert [outcome for outcome, _ in ledger(h, task_id)] == ["fired"]
