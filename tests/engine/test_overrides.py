"""What a node changes of the task that it refers to."""

from __future__ import annotations

from datetime import timedelta

from tests.engine.conftest import Harness
from zquant_flow.core.model import (
    Action,
    Backoff,
    Isolation,
    OnFailure,
    Overrides,
    RetryPolicy,
    content_hash,
    decode,
    encode,
    overridden,
)
from zquant_flow.engine.letters import _stands_alone
from zquant_flow.testing import command_node, command_task, workflow_task


def test_what_the_node_says_wins_and_the_rest_is_the_tasks() -> None:
    action = Action(
        executor="command",
        config={"command": "true"},
        env={"A": "1", "B": "2"},
        timeout=timedelta(seconds=5),
        retry=RetryPolicy(max_retries=2, interval=timedelta(seconds=7)),
        priority=3,
    )
    found = overridden(action, Overrides(env={"B": "3"}, max_retries=0, pool="p", isolation=Isolation.THREAD))
    assert found.env == {"A": "1", "B": "3"}
    assert found.retry == RetryPolicy(max_retries=0, interval=timedelta(seconds=7))
    assert (found.timeout, found.priority, found.pool) == (timedelta(seconds=5), 3, "p")
    assert overridden(action, Overrides(unbounded=True)).timeout is None
    assert overridden(action, None) is action


def test_overrides_survive_the_database_and_old_definitions_keep_their_hash() -> None:
    plain = workflow_task("w", [command_node("a", task="t")])
    assert encode(plain)["workflow"]["nodes"] == [{"name": "a", "task": "t"}]
    by = Overrides(
        unbounded=True,
        max_retries=0,
        retry_interval=timedelta(seconds=1),
        retry_backoff=Backoff(factor=3.0),
        priority=0,
        pool="p",
        env={"A": "1"},
        working_dir="x",
        isolation=Isolation.PROCESS,
    )
    changed = workflow_task(
        "w", [command_node("a", task="t", overrides=by, fail_on_partial=True, group="g/h")]
    )
    assert decode(encode(changed)) == changed
    assert content_hash(encode(changed)) != content_hash(encode(plain))


def test_a_node_runs_the_task_with_its_own_bounds_also_after_a_restart(h: Harness) -> None:
    h.define(command_task("t"))
    by = Overrides(
        timeout=timedelta(seconds=9), env={"A": "1"}, max_retries=1, retry_interval=timedelta(seconds=30)
    )
    [task] = h.define(workflow_task("w", [command_node("a", task="t", overrides=by)]))
    run = h.operations.trigger(task, actor="me")
    child = h.backend.node("a")
    assert h.backend.active[child]["timeout"] == 9
    assert h.backend.active[child]["env"]["A"] == "1"
    h.restart()
    h.end(child, "failed")
    assert h.nodes(run) == {"a": "pending"}
    h.tick(30)
    assert h.backend.active[child]["timeout"] == 9
    h.end(child)
    assert h.status(run) == "success"


def test_the_task_itself_is_as_it_was(h: Harness) -> None:
    [task] = h.define(command_task("t"))
    h.define(
        workflow_task("w", [command_node("a", task="t", overrides=Overrides(timeout=timedelta(seconds=9)))])
    )
    run = h.operations.trigger(task, actor="me")
    assert h.backend.active[run]["timeout"] == 3600


def test_an_execution_that_its_node_has_changed_is_not_handed_over(h: Harness) -> None:
    h.define(command_task("t"))
    nodes = [command_node("a", task="t", overrides=Overrides(priority=1))]
    [task] = h.define(workflow_task("w", nodes))
    h.operations.trigger(task, actor="me")
    assert not _stands_alone(h.engine.memory.executions[h.backend.node("a")], h.engine.memory.takers)


def test_a_node_takes_a_place_in_the_pool_it_names(h: Harness) -> None:
    h.define(command_task("t"))
    workflow = workflow_task("w", [command_node("a", task="t", overrides=Overrides(pool="p"))])
    assert h.define(workflow) == []
    [error] = h.operations.registry.errors["w.yaml"]
    assert (error.code, error.field) == ("unknown_pool", "tasks.0.pool")
    h.operations.put_pool("p", 1, None, actor="me")
    run = h.operations.trigger(h.operations.registry.by_name["w"].id, actor="me")
    [pool] = h.operations.pools()
    assert pool["executions"] == [h.backend.node("a")]
    h.end(h.backend.node("a"))
    assert h.status(run) == "success"


def test_a_node_changes_nothing_of_a_workflow(h: Harness) -> None:
    h.define(workflow_task("inner", [command_node("a")]))
    assert (
        h.define(workflow_task("w", [command_node("i", task="inner", overrides=Overrides(priority=1))])) == []
    )
    [error] = h.operations.registry.errors["w.yaml"]
    assert (error.code, error.field) == ("conflict", "tasks.0.priority")
    h.define(command_task("t"))
    assert h.define(workflow_task("v", [command_node("t", task="t", fail_on_partial=True)])) == []
    [error] = h.operations.registry.errors["v.yaml"]
    assert (error.code, error.field) == ("conflict", "tasks.0.fail_on_partial")


def test_a_nested_workflow_that_ended_partly_is_a_success_unless_the_node_says_no(h: Harness) -> None:
    inner = workflow_task("inner", [command_node("bad"), command_node("good")], on_failure=OnFailure.CONTINUE)
    h.define(inner)
    for name, strict, expected in (("lax", False, "success"), ("strict", True, "failed")):
        nodes = [command_node("i", task="inner", fail_on_partial=strict), command_node("after", "i")]
        [task] = h.define(workflow_task(name, nodes))
        run = h.operations.trigger(task, actor="me")
        h.end(h.backend.node("bad"), "failed")
        h.restart()
        h.end(h.backend.node("good"))
        if not strict:
            h.end(h.backend.node("after"))
        assert h.status(run) == expected
        assert h.nodes(run)["i"] == "completed"
