"""What comes from outside starts tasks: each once, none lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zquant_flow.core.model import Action, After, Overlap, Webhook
from zquant_flow.core.params import Param, ParamType
from zquant_flow.engine.events import QUEUE_LIMIT
from zquant_flow.engine.keys import Key
from zquant_flow.errors import Conflict, HookNotFound, KeyReused, ParamsError, WrongState
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

HOOK = Webhook(name="h", params={"table": {"$expr": "event.body.table"}})


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        yield harness


def event(**body):
    return {"kind": "webhook", "name": "h", "type": None, "body": body}


def call(h: Harness, task_id: int, key: Key | None = None, **body) -> int:
    return h.operations.call_hook(task_id, event(**body), actor="hook:h", key=key)


def row_of(h: Harness, execution_id: int):
    row = queries.execution_row(h.database, execution_id)
    assert row is not None
    return row


def hooked(name: str = "t", **keys):
    return command_task(name, webhook=HOOK, **keys)


def echo(text: str) -> Action:
    return Action(executor="command", config={"command": ["echo", text]})


def test_a_request_to_a_webhook_is_an_execution_with_its_event_and_params(h: Harness) -> None:
    [task_id] = h.define(hooked())
    row = row_of(h, call(h, task_id, table="bars"))
    assert (row.trigger_type, row.created_by, row.logical_time) == ("event", "hook:h", None)
    assert json.loads(row.params) == {"table": "bars"}
    assert json.loads(row.event) == event(table="bars")


def test_templates_of_all_nodes_know_the_event_also_after_a_crash(h: Harness) -> None:
    node = command_node("b", "a", action=echo("{{ event.body.table }}"))
    [task_id] = h.define(replace(workflow_task("flow", [command_node("a"), node]), webhook=HOOK))
    call(h, task_id, table="bars")
    h.restart()
    h.end(h.backend.node("a"))
    assert h.backend.active[h.backend.node("b")]["config"] == {"command": ["echo", "bars"]}


def test_what_the_task_does_not_take_is_refused_and_leaves_nothing(h: Harness) -> None:
    specs = {"table": Param(type=ParamType.STRING, required=True)}
    [task_id] = h.define(hooked(param_specs=specs))
    with pytest.raises(ParamsError, match="there is no 'table'") as missing:
        call(h, task_id)
    assert missing.value.facts["field"] == "params.table"
    with pytest.raises(ParamsError, match="is no string"):
        call(h, task_id, table=[1])
    assert h.backend.orders == []
    assert call(h, task_id, table="bars")


def test_a_delivery_that_comes_again_does_nothing(h: Harness) -> None:
    [task_id] = h.define(hooked(overlap=Overlap.ALLOW))
    key = Key("d-1", "hook:h", "print")
    first = call(h, task_id, key, table="a")
    h.restart()
    assert call(h, task_id, key, table="a") == first
    with pytest.raises(KeyReused):
        call(h, task_id, Key("d-1", "hook:h", "another"), table="b")
    assert call(h, task_id, Key("d-2", "hook:h", "print"), table="a") != first


def test_requests_wait_for_a_busy_task_up_to_a_limit(h: Harness) -> None:
    [task_id] = h.define(hooked())
    made = [call(h, task_id, table=str(number)) for number in range(QUEUE_LIMIT + 1)]
    assert list(h.backend.active) == made[:1]
    assert row_of(h, made[1]).waiting_for == "overlap"
    with pytest.raises(Conflict, match="100 executions waiting"):
        call(h, task_id, table="more")
    h.end(made[0])
    assert list(h.backend.active) == made[1:2]


@pytest.mark.parametrize("flow", [False, True])
def test_what_comes_while_a_task_is_paused_begins_when_it_is_resumed(h: Harness, flow: bool) -> None:
    made = replace(workflow_task("t", [command_node("a")]), webhook=HOOK) if flow else hooked()
    [task_id] = h.define(made)
    h.operations.pause(task_id, actor="me")
    execution = call(h, task_id, table="a")
    assert h.backend.orders == []
    h.restart()
    assert (h.backend.orders, h.status(execution)) == ([], "pending")
    h.operations.resume(task_id, actor="me")
    assert len(h.backend.orders) == 1
    assert h.status(execution) == "running"


def test_a_disabled_task_takes_nothing_and_one_without_webhook_has_none(h: Harness) -> None:
    [task_id, plain] = h.define(hooked(), command_task("plain"))
    h.operations.disable(task_id, actor="me")
    with pytest.raises(WrongState, match="is disabled"):
        call(h, task_id, table="a")
    for refused in (lambda: call(h, plain), lambda: h.operations.rotate_hook(plain, actor="me")):
        with pytest.raises(HookNotFound, match="has no webhook"):
            refused()


def test_a_rotated_secret_stays_so_over_a_change_of_the_file_and_a_restart(h: Harness) -> None:
    [task_id] = h.define(hooked())
    assert h.operations.rotate_hook(task_id, actor="me") == 1
    h.define(hooked(description="another"))
    h.restart()
    assert h.operations.rotate_hook(task_id, actor="me") == 2


def test_a_resumed_execution_keeps_its_event(h: Harness) -> None:
    [task_id] = h.define(hooked())
    first = call(h, task_id, table="a")
    h.end(first, "failed")
    again = h.operations.resume_execution(first, actor="me")
    assert json.loads(row_of(h, again).event)["body"] == {"table": "a"}


def test_what_runs_after_others_knows_which_executions_led_to_it(h: Harness) -> None:
    after = After(tasks=("a", "b"))
    ids = h.define(
        command_task("a"),
        command_task("b"),
        command_task("c", after=after, action=echo("{{ event.executions.b }}")),
    )
    first, second = (h.operations.trigger(task_id, actor="me") for task_id in ids[:2])
    h.end(first)
    h.end(second)
    [order] = [order for order in h.backend.active.values() if order["task"] == "c"]
    assert order["config"] == {"command": ["echo", str(second)]}
    told = {"kind": "after", "executions": {"a": first, "b": second}, "data": {}}
    assert json.loads(row_of(h, order["id"]).event) == told


def test_one_that_no_event_started_has_an_event_of_no_kind(h: Harness) -> None:
    [task_id] = h.define(command_task("t", action=echo("{{ event.kind is none }}")))
    execution = h.operations.trigger(task_id, actor="me")
    assert h.backend.active[execution]["config"] == {"command": ["echo", "true"]}
