"""Answers have exactly the fields that their models promise: none is missing, and none is undeclared.

They are written straight from plain values, so nothing else holds them against the models.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from tests.fuzz.world import AUTHORIZED, World, until
from zquant_flow.api import models
from zquant_flow.api.app import PREFIX

WORKFLOW = {
    "workflow_type": "parallel",
    "on_failure": "continue",
    "tasks": [
        {"name": "first", "command": "true", "trigger_rule": "all_done"},
        {
            "name": "second",
            "command": "false",
            "dependencies": ["first"],
            "max_retries": 1,
            "retry_interval": 0,
        },
    ],
}
OPTIONAL = {
    *{("TaskOut", "nodes"), ("ExecutionOut", "attempts"), ("ExecutionOut", "children")},
    *{("VersionOut", "definition"), ("HealthOut", "reason"), ("HealthOut", "tasks")},
    *{("BulkItem", "execution_id"), ("BulkItem", "code"), ("BulkItem", "detail")},
}
"""Fields that are there only where they are asked for, or say something."""


def differences(model: Any, value: Any, path: str = "") -> Iterator[str]:
    """Where the value has other fields than the model, all the way down."""
    origin, inner = typing.get_origin(model), typing.get_args(model)
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in inner if part is not type(None)]
        if value is not None and len(parts) == 1:
            yield from differences(parts[0], value, path)
    elif origin is typing.Annotated:
        yield from differences(inner[0], value, path)
    elif origin is list:
        for index, item in enumerate(value):
            yield from differences(inner[0], item, f"{path}.{index}")
    elif isinstance(model, type) and issubclass(model, BaseModel) and not issubclass(model, RootModel):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        for name in value.keys() - fields.keys():
            yield f"{path}.{name} is not declared by {model.__name__}"
        for name in fields.keys() - value.keys():
            if (model.__name__, name) not in OPTIONAL:
                yield f"{path}.{name} of {model.__name__} is missing"
        for name in fields.keys() & value.keys():
            yield from differences(fields[name].annotation, value[name], f"{path}.{name}")


def check(model: type[BaseModel], value: Any, at: str) -> None:
    assert list(differences(model, value)) == [], at
    model.model_validate(value)


class Filled:
    """A world with one of each thing, and the paths that show them."""

    def __init__(self, world: World) -> None:
        self.world, ask = world, world.ask
        flow = ask("POST", "/tasks", {"name": "flow-of-answers", **WORKFLOW})
        cron = ask(
            "POST",
            "/tasks",
            {
                "name": "cron-of-answers",
                "cron": "0 * * * *",
                "command": "echo",
                "tags": ["x"],
                "webhook": "answers",
            },
        )
        plain = ask(
            "POST", "/tasks", {"name": "waits", "executor": "command", "config": {"command": "sleep 60"}}
        )
        run = ask("POST", f"/tasks/{flow['id']}/trigger")["execution_id"]
        long = ask("POST", f"/tasks/{plain['id']}/trigger", {"params": {"a": [1, None]}})["execution_id"]
        span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T03:00:00Z"}
        filled = ask("POST", f"/tasks/{cron['id']}/backfill", span)
        ask("POST", f"/tasks/{cron['id']}/disable")
        ask("POST", f"/tasks/{cron['id']}/enable")
        adhoc = ask("POST", "/executions", {"definition": {"name": "once", "command": "true"}})[
            "execution_id"
        ]
        ask("POST", "/tokens", {"name": "answers", "expires_time": "2099-01-01T00:00:00Z"})
        (world.scheduler.settings.tasks_dir / "torn.yaml").write_text("name: [\n")
        world.scheduler.folder.load_now(["torn.yaml"])
        world.settle([run, adhoc, *(item["execution_id"] for item in filled["executions"])])
        until(lambda: ask("GET", f"/executions/{long}")["status"] == "running")
        self.task_ids = [flow["id"], cron["id"], plain["id"], *(task for task, _ in world.pairs)]
        self.execution_ids = [run, long, adhoc, *(execution for _, execution in world.pairs)]
        self.flow, self.run, self.backfill = flow["id"], run, filled["backfill_id"]

    def urls(self, path: str, name: str) -> Iterator[str]:
        """The paths of an operation about everything that is there, in all its forms."""
        for task_id in self.task_ids if "{task_id}" in path else [0]:
            for execution_id in self.execution_ids if "{execution_id}" in path else [0]:
                yield path.format(
                    task_id=task_id,
                    execution_id=execution_id,
                    backfill_id=self.backfill,
                    version=1,
                    name="command",
                    plugin="builtin",
                )
        more = {
            "get_execution": (f"/executions/{self.run}?include=attempts,children",),
            "get_task_execution": (f"/tasks/{self.flow}/executions/{self.run}?include=children,attempts",),
            "list_tasks": ("/tasks?include_nodes=true", "/tasks?archived=true&limit=2"),
            "get_task": (f"/tasks/{self.flow}?include_nodes=true",),
            "list_executions": ("/executions?include=nodes", "/executions?limit=1"),
            "get_workflow": (f"/tasks/{self.flow}/workflow?execution_id={self.run}",),
            "get_stats": (f"/stats?task_id={self.flow}",),
        }
        yield from (PREFIX + url for url in more.get(name, ()))


@pytest.fixture(scope="module")
def filled(world: World) -> Filled:
    return Filled(world)


def reading(world: World) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Path, operation and model of all that only reads."""
    for path, methods in world.app.openapi()["paths"].items():
        for media in methods.get("get", {"responses": {"200": {"content": {}}}})["responses"]["200"][
            "content"
        ].items():
            # A result is whatever a task has returned; nobody has a panel here.
            if path.endswith("/panels/{plugin}/{name}"):
                continue
            if media[0] == "application/json" and "$ref" in media[1]["schema"]:
                name = media[1]["schema"]["$ref"].rpartition("/")[2]
                yield path, methods["get"]["operationId"], getattr(models, name)


