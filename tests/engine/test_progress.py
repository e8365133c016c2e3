"""Progress is written often enough and no oftener, weighs nodes by their past, and knows when it will end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.engine.conftest import retrying
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import WorkflowType
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

PARALLEL = WorkflowType.PARALLEL


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def run(h: Harness, task: Any) -> int:
    return h.operations.trigger(h.define(task)[0], actor="me")


def tell(h: Harness, execution_id: int, **facts: Any) -> None:
    h.backend.on_event({"op": "progress", "items": [{"id": execution_id, "attempt": 1, **facts}]})
    h.settle()


def row(h: Harness, execution_id: int) -> Any:
    return queries.execution_row(h.database, execution_id)


def ends_in(h: Harness, execution_id: int) -> float | None:
    """Seconds from now."""
    end = row(h, execution_id).estimated_end_time
    return None if end is None else (end - to_micros(h.clock.now())) / 1e6


def past_run(h: Harness, root: int, **seconds: float) -> None:
    """Let the nodes of a run have taken so long."""
    with h.database.write() as connection:
        for name, taken in seconds.items():
            connection.execute(
                text(
                    "UPDATE executions SET duration_seconds = :taken WHERE root_id = :root AND node = :name"
                ),
                {"taken": taken, "root": root, "name": name},
            )
        connection.execute(
            text("UPDATE executions SET duration_seconds = :taken WHERE id = :root"),
            {"taken": sum(seconds.values()), "root": root},
        )


def test_a_task_that_tells_a_hundred_thousand_times_is_written_a_few(h: Harness) -> None:
    one = run(h, command_task("a"))
    before = row(h, one).change_seq
    for _ in range(10):
        items = [
            {"id": one, "attempt": 1, "percent": n / 1000, "current_item": f"row {n}"} for n in range(10_000)
        ]
        h.backend.on_event({"op": "progress", "items": items})
        h.tick(0.1)
    assert row(h, one).change_seq - before <= 5
    h.backend.on_event({"op": "progress", "items": [{"id": one, "attempt": 1, "percent": 77}]})
    h.end(one, "failed")
    assert row(h, one).progress_percent == 77


def test_the_last_word_is_written_without_another_one_after_it(h: Harness) -> None:
    one = run(h, command_task("a"))
    tell(h, one, percent=10)
    tell(h, one, percent=20)
    assert row(h, one).progress_percent == 10
    h.tick(0.25)
    assert row(h, one).progress_percent == 20


def test_the_outcome_has_the_last_word(h: Harness) -> None:
    one = run(h, command_task("a"))
    tell(h, one, percent=10)
    tell(h, one, percent=20)
    h.end(one, "failed", progress={"percent": 30, "message": "near"})
    assert (row(h, one).progress_percent, row(h, one).message) == (30, "near")


def test_what_an_attempt_says_that_is_over_is_nobodys(h: Harness) -> None:
    one = run(h, command_task("a", action=retrying(1)))
    h.end(one, "failed")
    h.tick(60)
    tell(h, one, percent=99)
    assert row(h, one).progress_percent is None


def test_what_was_counted_makes_per_cent_and_an_end(h: Harness) -> None:
    one = run(h, command_task("a"))
    h.tick(30)
    tell(h, one, processed_items=25, total_items=100)
    assert (row(h, one).progress_percent, ends_in(h, one)) == (25, 90)


def test_an_end_that_the_task_tells_is_the_one(h: Harness) -> None:
    one = run(h, command_task("a"))
    h.tick(30)
    tell(h, one, percent=25, estimated_end=to_micros(h.clock.now()) + 5_000_000)
    assert ends_in(h, one) == 5


def test_while_it_is_paused_time_stands_still(h: Harness) -> None:
    one = run(h, command_task("a"))
    h.tick(30)
    tell(h, one, percent=25)
    h.operations.pause_execution(one, actor="me")
    h.settle()
    h.tick(1000)
    assert ends_in(h, one) is None
    h.operations.resume_execution(one, actor="me")
    h.settle()
    h.tick(0.25)
    assert row(h, one).progress_percent == 25
    assert ends_in(h, one) == pytest.approx(90, abs=1)


def test_a_new_attempt_begins_anew(h: Harness) -> None:
    one = run(h, command_task("a", action=retrying(1, 10)))
    h.tick(100)
    tell(h, one, percent=50)
    h.end(one, "failed")
    h.tick(10)
    h.tick(20)
    h.backend.on_event({"op": "progress", "items": [{"id": one, "attempt": 2, "percent": 10}]})
    h.settle()
    assert (row(h, one).progress_percent, ends_in(h, one)) == (10, 180)


def test_a_workflow_is_weighed_by_what_its_nodes_took(h: Harness) -> None:
    flow = workflow_task("w", [command_node("a"), command_node("b", "a")])
    first = run(h, flow)
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    past_run(h, first, a=10, b=30)
    h.restart()
    root = h.operations.trigger(h.operations.registry.by_name["w"].id, actor="me")
    h.tick(12)
    h.end(h.backend.node("a"))
    assert (row(h, root).progress_percent, row(h, root).processed_items, row(h, root).total_items) == (
        25,
        1,
        2,
    )
    assert ends_in(h, root) == 36
    h.tick(12)
    tell(h, h.backend.node("b"), percent=50)
    assert row(h, root).progress_percent == 62.5
    h.end(h.backend.node("b"))
    assert (h.status(root), row(h, root).progress_percent) == ("success", 100)
    assert row(h, root).estimated_end_time is None


def test_at_its_beginning_a_workflow_ends_when_it_usually_does(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b", "a")]
    first = run(h, workflow_task("w", nodes))
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"))
    past_run(h, first, a=1, b=99)
    h.restart()
    root = h.operations.trigger(h.operations.registry.by_name["w"].id, actor="me")
    h.tick(20)
    h.end(h.backend.node("a"))
    assert (row(h, root).progress_percent, ends_in(h, root)) == (1, 80)


def test_the_percent_of_a_workflow_never_falls(h: Harness) -> None:
    nodes = [command_node("a", action=retrying(1, 1)), command_node("b")]
    root = run(h, workflow_task("w", nodes, workflow_type=PARALLEL))
    seen = []
    for percent in (50, 90, 10):
        h.tick(1)
        tell(h, h.backend.node("a"), percent=percent)
        seen.append(row(h, root).progress_percent)
    h.end(h.backend.node("a"), "failed")
    h.tick(1)
    seen.append(row(h, root).progress_percent)
    h.tick(1)
    h.end(h.backend.node("b"))
    h.tick(1)
    seen.append(row(h, root).progress_percent)
    assert seen == [25, 45, 45, 45, 50]


def test_a_restart_keeps_what_a_workflow_has_done(h: Harness) -> None:
    root = run(h, workflow_task("w", [command_node(name) for name in "abcd"]))
    h.end(h.backend.node("a"))
    h.restart()
    h.tick(1)
    h.end(h.backend.node("b"))
    assert row(h, root).progress_percent == 50


def test_a_workflow_that_stands_still_has_no_end(h: Harness) -> None:
    nodes = [command_node("a"), command_node("b")]
    root = run(h, workflow_task("w", nodes, workflow_type=PARALLEL))
    h.tick(10)
    h.end(h.backend.node("a"))
    assert ends_in(h, root) == 10
    h.operations.pause_execution(root, actor="me")
    h.tick(100)
    assert ends_in(h, root) is None
    h.operations.resume_execution(root, actor="me")
    h.tick(1)
    assert ends_in(h, root) == pytest.approx(11, abs=1.1)
