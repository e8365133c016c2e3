"""Pools over a real database: who waits, what a restart finds, and what an unknown pool does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Harness
from zquant_flow.core.model import Action, RetryPolicy, WorkflowType
from zquant_flow.engine.explain import explain
from zquant_flow.engine.letters import _stands_alone
from zquant_flow.errors import PoolInSettings, PoolInUse, PoolNotFound
from zquant_flow.store import queries
from zquant_flow.testing import command_node, command_task, workflow_task


def pooled(name: str = "api", **keys: object) -> Action:
    return Action(executor="command", config={"command": "true"}, pool=name, **keys)  # type: ignore[arg-type]


def make_pool(h: Harness, slots: int, name: str = "api") -> None:
    h.operations.put_pool(name, slots, None, actor="me")


def triggered(h: Harness, count: int) -> list[int]:
    """Executions of so many tasks of the pool."""
    ids = [h.define(command_task(f"t{number}", action=pooled()))[0] for number in range(count)]
    return [h.operations.trigger(id_, actor="me") for id_ in ids]


def test_attempts_share_a_pool_and_its_next_place_goes_to_the_next(h: Harness) -> None:
    make_pool(h, 2)
    first, second, third, fourth = triggered(h, 4)
    assert [h.status(id_) for id_ in (first, second, third, fourth)] == [
        *("running", "running", "pending", "pending")
    ]
    assert queries.execution_row(h.database, third).waiting_for == "pool"
    h.end(first)
    assert h.status(third) == "running"
    assert h.status(fourth) == "pending"
    h.end(second, "failed")
    assert h.status(fourth) == "running"


def test_a_retry_waits_without_its_place_and_asks_for_it_again(h: Harness) -> None:
    make_pool(h, 1)
    action = pooled(retry=RetryPolicy(max_retries=1))
    [one] = h.define(command_task("one", action=action))
    [two] = h.define(command_task("two", action=pooled()))
    failing = h.operations.trigger(one, actor="me")
    other = h.operations.trigger(two, actor="me")
    h.end(failing, "failed")
    assert h.status(other) == "running"
    h.tick(60)
    assert queries.execution_row(h.database, failing).waiting_for == "pool"
    h.end(other)
    assert h.status(failing) == "running"


def test_a_node_holds_a_place_and_its_workflow_none(h: Harness) -> None:
    make_pool(h, 1)
    nodes = [command_node(name, action=pooled()) for name in "abc"]
    [task] = h.define(workflow_task("w", nodes, workflow_type=WorkflowType.PARALLEL))
    run = h.operations.trigger(task, actor="me")
    assert h.nodes(run) == {"a": "running"}
    for name in "abc":
        h.end(h.backend.node(name))
    assert h.status(run) == "success"


def test_a_restart_finds_the_places_taken(h: Harness) -> None:
    make_pool(h, 1)
    first, second = triggered(h, 2)
    h.restart()
    assert [h.status(id_) for id_ in (first, second)] == ["running", "pending"]
    [pool] = h.operations.pools()
    assert (pool["used"], pool["waiting"], pool["executions"]) == (1, 1, [first])
    h.end(first)
    assert h.status(second) == "running"


def test_a_paused_attempt_keeps_its_place(h: Harness) -> None:
    make_pool(h, 1)
    first, second = triggered(h, 2)
    h.operations.pause_execution(first, actor="me")
    h.settle()
    assert [h.status(id_) for id_ in (first, second)] == ["paused", "pending"]


def test_a_terminated_attempt_gives_its_place_back(h: Harness) -> None:
    make_pool(h, 1)
    first, second = triggered(h, 2)
    h.operations.terminate(first, actor="me")
    h.settle()
    assert h.status(second) == "running"


def test_a_pool_that_shrinks_drains_and_one_that_grows_starts_what_waits(h: Harness) -> None:
    make_pool(h, 2)
    first, second, third = triggered(h, 3)
    make_pool(h, 0)
    h.end(first)
    h.end(second)
    assert h.status(third) == "pending"
    make_pool(h, 1)
    h.settle()
    assert h.status(third) == "running"


def test_a_task_of_an_unknown_pool_is_a_load_error_until_the_pool_is_made(h: Harness) -> None:
    assert h.define(command_task("t", action=pooled("apy"))) == []
    [error] = h.operations.registry.errors["t.yaml"]
    assert (error.code, error.field) == ("unknown_pool", "pool")
    make_pool(h, 1, "apy")
    assert not h.operations.registry.errors
    assert "t" in h.operations.registry.by_name


def test_the_error_names_the_node_and_the_pool_that_was_meant(h: Harness) -> None:
    make_pool(h, 1, "tushare")
    assert h.define(workflow_task("w", [command_node("a"), command_node("b", action=pooled("tushar"))])) == []
    [error] = h.operations.registry.errors["w.yaml"]
    assert error.field == "tasks.1.pool"
    assert "did you mean 'tushare'?" in error.message


def test_a_pool_in_use_is_not_deleted(h: Harness) -> None:
    make_pool(h, 1)
    h.define(command_task("t", action=pooled()))
    with pytest.raises(PoolInUse, match="in use by t"):
        h.operations.delete_pool("api", actor="me")
    with pytest.raises(PoolNotFound, match="did you mean 'api'"):
        h.operations.delete_pool("apii", actor="me")
    h.operations.register([], ["t.yaml"])
    h.operations.delete_pool("api", actor="me")
    assert h.operations.pools() == []


def test_a_pool_of_the_settings_is_changed_there_alone(tmp_path: Path) -> None:
    with Harness(tmp_path, pools={"gpu": 1}) as h:
        [pool] = h.operations.pools()
        assert (pool["name"], pool["slots"], pool["source"]) == ("gpu", 1, "settings")
        for refused in (
            lambda: h.operations.put_pool("gpu", 2, None, actor="me"),
            lambda: h.operations.delete_pool("gpu", actor="me"),
        ):
            with pytest.raises(PoolInSettings, match=r"zquant-flow\.toml"):
                refused()


def test_a_pool_that_has_left_the_settings_stops_its_tasks_and_says_so(tmp_path: Path) -> None:
    with Harness(tmp_path, pools={"gpu": 1}) as h:
        [task] = h.define(command_task("t", action=pooled("gpu")))
        h._options["pools"] = {}
        h.restart()
        execution = h.operations.trigger(task, actor="me")
        assert h.status(execution) == "pending"
        [error] = h.operations.registry.errors["t.yaml"]
        assert "which is gone" in error.message
        h.operations.put_pool("gpu", 1, "cards", actor="me")
        h.settle()
        assert h.status(execution) == "running"
        assert not h.operations.registry.errors


def test_explain_tells_who_holds_the_pool_and_how_many_come_before(h: Harness) -> None:
    make_pool(h, 1)
    first, _, third = triggered(h, 3)
    task = h.operations.registry.by_name["t2"]
    reasons = explain(
        queries.task_row(h.database, task.id),
        task.definition,
        active=queries.active_of(h.database, [task.id])[task.id],
        last_entry=None,
        errors=(),
        used_by=(),
        slots=h.engine.slots(),
        standing=h.operations.standing("api", [third]),
    )
    assert reasons[0].code == "waiting_for_pool"
    assert reasons[0].detail == (
        f"execution {third} is pending: it waits for the pool 'api': "
        f"1 of 1 places are in use (by: {first}), 1 wait before it"
    )


def test_what_uses_a_pool_is_driven_by_the_engine_that_counts_it(h: Harness) -> None:
    make_pool(h, 1)
    h.define(command_task("t", action=pooled()))
    h.define(workflow_task("w", [command_node("a", action=pooled())]))
    h.define(command_task("free"))
    by_name = h.engine.memory.by_name
    for name, alone in (("t", False), ("w", False), ("free", True)):
        run = h.operations.trigger(by_name[name].id, actor="me")
        assert _stands_alone(h.engine.memory.executions[run], h.engine.memory.takers) is alone
