"""What is kept by an attempt, who goes on from it, and when does it go?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import retrying
from zquant_flow.core.model import Action, ForEach, OnFailure, RetryPolicy, WorkflowType
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

AT_ONCE: dict[str, Any] = {"workflow_type": WorkflowType.PARALLEL, "on_failure": OnFailure.CONTINUE}


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def python(function: str = "main", retries: int = 0) -> Action:
    config = {"module": "m", "function": function}
    return Action(executor="python", config=config, retry=RetryPolicy(max_retries=retries))


def order_of(h: Harness, execution_id: int) -> dict[str, Any]:
    return h.backend.active[execution_id]


def keep(h: Harness, execution_id: int, state: Any = 1) -> Path:
    """What its attempt does at a checkpoint."""
    path = Path(order_of(h, execution_id)["state"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(state))
    return path


def fail(h: Harness, execution_id: int) -> str:
    """It keeps something and fails; where that is kept."""
    path = keep(h, execution_id)
    h.end(execution_id, "failed")
    return str(path)


def begun(h: Harness, task: int) -> int:
    return h.operations.trigger(task, actor="me")


def resumed(h: Harness, execution_id: int) -> int:
    return h.operations.resume_execution(execution_id, actor="me")


def test_attempts_of_an_execution_share_what_they_keep_until_one_succeeds(h: Harness) -> None:
    [task] = h.define(command_task("daily", action=python(retries=1)))
    number = begun(h, task)
    path = keep(h, number)
    h.end(number, "failed")
    h.restart()
    h.tick(60)
    order = order_of(h, number)
    assert (order["attempt"], order["state"], path.exists()) == (2, str(path), True)
    assert "state_from" not in order
    h.end(number)
    assert (h.status(number), path.exists()) == ("success", False)


def test_commands_keep_nothing(h: Harness) -> None:
    [task] = h.define(command_task("daily", action=retrying(0)))
    assert "state" not in order_of(h, begun(h, task))


def test_a_resumed_task_has_what_all_before_it_have_kept_the_latest_first(h: Harness) -> None:
    [task] = h.define(command_task("daily", action=python()))
    first = begun(h, task)
    one = fail(h, first)
    second = resumed(h, first)
    assert order_of(h, second)["state_from"] == [one]
    two = fail(h, second)
    h.restart()
    third = resumed(h, second)
    assert order_of(h, third)["state_from"] == [two, one]
    assert order_of(h, third)["state"] not in (one, two)


def test_another_function_begins_anew_and_another_timetable_does_not(h: Harness) -> None:
    task = command_task("daily", action=python())
    [number] = h.define(task)
    first = begun(h, number)
    one = fail(h, first)
    h.define(replace(task, description="new", action=python(retries=3)))
    second = resumed(h, first)
    assert order_of(h, second)["state_from"] == [one]
    h.end(second, "terminated")
    h.define(replace(task, action=python("other")))
    assert "state_from" not in order_of(h, resumed(h, second))


def test_a_node_has_what_the_same_node_has_kept(h: Harness) -> None:
    nodes = [command_node(name, action=python(name)) for name in ("a", "b")]
    [task] = h.define(workflow_task("flow", nodes))
    root = begun(h, task)
    h.end(h.backend.node("a"))
    one = fail(h, h.backend.node("b"))
    again = resumed(h, root)
    assert order_of(h, h.backend.node("b"))["state_from"] == [one]
    h.end(h.backend.node("b"))
    h.operations.rerun(again, "b", actor="me")
    assert "state_from" not in order_of(h, h.backend.node("b"))  # it succeeded: this is another time


def test_a_node_that_has_changed_begins_anew(h: Harness) -> None:
    [task] = h.define(workflow_task("flow", [command_node("a", action=python())]))
    root = begun(h, task)
    fail(h, h.backend.node("a"))
    h.define(workflow_task("flow", [command_node("a", action=python("other"))]))
    resumed(h, root)
    assert "state_from" not in order_of(h, h.backend.node("a"))


def test_an_item_has_what_the_same_item_has_kept_unless_two_are_alike(h: Harness) -> None:
    each = ForEach(items=("x", "y", "z", "z"))
    [task] = h.define(workflow_task("flow", [command_node("n", action=python(), for_each=each)], **AT_ONCE))
    root = begun(h, task)
    kept = {}
    for index in (1, 2, 3, 0):
        kept[index] = fail(h, h.backend.node(f"n[{index}]"))
    changed = replace(each, items=("y", "z"))
    h.define(workflow_task("flow", [command_node("n", action=python(), for_each=changed)], **AT_ONCE))
    resumed(h, root)
    assert order_of(h, h.backend.node("n[0]"))["state_from"] == [kept[1]]
    h.end(h.backend.node("n[0]"))
    assert "state_from" not in order_of(h, h.backend.node("n[1]"))