def test_every_reading_operation_answers_with_the_fields_of_its_model(filled: Filled) -> None:
    looked_at: dict[str, int] = {}
    for path, name, model in reading(filled.world):
        looked_at[name] = 0
        for url in filled.urls(path, name):
            answer = filled.world.client.get(url, headers=AUTHORIZED)
            if answer.is_success:
                check(model, answer.json(), url)
                looked_at[name] += 1
            else:
                assert answer.status_code in (404, 409), (url, answer.text)
                models.ErrorOut.model_validate(answer.json())
    assert len(looked_at) >= 24
    assert all(looked_at.values()), looked_at


def test_the_lists_that_were_looked_at_had_something_in_them(filled: Filled) -> None:
    ask = filled.world.ask
    for path, key in (
        ("/tasks", "tasks"),
        ("/executions", "executions"),
        ("/tokens", "tokens"),
        ("/load-errors", "load_errors"),
        ("/upcoming", "upcoming"),
        ("/stats/tasks", "tasks"),
        ("/stats/series", "points"),
        ("/plugins", "plugins"),
        ("/executors", "executors"),
        (f"/tasks/{filled.task_ids[1]}/fires", "fires"),
        (f"/tasks/{filled.task_ids[1]}/versions", "versions"),
    ):
        assert ask("GET", path)[key], path
    found = ask("GET", f"/executions/{filled.run}?include=attempts,children")
    assert [child["node"] for child in found["children"]] == ["first", "second"]
    assert ask("GET", f"/executions/{found['children'][1]['id']}?include=attempts")["attempts"]


def test_changing_operations_answer_with_the_fields_of_their_models(filled: Filled) -> None:
    ask = filled.world.ask
    task = ask("POST", "/tasks", {"name": "changing", "cron": "0 0 * * *", "command": "true"})
    path, span = f"/tasks/{task['id']}", {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T03:00:00Z"}
    check(models.TaskOut, task, "create")
    check(models.TaskOut, ask("PUT", path, {"tags": ["a"]}), "change")
    for action in ("pause", "resume", "disable", "enable"):
        check(models.TaskOut, ask("POST", f"{path}/{action}"), action)
    check(models.BackfillOut, ask("POST", f"{path}/backfill", {**span, "dry_run": True}), "dry run")
    check(models.BackfillOut, ask("POST", f"{path}/backfill", span), "backfill")
    check(models.BackfillOut, ask("POST", f"{path}/backfill", span), "backfill again")
    bulk = {"action": "enable", "task_ids": [task["id"], 999_999]}
    check(models.BulkOut, ask("POST", "/tasks/bulk", bulk), "bulk")
    check(models.TriggeredOut, ask("POST", f"{path}/trigger"), "trigger")
    check(models.ValidationOut, ask("POST", "/workflow/validate", WORKFLOW), "sound")
    unsound = {"tasks": [{"name": "a", "command": "true", "dependencies": ["b"]}]}
    check(models.ValidationOut, ask("POST", "/workflow/validate", unsound), "unsound")
    check(models.ValidationOut, ask("POST", f"/tasks/{filled.flow}/workflow/validate"), "as it stands")
    check(models.TokenOut, ask("POST", "/tokens", {"name": "changing"}), "token")
    long = filled.execution_ids[1]
    check(models.ExecutionOut, ask("POST", f"/executions/{long}/pause"), "pause")
    until(lambda: ask("GET", f"/executions/{long}")["status"] == "paused")
    check(models.ExecutionOut, ask("GET", f"/executions/{long}?include=attempts"), "paused")
    check(models.ExecutionOut, ask("POST", f"/executions/{long}/resume"), "resume")
    check(models.ExecutionOut, ask("POST", f"/executions/{long}/terminate"), "terminate")


def test_the_nodes_of_a_workflow_that_have_not_begun_have_all_fields_too(filled: Filled) -> None:
    ask = filled.world.ask
    nodes = [
        {"name": "a", "command": "sleep 60"},
        {"name": "b", "command": "true", "dependencies": ["a"]},
    ]
    task = ask("POST", "/tasks", {"name": "planned", "tasks": nodes})
    run = ask("POST", f"/tasks/{task['id']}/trigger")["execution_id"]
    found = ask("GET", f"/executions/{run}?include=children")
    assert found["children"][-1]["id"] is None
    check(models.ExecutionOut, found, "planned")
    ask("POST", f"/executions/{run}/terminate")


def test_health_answers_with_the_fields_of_its_model(filled: Filled) -> None:
    for path in ("/healthz", "/readyz"):
        check(models.HealthOut, filled.world.client.get(path).json(), path)


def test_a_change_of_a_version_is_described_in_full(filled: Filled) -> None:
    found = filled.world.client.get(f"{PREFIX}/tasks/{filled.flow}/versions/1", headers=AUTHORIZED).json()
    check(models.VersionOut, found, "version")
    assert found["definition"]
