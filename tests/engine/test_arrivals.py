"""What comes from outside starts tasks: each once, none lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from zquant_flow.core.model import Action, After, OnFile, Overlap, Webhook
from zquant_flow.core.params import Param, ParamType
from zquant_flow.engine.events import QUEUE_LIMIT
from zquant_flow.engine.found_files import FileFacts
from zquant_flow.engine.keys import Key
from zquant_flow.errors import Conflict, HookNotFound, KeyReused, ParamsError, WrongState
from zquant_flow.store import queries, seen_files
from zquant_flow.store.tables import audit
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


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def waiting(name: str = "t", **keys):
    return command_task(name, on_file=OnFile(glob="in/*"), **keys)


def file(h: Harness, name: str = "a", *, size: int = 1, seconds: float = 1.0) -> FileFacts:
    """A file that has come to be so long after now."""
    moment = int(h.clock.micros() + seconds * 1e6) * 1000
    return FileFacts(f"/in/{name}", size, moment, moment)


def seen(h: Harness, task_id: int) -> list[str]:
    return sorted(seen_files.all_of(h.database, task_id))


def test_a_file_is_an_execution_with_its_path_and_once_only(h: Harness) -> None:
    [task_id] = h.define(waiting(overlap=Overlap.ALLOW))
    one = file(h)
    assert h.operations.take_files(task_id, [one]) == [one]
    [order] = h.backend.orders
    row = row_of(h, order["id"])
    assert (row.trigger_type, json.loads(row.params)) == ("event", {"file": "/in/a"})
    assert json.loads(row.event) == {
        "kind": "file",
        "file": "/in/a",
        "size": 1,
        "modified": "2026-01-05T12:00:01+00:00",
    }
    for _ in range(2):
        assert h.operations.take_files(task_id, [one]) == [one]
        h.restart()
    assert len(h.backend.orders) == 1
    assert h.operations.take_files(task_id, [file(h, size=2)])
    assert (len(h.backend.orders), seen(h, task_id)) == (2, ["/in/a"])


def test_what_was_there_before_a_task_waited_for_it_starts_nothing(h: Harness) -> None:
    [task_id] = h.define(command_task("t"))
    h.clock.advance(100)
    h.define(waiting())
    assert h.operations.take_files(task_id, [file(h, "old", seconds=-1.0)])
    assert (h.backend.orders, seen(h, task_id)) == ([], ["/in/old"])
    h.clock.advance(100)
    h.define(waiting(description="the same files"))
    h.restart()
    assert h.operations.take_files(task_id, [file(h, "new", seconds=-1.0)])
    assert len(h.backend.orders) == 1
    h.define(command_task("t", on_file=OnFile(glob="other/*")))
    assert h.operations.take_files(task_id, [file(h, "older", seconds=-1.0)])
    assert len(h.backend.orders) == 1


def test_what_comes_while_a_task_is_disabled_starts_nothing_also_later(h: Harness) -> None:
    [task_id] = h.define(waiting())
    h.operations.disable(task_id, actor="me")
    one = file(h)
    h.operations.take_files(task_id, [one])
    h.operations.enable(task_id, actor="me")
    assert h.operations.take_files(task_id, [one]) == [one]
    assert h.backend.orders == []


def test_files_wait_for_a_busy_task_and_those_without_room_come_again(h: Harness) -> None:
    [task_id] = h.define(waiting())
    files = [file(h, f"{number:03}") for number in range(QUEUE_LIMIT + 5)]
    taken = h.operations.take_files(task_id, files)
    assert taken == files[: QUEUE_LIMIT + 1]
    assert len(seen(h, task_id)) == QUEUE_LIMIT + 1
    h.end(h.backend.orders[0]["id"])
    assert h.operations.take_files(task_id, files[QUEUE_LIMIT + 1 :]) == files[QUEUE_LIMIT + 1 :][:1]
    assert [order["params"]["file"] for order in h.backend.orders] == ["/in/000", "/in/001"]


def test_a_typed_task_takes_the_path_if_it_says_so_and_nothing_is_lost_in_silence(h: Harness) -> None:
    number, text = Param(type=ParamType.INTEGER), Param(type=ParamType.STRING)
    asks = {"file": replace(text, required=True), "n": replace(number, required=True)}
    first, second, third = h.define(
        waiting("a", param_specs={"n": number}),
        waiting("b", param_specs={"file": text}),
        waiting("c", param_specs=asks),
    )
    for task_id in (first, second, third):
        assert h.operations.take_files(task_id, [file(h)])
    assert [order.get("params") for order in h.backend.orders] == [None, {"file": "/in/a"}]
    with h.database.read() as connection:
        detail = connection.execute(
            select(audit.c.detail).where(audit.c.action == "file_refused", audit.c.task_id == third)
        ).scalar_one()
    assert detail == "/in/a: n is required"


def test_files_of_tasks_that_wait_for_none_any_more_are_forgotten(h: Harness) -> None:
    first, second = h.define(waiting("a"), waiting("b"))
    for task_id in (first, second):
        h.operations.take_files(task_id, [file(h), file(h, "b")])
    h.operations.forget_files(first, ["/in/a"])
    h.operations.forget_other_files([first])
    assert (seen(h, first), seen(h, second)) == (["/in/b"], [])
    assert h.operations.take_files(99, [file(h)]) == []
