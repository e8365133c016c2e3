"""What failed is taken up where it failed; what is past is run by request, a few at a time; a repetition causes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.model import Action, Node, Overlap
from zquant_flow.core.status import TriggerType
from zquant_flow.engine.keys import Key
from zquant_flow.errors import (
    AlreadyRunning,
    BackfillNotFound,
    ExecutionNotFound,
    KeyReused,
    ServerNeeded,
    WrongState,
)
from zquant_flow.store import backfills, history, queries
from zquant_flow.store.history import Wanted
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

SECOND = 1_000_000
MINUTE = 60 * SECOND


def row_of(h: Harness, execution_id: int):
    row = queries.execution_row(h.database, execution_id)
    assert row is not None
    return row


def rows_of(h: Harness, execution_id: int):
    return {child.node: child for child in queries.children_of(h.database, row_of(h, execution_id))}


def failed_in_the_middle(h: Harness, *, name: str = "flow") -> tuple[int, int]:
    """A workflow a -> b -> c whose b has failed; the task's and the execution's id."""
    flow = workflow_task(name, [command_node("a"), command_node("b", "a"), command_node("c", "b")])
    [task_id] = h.define(flow)
    root = h.operations.trigger(task_id, actor="me", params={"day": 3})
    h.end(h.backend.node("a"), result='{"rows": 7}')
    h.end(h.backend.node("b"), "failed")
    assert h.status(root) == "failed"
    return task_id, root


# ── resume ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_resume_runs_what_had_not_succeeded_and_takes_over_the_rest(h: Harness) -> None:
    _task_id, root = failed_in_the_middle(h)
    ran_before = rows_of(h, root)["a"].id
    again = h.operations.resume_execution(root, actor="me")
    assert again != root
    row = row_of(h, again)
    assert (row.trigger_type, row.resume_from_execution_id, row.status) == ("resume", root, "running")
    assert row.params == '{"day":3}'
    assert [order["node"] for order in h.backend.active.values()] == ["b"]
    reused = rows_of(h, again)["a"]
    assert (reused.status, reused.reused_from, reused.result) == ("success", ran_before, '{"rows": 7}')
    h.end(h.backend.node("b"))
    h.end(h.backend.node("c"))
    assert h.status(again) == "success"
    assert h.nodes(again) == {"a": "success", "b": "success", "c": "success"}


def test_a_resume_of_a_resume_names_the_execution_that_really_ran(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    ran = rows_of(h, root)["a"].id
    second = h.operations.resume_execution(root, actor="me")
    h.end(h.backend.node("b"), "failed")
    third = h.operations.resume_execution(second, actor="me")
    assert rows_of(h, third)["a"].reused_from == ran


def test_a_node_whose_definition_changed_runs_again(h: Harness) -> None:
    _task_id, root = failed_in_the_middle(h)
    other = Action(executor="command", config={"command": "date"})
    h.define(
        workflow_task(
            "flow", [command_node("a", action=other), command_node("b", "a"), command_node("c", "b")]
        ),
        path="flow.yaml",
    )
    again = h.operations.resume_execution(root, actor="me")
    assert [order["node"] for order in h.backend.active.values()] == ["a"]
    assert row_of(h, again).version == 2


def test_the_original_version_can_be_resumed(h: Harness) -> None:
    _task_id, root = failed_in_the_middle(h)
    other = Action(executor="command", config={"command": "date"})
    h.define(workflow_task("flow", [command_node("a", action=other)]), path="flow.yaml")
    again = h.operations.resume_execution(root, actor="me", original=True)
    assert row_of(h, again).version == 1
    assert [order["node"] for order in h.backend.active.values()] == ["b"]


def test_a_referenced_task_is_taken_over_while_its_version_is_the_same(h: Harness) -> None:
    shared, flow = (
        command_task("shared"),
        workflow_task("flow", [command_node("step", task="shared"), command_node("b", "step")]),
    )
    shared_id, flow_id = h.define(shared, flow)
    root = h.operations.trigger(flow_id, actor="me")
    h.end(next(iter(h.backend.active)))
    h.end(h.backend.node("b"), "failed")
    again = h.operations.resume_execution(root, actor="me")
    assert rows_of(h, again)["step"].status == "success"
    page = history.page(h.database, Wanted(task_id=shared_id), limit=10)
    assert page.total == 1, "what was taken over did not run, and stands in no history"
    h.operations.terminate(again, actor="me")
    changed = command_task("shared", action=Action(executor="command", config={"command": "date"}))
    h.define(changed, flow, path="shared.yaml")
    h.operations.resume_execution(again, actor="me")
    assert [order["task"] for order in h.backend.active.values()] == ["shared"]


def test_a_killed_engine_goes_on_with_a_resumed_workflow(h: Harness) -> None:
    _, root = failed_in_the_middle(h)
    again = h.operations.resume_execution(root, actor="me")
    h.restart()
    h.end(h.backend.node("b"))
    assert rows_of(h, again)["a"].reused_from is not None
    h.end(h.backend.node("c"))
    assert h.status(again) == "success"


def test_a_task_that_failed_is_resumed_as_a_new_execution_of_the_same_instant(h: Harness) -> None:
    [_task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    h.tick(60)
    [first] = h.backend.active
    h.end(first, "failed")
    again = h.operations.resume_execution(first, actor="me")
    assert row_of(h, again).logical_time == row_of(h, first).logical_time
    h.end(again)
    assert h.status(again) == "success"


def test_resume_refuses_what_succeeded_what_is_a_node_and_what_is_not_there(h: Harness) -> None:
    [task_id] = h.define(command_task("one"))
    done = h.operations.trigger(task_id, actor="me")
    h.end(done)
    with pytest.raises(WrongState, match="is success"):
        h.operations.resume_execution(done, actor="me")
    _, root = failed_in_the_middle(h)
    with pytest.raises(WrongState, match=f"resume the workflow's execution {root}"):
        h.operations.resume_execution(rows_of(h, root)["b"].id, actor="me")
    with pytest.raises(ExecutionNotFound):
        h.operations.resume_execution(4711, actor="me")


def test_resume_obeys_overlap(h: Harness) -> None:
    task_id, root = failed_in_the_middle(h)
    h.operations.trigger(task_id, actor="me")
    with pytest.raises(AlreadyRunning):
        h.operations.resume_execution(root, actor="me")


# ── backfill ────────────────────────────────────────────────────────────────────────────────────────────────────────


def backfill(h: Harness, task_id: int, count: int, *, parallel: int = 1, key: Key | None = None):
    """The `count` minutes before now."""
    now = h.clock.micros() // MINUTE * MINUTE
    moments = [now - (count - number) * MINUTE for number in range(count)]
    found = h.operations.backfill(
        task_id, moments, span=(moments[0], moments[-1]), parallel=parallel, actor="me", key=key
    )
    return [found["executions"].get(str(moment)) for moment in moments], found


def test_a_backfill_runs_oldest_first_and_no_more_than_it_may(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 5, parallel=2)
    assert list(h.backend.active) == made[:2]
    assert [row_of(h, number).waiting_for for number in made[2:]] == ["backfill"] * 3
    h.end(made[1])
    assert list(h.backend.active) == [made[0], made[2]]
    for number in (made[0], made[2], made[3], made[4]):
        h.end(number)
    assert [h.status(number) for number in made] == ["success"] * 5
    assert {row_of(h, number).trigger_type for number in made} == {"backfill"}


def test_an_instant_that_has_fired_is_not_run_again(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 3)
    again, found = backfill(h, task_id, 4)
    assert again == [again[0], None, None, None]
    assert list(found["fired"].values()) == made


def test_the_same_backfill_at_once_from_two_clients_makes_one_of_each(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    now = h.clock.micros() // MINUTE * MINUTE
    moments = [now - MINUTE, now]

    def ask(operations):
        return operations.backfill(task_id, moments, span=(moments[0], moments[1]), parallel=1, actor="me")

    first, second = h.operations.at_once([ask, ask])
    assert len(first["executions"]) == 2
    assert second["executions"] == {}
    assert second["fired"] == first["executions"]


def test_a_backfill_neither_blocks_the_schedule_nor_is_blocked_by_it(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 3)
    h.tick(60)
    fired = [id_ for id_ in h.backend.active if id_ not in made]
    assert len(fired) == 1, "`overlap: skip` does not look at backfills"
    h.end(made[0])
    assert set(h.backend.active) == {fired[0], made[1]}


def test_a_killed_engine_goes_on_with_a_backfill(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE, action=retrying(1, 30)))
    made, _ = backfill(h, task_id, 5, parallel=2)
    h.end(made[0], "failed")  # waits for its retry, and keeps its place
    h.restart()
    assert set(h.backend.active) == {made[1]}
    h.end(made[1])
    assert set(h.backend.active) == {made[2]}
    h.tick(31)
    assert set(h.backend.active) == {made[0], made[2]}
    for number in (made[0], made[2], made[3], made[4]):
        h.end(number)
    assert [h.status(number) for number in made] == ["success"] * 5


def test_what_is_terminated_while_it_waits_leaves_its_place_to_others(h: Harness) -> None:
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 4)
    h.operations.terminate(made[1], actor="me")
    h.end(made[0])
    assert list(h.backend.active) == [made[2]]
    h.operations.terminate(made[2], actor="me")
    h.settle()
    assert list(h.backend.active) == [made[3]]


def test_a_backfill_of_workflows_runs_one_after_the_other(h: Harness) -> None:
    flow = workflow_task("flow", [command_node("a"), command_node("b", "a")], schedule=EVERY_MINUTE)
    [task_id] = h.define(flow)
    made, _ = backfill(h, task_id, 2)
    assert [h.status(number) for number in made] == ["running", "pending"]
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    assert [h.status(number) for number in made] == ["success", "running"]


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_with_a_key_is_carried_out_once(h: Harness) -> None:
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    key = Key("k1", "me", "f")
    first = h.operations.trigger(task_id, actor="me", key=key)
    assert h.operations.trigger(task_id, actor="me", key=key) == first
    h.restart()
    assert h.operations.trigger(task_id, actor="me", key=key) == first
    assert h.operations.trigger(task_id, actor="me") != first
    assert h.operations.trigger(task_id, actor="me", key=Key("k1", "you", "f")) != first, (
        "keys are a caller's own"
    )


def test_a_key_that_stood_for_another_request_is_refused(h: Harness) -> None:
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    h.operations.trigger(task_id, actor="me", key=Key("k1", "me", "f"))
    with pytest.raises(KeyReused, match="k1"):
        h.operations.trigger(task_id, actor="me", key=Key("k1", "me", "g"))


def test_two_requests_with_one_key_in_one_turn_are_one(h: Harness) -> None:
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    key = Key("k1", "me", "f")
    first, second = h.operations.at_once(
        [lambda operations: operations.trigger(task_id, actor="me", key=key)] * 2
    )
    assert first == second


def test_a_request_that_was_refused_leaves_its_key_free(h: Harness) -> None:
    [task_id] = h.define(command_task("one"))
    running = h.operations.trigger(task_id, actor="me")
    key = Key("k1", "me", "f")
    with pytest.raises(AlreadyRunning):
        h.operations.trigger(task_id, actor="me", key=key)
    h.end(running)
    assert h.operations.trigger(task_id, actor="me", key=key) != running


def test_a_key_that_was_withdrawn_is_free(h: Harness) -> None:
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    key = Key("k1", "me", "f")
    first = h.operations.trigger(task_id, actor="me", key=key)
    h.operations.withdraw(key)
    assert h.operations.trigger(task_id, actor="me", key=key) != first


# ── definitions that are run without being registered ─────────────────────────────────────────────────────────────


def test_a_definition_is_run_without_being_registered(h: Harness) -> None:
    first = h.operations.run(command_task("probe"), actor="me", params={"x": 1})
    second = h.operations.run(command_task("probe"), actor="me")
    other = h.operations.run(command_task("probe", description="another"), actor="me")
    assert set(h.backend.active) == {first, second, other}
    assert row_of(h, first).task_id == row_of(h, second).task_id != row_of(h, other).task_id
    assert h.operations.registry.by_name == {}
    for number in (first, second, other):
        h.end(number)
    assert h.engine.memory.archived == {}
    third = h.operations.run(command_task("probe"), actor="me")
    assert row_of(h, third).task_id == row_of(h, first).task_id


def test_a_workflow_that_is_run_without_being_registered_survives_a_kill(h: Harness) -> None:
    root = h.operations.run(
        workflow_task("probe", [command_node("a"), Node(name="b", dependencies=("a",), action=retrying(0))]),
        actor="me",
    )
    h.restart()
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    assert h.status(root) == "success"


def test_the_name_of_a_task_and_that_of_a_definition_run_once_do_not_meet(h: Harness) -> None:
    h.operations.run(command_task("probe"), actor="me")
    [task_id] = h.define(command_task("probe"))
    assert h.operations.registry.by_id[task_id].name == "probe"
    assert h.operations.trigger(task_id, actor="me", trigger_type=TriggerType.API)


# ── without a server ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_engine_that_rests_keeps_tasks_and_touches_no_execution(tmp_path) -> None:
    with Harness(tmp_path) as before:
        [task_id] = before.define(command_task("one", schedule=EVERY_MINUTE))
        running = before.operations.trigger(task_id, actor="me")
    resting = Harness(tmp_path, rests=True)
    resting.backend = before.backend
    with resting:
        resting.operations.disable(task_id, actor="me")
        resting.tick(120)
        assert resting.status(running) == "running"
        for refused in (
            lambda: resting.operations.trigger(task_id, actor="me"),
            lambda: resting.operations.terminate(running, actor="me"),
            lambda: resting.operations.resume_execution(running, actor="me"),
        ):
            with pytest.raises(ServerNeeded, match="no server runs"):
                refused()
    row = queries.task_row(before.database, task_id)
    assert row is not None
    assert not row.enabled


# ── tallies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_totals_hold_through_everything_that_executions_go_through(h: Harness) -> None:
    shared, plain = (
        command_task("shared", action=retrying(1, 5)),
        command_task("plain", schedule=EVERY_MINUTE),
    )
    flow = workflow_task(
        "flow", [command_node("a"), command_node("s", "a", task="shared"), command_node("z", "s")]
    )
    ids = h.define(shared, plain, flow)
    for turn in range(12):
        h.tick(60)
        for task_id in ids:
            if not h.engine.memory.tasks[task_id].active:
                h.operations.trigger(task_id, actor="me")
        for number in list(h.backend.active)[:: 1 + turn % 3]:
            if number in h.backend.active:
                h.end(number, ("success", "failed", "success", "terminated")[number % 4])
    h.restart()
    with h.database.read() as connection:
        from sqlalchemy import func, select

        from zquant_flow.store.tables import LISTED, executions

        grouped = connection.execute(
            select(executions.c.task_id, executions.c.status, func.count())
            .where(LISTED)
            .group_by(executions.c.task_id, executions.c.status)
        ).all()
    assert {status for _, status, _ in grouped} >= {"success", "failed", "terminated"}
    for task_id, status, count in grouped:
        assert history.page(h.database, Wanted(task_id=task_id, statuses=(status,)), limit=1).total == count
    total = sum(count for *_, count in grouped)
    assert history.page(h.database, Wanted(), limit=1).total == total
    assert history.page(h.database, Wanted(since=0, until=h.clock.micros()), limit=1).total == total


def test_a_cancelled_backfill_starts_nothing_more_and_frees_its_logical_times(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 4, parallel=1)
    assert h.operations.cancel_backfill(made[0], actor="me") == made[1:]
    assert [h.status(number) for number in made] == ["running", "terminated", "terminated", "terminated"]
    assert {row_of(h, number).error_code for number in made[1:]} == {"backfill_cancelled"}
    h.end(made[0])
    assert [order["id"] for order in h.backend.orders] == made[:1]
    again, found = backfill(h, task_id, 4)
    assert [number is None for number in again] == [True, False, False, False]
    assert list(found["fired"].values()) == made[:1]


def test_a_cancelled_backfill_ends_what_runs_when_asked_to(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 3, parallel=2)
    h.operations.cancel_backfill(made[0], actor="me", terminate=True)
    h.settle()
    assert [h.status(number) for number in made] == ["terminated"] * 3


def test_a_cancelled_backfill_stays_so_over_a_crash(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 3)
    h.operations.cancel_backfill(made[0], actor="me")
    h.restart()
    assert h.operations.cancel_backfill(made[0], actor="me") == []
    h.end(made[0])
    assert [order["id"] for order in h.backend.orders] == made[:1]
    assert h.operations.cancel_backfill(made[0], actor="me") == []
    row = backfills.backfill(h.database, made[0])
    assert (row.cancelled_by, row.cancelled_time) == ("me", h.clock.micros())


def test_a_cancelled_backfill_frees_what_still_waited_for_a_place(tmp_path: Path) -> None:
    with Harness(tmp_path, slots=1) as h:
        [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
        made, _ = backfill(h, task_id, 3, parallel=3)
        assert h.operations.cancel_backfill(made[0], actor="me") == made[1:]
        again, _ = backfill(h, task_id, 3)
        assert again[0] is None
        assert None not in again[1:]


def test_a_backfill_that_has_ended_or_never_was_is_not_cancelled(h: Harness) -> None:
    [task_id] = h.define(command_task("t", schedule=EVERY_MINUTE))
    made, _ = backfill(h, task_id, 1)
    h.end(made[0])
    with pytest.raises(WrongState, match="has ended"):
        h.operations.cancel_backfill(made[0], actor="me")
    with pytest.raises(BackfillNotFound, match="no backfill has the id 77"):
        h.operations.cancel_backfill(77, actor="me")
