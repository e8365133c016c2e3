"""Engines that share a database: one leads and hands over, the others drive; what each says reaches the other exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.databases import fresh_database
from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.clock import SystemClock
from zquant_flow.core.model import ForEach, Overlap, Rule, Schedule, WorkflowType
from zquant_flow.errors import AlreadyRunning, NotLeading
from zquant_flow.store import queries
from zquant_flow.store.clock import DatabaseClock
from zquant_flow.store.database import Database
from zquant_flow.testing import FakeClock, Harness, command_node, command_task, workflow_task

LEASE = 6.0
EVERY_SECOND = Schedule(rules=(Rule(cron="* * * * * *"),))


@dataclass
class Two:
    """The one that leads, and one that has joined it; `a` has one place, so that it hands over what it may."""

    a: Harness
    b: Harness

    def settle(self) -> None:
        """Let each hear the other until nobody has anything to say."""
        for _ in range(4):
            self.a.hear()
            self.b.hear()

    def tick(self, seconds: float) -> None:
        """Time passes, for both, in steps that keep their leases."""
        while seconds > 0:
            self.a.clock.advance(min(seconds, 1.0))
            seconds -= 1.0
            for one in (self.b, self.a):
                one.tick()
        self.settle()

    def owner(self, execution_id: int) -> int:
        row = queries.execution_row(self.a.database, execution_id)
        assert row is not None
        return int(row.owner)

    def letters(self) -> int:
        with self.a.database.read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM letters")).scalar_one())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with fresh_database("postgresql", tmp_path) as url:
        clock = FakeClock()
        options = {"url": url, "clock": clock, "lease": LEASE}
        with (
            Harness(tmp_path / "a", slots=1, **options) as a,
            Harness(tmp_path / "b", slots=10, **options) as b,
        ):
            found = Two(a, b)
            found.tick(2)
            assert (a.engine.leads, b.engine.leads) == (True, False)
            assert a.engine.lease.others == {b.engine.memory.engine_id: 10}
            yield found


def handed(two: Two, *tasks: object, **keys: object) -> int:
    """Trigger the first of these tasks and let the other engine take it."""
    [task_id, *_] = two.a.define(*tasks)  # type: ignore[arg-type]
    execution = two.a.operations.trigger(task_id, actor="me", **keys)  # type: ignore[arg-type]
    two.settle()
    assert two.owner(execution) == two.b.engine.memory.engine_id
    return execution


def test_what_has_no_place_here_runs_elsewhere_and_ends_here_too(two: Two) -> None:
    execution = handed(two, command_task("one"))
    assert two.a.status(execution) == "running"
    assert list(two.b.backend.active) == [execution]
    two.b.end(execution)
    two.settle()
    assert two.a.status(execution) == "success"
    assert execution not in two.a.engine.memory.executions
    assert two.letters() == 0


def test_overlap_counts_what_runs_elsewhere(two: Two) -> None:
    execution = handed(two, command_task("one"))
    [task_id] = [task.id for task in two.a.engine.memory.tasks.values() if task.name == "one"]
    with pytest.raises(AlreadyRunning):
        two.a.operations.trigger(task_id, actor="me")
    two.b.end(execution)
    two.settle()
    assert two.a.operations.trigger(task_id, actor="me") > execution


def test_the_queue_goes_on_when_the_one_elsewhere_has_ended(two: Two) -> None:
    execution = handed(two, command_task("one", overlap=Overlap.QUEUE))
    task_id = two.a.engine.memory.executions[execution].task.id
    second = two.a.operations.trigger(task_id, actor="me")
    two.settle()
    assert two.a.status(second) == "pending"
    two.b.end(execution)
    two.settle()
    assert two.a.status(second) == "running"


def test_a_retry_stays_where_it_is(two: Two) -> None:
    execution = handed(two, command_task("one", action=retrying(1)))
    two.b.end(execution, "failed")
    assert two.a.status(execution) == "pending"
    two.tick(61)
    assert two.a.status(execution) == "running"
    assert two.b.backend.active[execution]["attempt"] == 2
    two.b.end(execution)
    two.settle()
    row = queries.task_row(two.a.database, queries.execution_row(two.a.database, execution).task_id)
    assert (row.active_count, row.latest_status) == (0, "success")


def test_a_whole_workflow_runs_elsewhere(two: Two) -> None:
    execution = handed(two, workflow_task("flow", [command_node("x"), command_node("y", "x")]))
    two.b.end(two.b.backend.node("x"))
    two.b.end(two.b.backend.node("y"))
    two.settle()
    assert two.a.status(execution) == "success"
    assert two.a.nodes(execution) == {"x": "success", "y": "success"}
    with two.a.database.read() as connection:
        roots = (
            connection.execute(text("SELECT DISTINCT root_id FROM executions WHERE inline")).scalars().all()
        )
    assert roots == [execution]


def test_a_workflow_that_refers_to_tasks_stays_and_its_nodes_run_elsewhere(two: Two) -> None:
    [flow, _] = two.a.define(
        workflow_task("flow", [command_node("x", task="one"), command_node("y", "x")]),
        command_task("one"),
    )
    execution = two.a.operations.trigger(flow, actor="me")
    two.settle()
    assert two.owner(execution) == two.a.engine.memory.engine_id
    [node] = two.b.backend.active
    assert two.b.backend.active[node]["node"] == "x"
    two.b.end(node)
    two.settle()
    assert two.a.nodes(execution) == {"x": "success", "y": "running"}
    two.a.end(two.a.backend.node("y"))
    assert two.a.status(execution) == "success"


def test_pause_resume_and_terminate_reach_it(two: Two) -> None:
    execution = handed(two, command_task("one"))
    two.a.operations.pause_execution(execution, actor="me")
    two.settle()
    assert two.a.status(execution) == "paused"
    two.a.operations.resume_execution(execution, actor="me")
    two.settle()
    assert two.a.status(execution) == "running"
    two.a.operations.terminate(execution, actor="me")
    two.settle()
    assert two.a.status(execution) == "terminated"
    assert execution not in two.a.engine.memory.executions


def test_a_command_that_gets_results_of_nodes_runs_where_they_are_known(two: Two) -> None:
    nodes = [command_node("x", task="one"), command_node("y", "x", task="two")]
    [flow, _, _] = two.a.define(workflow_task("flow", nodes), command_task("one"), command_task("two"))
    two.a.operations.trigger(flow, actor="me")
    two.settle()
    two.b.end(two.b.backend.node("x"), result='{"rows": 1}')
    two.settle()
    assert not two.b.backend.active
    assert two.a.backend.active[two.a.backend.node("y")]["results"] == {"x": '{"rows": 1}'}


def test_a_large_result_for_a_node_here_comes_in_the_row_or_is_missed_by_name(two: Two) -> None:
    nodes = [command_node("x", task="one"), command_node("y", "x", when="nodes.x.result.rows == 1")]
    [flow, _] = two.a.define(workflow_task("flow", nodes), command_task("one"))
    execution = two.a.operations.trigger(flow, actor="me")
    two.settle()
    assert two.b.backend.active[two.b.backend.node("x")]["in_row"] is True
    two.b.end(two.b.backend.node("x"), result_size=5_000_000)
    two.settle()
    y = queries.children_of(two.a.database, queries.execution_row(two.a.database, execution))[1]
    assert (y.status, y.error_code) == ("failed", "when_failed")
    assert y.error_message.startswith("when: nodes.x: its result is not there any more: ")
    alone = handed(two, command_task("other"))
    assert "in_row" not in two.b.backend.active[alone]


def test_a_paused_workflow_here_keeps_a_node_elsewhere_from_starting(two: Two) -> None:
    [flow, _] = two.a.define(workflow_task("flow", [command_node("x", task="one")]), command_task("one"))
    execution = two.a.operations.trigger(flow, actor="me")
    two.a.operations.pause_execution(execution, actor="me")
    two.settle()
    assert not two.b.backend.active
    two.b.restart()
    two.settle()
    assert not two.b.backend.active
    two.a.operations.resume_execution(execution, actor="me")
    two.settle()
    [node] = two.b.backend.active
    two.b.end(node)
    two.settle()
    assert two.a.status(execution) == "success"


def test_a_paused_task_holds_its_retries_elsewhere(two: Two) -> None:
    execution = handed(two, command_task("one", schedule=EVERY_MINUTE, action=retrying(1, 30)))
    task_id = two.a.engine.memory.executions[execution].task.id
    two.b.end(execution, "failed")
    two.a.operations.pause(task_id, actor="me")
    two.settle()
    two.tick(31)
    assert not two.b.backend.active
    two.a.operations.resume(task_id, actor="me")
    two.settle()
    assert list(two.b.backend.active) == [execution]


def test_nodes_elsewhere_are_skipped_when_the_workflow_stops(two: Two) -> None:
    [flow, _, _] = two.a.define(
        workflow_task(
            "flow",
            [command_node("bad"), command_node("x", task="one"), command_node("z", task="two")],
            workflow_type=WorkflowType.PARALLEL,
        ),
        command_task("one", overlap=Overlap.QUEUE),
        command_task("two"),
    )
    execution = two.a.operations.trigger(flow, actor="me")
    two.settle()
    two.a.end(two.a.backend.node("bad"), "failed")
    two.settle()
    for node in list(two.b.backend.active):
        two.b.end(node)
    two.settle()
    assert two.a.status(execution) == "failed"
    assert two.letters() == 0


def test_ids_are_unique_and_a_restart_takes_none_twice(two: Two) -> None:
    execution = handed(two, workflow_task("flow", [command_node("x"), command_node("y", "x")]))
    two.b.end(two.b.backend.node("x"))
    two.b.restart()
    two.b.end(two.b.backend.node("y"))
    two.settle()
    assert two.a.status(execution) == "success"


def test_a_follower_that_restarts_drives_on(two: Two) -> None:
    execution = handed(two, command_task("one"))
    two.b.restart()
    two.settle()
    assert list(two.b.backend.active) == [execution]
    two.b.end(execution)
    two.settle()
    assert two.a.status(execution) == "success"
    assert [order["attempt"] for order in two.b.backend.orders] == [1]


def test_items_are_driven_where_their_workflow_is(two: Two) -> None:
    node = command_node("load", for_each=ForEach(items=(1, 2)))
    execution = handed(two, workflow_task("many", [node]))
    two.b.end(two.b.backend.node("load[0]"), result="10")
    two.b.restart()
    two.settle()
    two.b.end(two.b.backend.node("load[1]"), result="20")
    two.settle()
    assert two.a.status(execution) == "success"
    assert two.a.nodes(execution) == {"load": "success"}


def test_the_leader_that_restarts_remembers_what_runs_elsewhere(two: Two) -> None:
    execution = handed(two, command_task("one"))
    task_id = two.a.engine.memory.executions[execution].task.id
    two.a.restart()
    two.settle()
    assert two.a.engine.leads
    with pytest.raises(AlreadyRunning):
        two.a.operations.trigger(task_id, actor="me")
    two.b.end(execution)
    two.settle()
    assert two.a.status(execution) == "success"
    assert execution not in two.a.engine.memory.executions


def test_a_silent_follower_loses_what_it_drove(two: Two) -> None:
    execution = handed(two, command_task("one", action=retrying(1, 0)))
    for _ in range(5):
        two.a.tick(2)
    assert two.owner(execution) == two.a.engine.memory.engine_id
    assert two.a.engine.memory.executions[execution].retry_count == 1
    fenced = []
    two.b.engine.on_fenced = lambda: fenced.append(True)
    two.b.engine.ring()
    two.b.engine._thread.join(10)  # type: ignore[union-attr]
    assert fenced
    two.b.engine.ring()  # what comes after its end is nothing to a stop
    two.b.engine.stop()
    assert (execution, "terminated") in two.b.backend.terminated


def test_a_follower_takes_the_lead_of_a_silent_leader_with_all_it_knew(two: Two) -> None:
    execution = handed(two, command_task("one"))
    [scheduled] = two.a.define(command_task("each", schedule=EVERY_MINUTE))
    for _ in range(5):
        two.b.tick(2)
    assert two.b.engine.leads
    two.b.end(execution)
    assert two.b.status(execution) == "success"
    for _ in range(40):
        two.b.tick(2)
    with two.b.database.read() as connection:
        fired = connection.execute(
            text("SELECT count(*) FROM fires WHERE outcome = 'fired' AND task_id = :id"), {"id": scheduled}
        ).scalar()
    assert fired and fired >= 1
    two.a.engine.stop(keep_attempts=True)


def test_one_whose_folder_differs_is_handed_nothing(two: Two) -> None:
    two.b.engine.lease.drift = 3
    two.tick(2)
    two.tick(2)
    assert two.a.engine.lease.others == {}
    [task_id] = two.a.define(command_task("one"))
    execution = two.a.operations.trigger(task_id, actor="me")
    two.settle()
    assert two.owner(execution) == two.a.engine.memory.engine_id


def test_a_follower_decides_nothing(two: Two) -> None:
    [task_id] = two.a.define(command_task("one"))
    with pytest.raises(NotLeading):
        two.b.operations.trigger(task_id, actor="me")
    assert [entry.name for entry in two.b.operations.registry.by_id.values()] == ["one"]


class Wrong(SystemClock):
    """The clock of a machine that nobody has set."""

    def __init__(self, minutes: float) -> None:
        self._wrong = int(minutes * 60e6)

    def micros(self) -> int:
        return super().micros() + self._wrong


def test_where_clocks_differ_that_of_the_database_decides(tmp_path: Path) -> None:
    with fresh_database("postgresql", tmp_path) as url:
        found: list[tuple[int, int]] = []
        for name, minutes in (("ahead", 5), ("behind", -5), ("right", 0)):
            database = Database(url)
            clock = DatabaseClock(Wrong(minutes), database)
            with Harness(tmp_path / name, url=url, clock=clock, lease=1.0) as h:  # type: ignore[arg-type]
                if name == "ahead":
                    h.define(command_task("each", schedule=EVERY_SECOND, overlap=Overlap.ALLOW))
                end = SystemClock().monotonic() + 2.3
                while SystemClock().monotonic() < end:
                    h.engine.ring()
                    h.settle()
                assert h.engine.leads, "the lease of the one before is over, by the clock of the database"
                assert abs(h.clock.micros() - SystemClock().micros()) < 1_000_000
                with h.database.read() as connection:
                    found = [
                        tuple(row)
                        for row in connection.execute(
                            text("SELECT logical_time, recorded_time FROM fires WHERE outcome = 'fired'")
                        )
                    ]
            database.close()
        moments = sorted(moment for moment, _ in found)
        assert len(moments) == len(set(moments)) >= 6, "each instant fired once, whoever led"
        assert all(0 <= recorded - moment < 4_000_000 for moment, recorded in found)


def test_a_backfill_runs_elsewhere_a_few_at_a_time(two: Two) -> None:
    [task_id] = two.a.define(command_task("one", schedule=EVERY_MINUTE))
    minute = 60_000_000
    start = two.a.clock.micros() // minute * minute - 10 * minute
    moments = [start + number * minute for number in range(4)]
    made = two.a.operations.backfill(
        task_id, moments, span=(moments[0], moments[-1]), parallel=2, actor="me"
    )["executions"]
    two.settle()
    assert sorted(two.b.backend.active) == sorted(made.values())[:2]
    two.a.restart()
    two.settle()
    while two.b.backend.active:
        assert len(two.b.backend.active) <= 2
        two.b.end(next(iter(two.b.backend.active)))
        two.settle()
    assert {two.a.status(id_) for id_ in made.values()} == {"success"}
