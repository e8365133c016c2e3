"""Tasks that run because others have ended, or have produced what they consume: each end counts exactly once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.core.model import After, Overlap
from zquant_flow.core.waits import On
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


def runs(h: Harness, task_id: int) -> list[int]:
    """The executions of a task, oldest first."""
    with h.database.read() as connection:
        found = connection.execute(
            text("SELECT id FROM executions WHERE task_id = :id ORDER BY id"), {"id": task_id}
        )
        return list(found.scalars())


def run(h: Harness, task_id: int, kind: str = "success") -> int:
    """Trigger and end an execution."""
    execution = h.operations.trigger(task_id, actor="me")
    h.end(execution, kind)
    return execution


def test_a_task_runs_after_another_has_succeeded(h: Harness) -> None:
    first, second = h.define(command_task("a"), command_task("b", after=After(tasks=("a",))))
    run(h, first, "failed")
    assert runs(h, second) == []
    run(h, first)
    [execution] = runs(h, second)
    row = queries.execution_row(h.database, execution)
    assert (row.trigger_type, row.created_by, row.status) == ("event", "event", "running")


@pytest.mark.parametrize(("on", "count"), [(On.SUCCESS, 1), (On.FAILURE, 1), (On.EITHER, 2)])
def test_which_end_is_waited_for(h: Harness, on: On, count: int) -> None:
    first, second = h.define(
        command_task("a"), command_task("b", after=After(tasks=("a",), on=on), overlap=Overlap.ALLOW)
    )
    run(h, first)
    run(h, first, "failed")
    assert len(runs(h, second)) == count


def test_an_attempt_that_is_tried_again_is_no_end(h: Harness) -> None:
    first, second = h.define(
        command_task("a", action=retrying(1)), command_task("b", after=After(tasks=("a",), on=On.FAILURE))
    )
    execution = h.operations.trigger(first, actor="me")
    h.end(execution, "failed")
    assert runs(h, second) == []
    h.tick(61)
    h.end(execution, "failed")
    assert len(runs(h, second)) == 1


def test_all_of_several_are_needed_within_the_window(h: Harness) -> None:
    a, b, c = h.define(
        command_task("a"),
        command_task("b"),
        command_task("c", after=After(tasks=("a", "b"), within=timedelta(hours=1))),
    )
    run(h, a)
    h.tick(3601)
    run(h, b)
    assert runs(h, c) == []
    run(h, a)
    assert len(runs(h, c)) == 1


def test_what_has_arrived_outlives_a_crash(h: Harness) -> None:
    a, b, c = h.define(command_task("a"), command_task("b"), command_task("c", after=After(tasks=("a", "b"))))
    run(h, a)
    h.restart()
    run(h, b)
    assert len(runs(h, c)) == 1
    h.restart()
    run(h, b)
    assert len(runs(h, c)) == 1, "what has been used counts no more"


def test_the_logical_time_goes_on_with_it(h: Harness) -> None:
    first, second = h.define(
        command_task("a", schedule=EVERY_MINUTE), command_task("b", after=After(tasks=("a",)))
    )
    h.tick(60)
    h.end(runs(h, first)[0])
    upstream, downstream = (queries.execution_row(h.database, runs(h, task)[0]) for task in (first, second))
    assert downstream.logical_time == upstream.logical_time is not None


def test_data_that_is_produced_leads_to_who_consumes_it(h: Harness) -> None:
    a, b, c = h.define(
        command_task("a", produces=("bars",)),
        command_task("b", produces=("days",)),
        command_task("c", consumes=("bars", "days")),
    )
    run(h, a)
    run(h, b, "failed")
    assert runs(h, c) == []
    run(h, b)
    assert len(runs(h, c)) == 1


def test_a_paused_task_runs_when_it_is_resumed_and_a_disabled_one_forgets(h: Harness) -> None:
    a, b, c = h.define(
        command_task("a"),
        command_task("b", after=After(tasks=("a",))),
        command_task("c", after=After(tasks=("a",))),
    )
    h.operations.pause(b, actor="me")
    h.operations.disable(c, actor="me")
    run(h, a)
    run(h, a)
    assert (runs(h, b), runs(h, c)) == ([], [])
    h.restart()
    h.operations.resume(b, actor="me")
    h.operations.enable(c, actor="me")
    assert (len(runs(h, b)), len(runs(h, c))) == (1, 0)


def test_it_waits_for_its_own_active_execution_and_is_never_skipped(h: Harness) -> None:
    a, b = h.define(command_task("a"), command_task("b", after=After(tasks=("a",))))
    run(h, a)
    run(h, a)
    first, second = runs(h, b)
    assert (h.status(first), h.status(second)) == ("running", "pending")
    h.end(first)
    assert h.status(second) == "running"


def test_a_node_that_refers_to_a_task_counts_and_an_inline_node_does_not(h: Harness) -> None:
    _, b, flow = h.define(
        command_task("a"),
        command_task("b", after=After(tasks=("a",))),
        workflow_task("flow", [command_node("inline"), command_node("ref", "inline", task="a")]),
    )
    h.operations.trigger(flow, actor="me")
    h.end(h.backend.node("inline"))
    assert runs(h, b) == []
    h.end(h.backend.node("ref"))
    assert len(runs(h, b)) == 1


def test_a_backfill_leads_to_nothing(h: Harness) -> None:
    a, b = h.define(command_task("a", schedule=EVERY_MINUTE), command_task("b", after=After(tasks=("a",))))
    minute = 60_000_000
    moment = h.clock.micros() // minute * minute - minute
    h.operations.backfill(a, [moment], span=(moment, moment), parallel=1, actor="me")
    h.settle()
    h.end(runs(h, a)[0])
    assert runs(h, b) == []


def test_a_chain_runs_through(h: Harness) -> None:
    tasks = h.define(
        command_task("t0"),
        *(command_task(f"t{n}", after=After(tasks=(f"t{n - 1}",))) for n in range(1, 6)),
    )
    h.operations.trigger(tasks[0], actor="me")
    for task_id in tasks:
        h.settle()
        h.end(runs(h, task_id)[0])
    assert [len(runs(h, task_id)) for task_id in tasks] == [1] * 6


def test_a_changed_definition_waits_for_what_it_names_now(h: Harness) -> None:
    a, b = h.define(command_task("a"), command_task("b"))
    [c] = h.define(command_task("c", after=After(tasks=("a",))))
    h.define(command_task("c", after=After(tasks=("b",))), path="c.yaml")
    run(h, a)
    assert runs(h, c) == []
    run(h, b)
    assert len(runs(h, c)) == 1


@pytest.mark.parametrize(
    "tasks",
    [
        [command_task("a", after=After(tasks=("b",))), command_task("b", after=After(tasks=("a",)))],
        [
            command_task("a", consumes=("x",), produces=("y",)),
            command_task("b", consumes=("y",), produces=("x",)),
        ],
        [command_task("a"), workflow_task("w", [command_node("n", task="a")], after=After(tasks=("a",)))],
    ],
    ids=["after", "data", "its own node"],
)
def test_what_would_run_itself_for_ever_is_refused(h: Harness, tasks: list[object]) -> None:
    assert h.define(*tasks) == []  # type: ignore[arg-type]
    [errors] = h.operations.registry.errors.values()
    assert {error.code for error in errors} == {"event_cycle"}
    assert " -> " in str(errors[0].message)


def test_a_task_that_is_not_there_is_waited_for(h: Harness) -> None:
    assert h.define(command_task("b", after=After(tasks=("a",)))) == []
    [errors] = h.operations.registry.errors.values()
    assert (errors[0].code, errors[0].field) == ("task_missing", "after")
    h.define(command_task("a"))
    assert [entry.name for entry in h.operations.registry.users_of("a")] == ["b"]
