"""What an attempt of `wait` is told: the zone of its task, and how far the task is that it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.databases import KINDS, fresh_database
from zquant_flow.core.model import Action, Isolation, Rule, Schedule
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.engine.awaited import tasks_awaited
from zquant_flow.executors.installed import built_in
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

MIDNIGHT = "2026-01-05T12:00:00+00:00"
FIRES = Schedule(rules=(Rule(cron="0 12 * * *"),), timezone="Asia/Shanghai")


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as made:
        yield made


def waiting(**config: Any) -> Action:
    return Action(executor="wait", config=config, isolation=Isolation.THREAD)


def order(h: Harness, task_id: int, **keys: Any) -> dict[str, Any]:
    return h.backend.active[h.operations.trigger(task_id, actor="me", **keys)]


def test_it_is_told_the_zone_of_its_task_or_of_the_workflow_around_it(h: Harness) -> None:
    (own,) = h.define(command_task("own", action=waiting(time="12:00"), schedule=FIRES))
    (other,) = h.define(command_task("other", action=waiting(time="12:00")))
    (flow,) = h.define(
        workflow_task("flow", [command_node("a", action=waiting(time="12:00"))], schedule=FIRES)
    )
    assert order(h, own)["zone"] == "Asia/Shanghai"
    told = order(h, other)
    assert (told["zone"], "seen" in told) == ("UTC", False)
    h.operations.trigger(flow, actor="me")
    assert h.backend.active[h.backend.node("a")]["zone"] == "Asia/Shanghai"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_told_of_the_run_for_the_same_instant(tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url, Harness(tmp_path, url=url) as h:
        (upstream,) = h.define(command_task("upstream"))
        (task_id,) = h.define(command_task("sensor", action=waiting(task="upstream")))
        moment = h.clock.now()
        one = h.operations.trigger(task_id, actor="me", logical_time=moment)
        assert h.backend.active[one]["seen"] == {"known": True}
        run = h.operations.trigger(upstream, actor="me", logical_time=moment)
        h.end(one, "deferred", after=30)
        h.tick(31)
        assert (h.backend.active[one]["seen"]["status"], h.backend.active[one]["seen"]["ended"]) == (
            "running",
            None,
        )
        h.end(run)
        other = h.operations.trigger(upstream, actor="me", logical_time=moment + timedelta(hours=1))
        h.end(other, "failed", error="no")
        h.end(one, "deferred", after=30)
        h.tick(31)
        seen = h.backend.active[one]["seen"]
        assert (seen["execution_id"], seen["status"], seen["known"]) == (run, "success", True)
        assert seen["logical_time"] == MIDNIGHT
        assert seen["ended"] > MIDNIGHT


def test_with_since_it_is_told_of_the_newest_success(h: Harness) -> None:
    (upstream,) = h.define(command_task("upstream"))
    (task_id,) = h.define(command_task("sensor", action=waiting(task="upstream", since="1d")))
    assert order(h, task_id)["seen"] == {"known": True}
    good = h.operations.trigger(upstream, actor="me")
    h.end(good)
    h.end(h.operations.trigger(upstream, actor="me"), "failed", error="no")
    (again,) = h.define(command_task("again", action=waiting(task="upstream", since="1d")))
    assert order(h, again)["seen"]["execution_id"] == good


def test_a_task_that_is_not_there_is_told_as_unknown(h: Harness) -> None:
    sensor = command_task("sensor", action=waiting(task="upstraem"))
    (task_id,) = h.define(sensor)
    assert order(h, task_id)["seen"] == {"known": False}
    flow = workflow_task("flow", [command_node("a", action=waiting(task="b")), command_node("c")])
    assert (tasks_awaited(sensor), tasks_awaited(flow)) == ({"upstraem"}, {"b"})
    assert tasks_awaited(command_task("t", action=waiting(task="{{ params.name }}"))) == set()


def isolation(**raw: Any) -> Isolation:
    parsed = parse_definition({"name": "a", **raw}, origin="file", executors=built_in().configs).task
    assert parsed.action is not None
    return parsed.action.isolation


def test_a_task_that_says_no_isolation_has_that_of_its_executor() -> None:
    assert isolation(executor="wait", config={"file": "a"}) is Isolation.THREAD
    assert isolation(executor="wait", config={"file": "a"}, isolation="process") is Isolation.PROCESS
    assert isolation(executor="example") is Isolation.PROCESS
    assert isolation(command="true") is Isolation.PROCESS
