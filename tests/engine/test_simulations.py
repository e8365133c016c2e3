"""What a simulation knows of tasks, and that it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.engine.conftest import EVERY_MINUTE
from tests.engine.test_pools import make_pool, pooled
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import After, Overlap, Overrides, WorkflowType
from zquant_flow.core.waits import On
from zquant_flow.core.workload import Kind, Work
from zquant_flow.engine.simulations import Simulations, gathered
from zquant_flow.engine.workloads import Known, works_of
from zquant_flow.errors import BadRequest, Busy
from zquant_flow.store.durations import Past
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

HOUR = 3_600_000_000


def known(number: int, definition: object, past: Past | None = None, **nodes: float) -> Known:
    return Known(task_id=number, definition=definition, past=past, nodes=nodes)  # type: ignore[arg-type]


def work_of(*all_known: Known) -> Work:
    return works_of(all_known, {})[0]


def test_a_task_takes_what_it_took_and_a_minute_where_it_never_ran() -> None:
    work = work_of(known(1, command_task("a", action=pooled("api")), Past(2.0, 5.0)))
    assert (work.usual, work.slow, work.slots, work.pools) == (2_000_000, 5_000_000, 1, (("api", 1),))
    assert work_of(known(1, command_task("a"))).usual == 60_000_000


@pytest.mark.parametrize(
    ("overlap", "runs", "limit"),
    [(Overlap.SKIP, None, 1), (Overlap.QUEUE, 3, 3), (Overlap.ALLOW, None, None)],
)
def test_overlap_and_its_limit_are_those_of_the_definition(
    overlap: Overlap, runs: int | None, limit: int | None
) -> None:
    work = work_of(known(1, command_task("a", overlap=overlap, max_active_runs=runs)))
    assert (work.overlap, work.limit) == (overlap, limit)


def test_a_workflow_is_as_wide_as_its_work_over_its_length() -> None:
    nodes = [command_node("a"), command_node("b"), command_node("c", "a", action=pooled("api"))]
    parallel = workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL)
    # a 10 and b 20 beside each other, then c 10: 40 s of work in 20 s
    work = work_of(known(1, parallel, a=10.0, b=20.0, c=10.0))
    assert (work.usual, work.slots, work.pools) == (20_000_000, 2, (("api", 1),))
    assert work_of(known(1, parallel, Past(40.0, 60.0), a=10.0, b=20.0, c=10.0)).slots == 1
    serial = work_of(known(1, workflow_task("w", nodes), a=10.0, b=20.0, c=10.0))
    assert (serial.usual, serial.slots) == (40_000_000, 1)
    bounded = work_of(
        known(1, workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL, max_parallel=1))
    )
    assert (bounded.usual, bounded.slots) == (180_000_000, 1)


def test_a_node_that_refers_to_a_task_takes_what_that_one_takes() -> None:
    nodes = [
        command_node("a", task="sync"),
        command_node("b", "a", task="sync", overrides=Overrides(pool="slow")),
    ]
    sync = known(2, command_task("sync", action=pooled("api"), produces=("bars",)), Past(30.0, 30.0))
    work = work_of(known(1, workflow_task("w", nodes)), sync)
    assert work.usual == 60_000_000
    assert work.pools == (("api", 1), ("slow", 1))
    assert work.gives == ("task:w", "task:sync", "task:sync", "data:bars", "data:bars")


def test_who_waits_for_a_failure_waits_for_nothing_here() -> None:
    after = After(tasks=("a",), within=timedelta(hours=1))
    assert work_of(known(1, command_task("b", after=after))).waits_for == ("task:a",)
    assert work_of(known(1, command_task("b", after=after))).waits_within == HOUR
    assert work_of(known(1, command_task("b", after=replace(after, on=On.FAILURE)))).waits_for == ()


def dump(h: Harness) -> dict[str, list[tuple[object, ...]]]:
    with h.database.read() as connection:
        names = (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        )
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))] for name in names
        }


def test_a_simulation_tells_of_what_is_registered_and_leaves_no_trace(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        make_pool(h, 1)
        every, other, off, *_ = h.define(
            command_task("every", schedule=EVERY_MINUTE, action=pooled()),
            command_task("other", schedule=EVERY_MINUTE, action=pooled()),
            command_task("off", schedule=EVERY_MINUTE),
            command_task("later", after=After(tasks=("every",))),
            command_task("by-hand"),
            command_task("alarm", after=After(tasks=("every",), on=On.FAILURE)),
        )
        h.operations.pause(off, actor="me")
        h.operations.disable(other, actor="me")
        h.operations.enable(other, actor="me")
        h.end(h.operations.trigger(every, actor="me"))
        start = to_micros(h.clock.now())
        before, files = dump(h), sorted(tmp_path.rglob("*"))
        facts = gathered(h.engine, h.database, h.operations.registry, start + HOUR)
        assert (facts.idle, facts.unknown) == (["off"], ["alarm"])
        assert facts.assumed == ["other", "later"]
        report = Simulations().run(facts, start + 1, start + HOUR, slots=4, pools={"api": 1})
        assert [work.name for work in facts.works] == ["every", "other", "later"]
        assert list(report.fires) == [60, 60, 0]
        # `every` takes no time, `other` a minute, and both need the one place: each fire of `every` after the first waits
        waits = [(found.task, found.kind) for found in report.usual.findings]
        assert (("other", Kind.POOL) in waits) or (("every", Kind.POOL) in waits)
        assert dump(h) == before
        assert sorted(tmp_path.rglob("*")) == files


def test_one_simulation_at_a_time() -> None:
    simulations = Simulations()
    simulations._busy.acquire()
    with pytest.raises(Busy, match="under way"):
        simulations.run(None, 0, 1, slots=1, pools={})  # type: ignore[arg-type]


def test_what_the_process_refuses_is_told_here(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        ids = h.define(*(command_task(f"t{number}", schedule=EVERY_MINUTE) for number in range(40)))
        start = to_micros(h.clock.now())
        facts = gathered(h.engine, h.database, h.operations.registry, start)
        assert len(facts.works) == len(ids)
        with pytest.raises(BadRequest, match="5,760,040 fires are more than"):
            Simulations().run(facts, start, start + 100 * 24 * HOUR, slots=1, pools={})
