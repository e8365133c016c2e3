"""Who is told of what: by the task, by the node, by the rules of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.config import load_settings
from zquant_flow.core.notify import Notify
from zquant_flow.engine.notifying import Notifying, links
from zquant_flow.notifiers.channels import Channels
from zquant_flow.notifiers.texts import Occurrence
from zquant_flow.plugin.channels import NotifySettings
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

PATIENCE = 10.0
RULES = [
    {"on": ["failure"], "channels": ["all"]},
    {"on": ["failure", "recovery"], "channels": ["core", "all"], "tags": ["core", "other"]},
]


class Told(Channels):
    """Channels that keep what they are told."""

    def __init__(self) -> None:
        said = {name: {"type": "webhook"} for name in ("ops", "team", "all", "core")}
        super().__init__(NotifySettings.model_validate({"channels": said, "rules": RULES}))
        self._heard: SimpleQueue[tuple[str, Occurrence]] = SimpleQueue()

    def tell(self, name: str, occurrence: Occurrence) -> None:
        self._heard.put((name, occurrence))

    def next(self) -> tuple[str, Occurrence]:
        return self._heard.get(timeout=PATIENCE)

    def words(self, count: int) -> list[str]:
        """The next ones: whom, of what, of which."""
        return [f"{name} {told.notice} {told.what}" for name, told in (self.next() for _ in range(count))]

    def nothing_more(self) -> bool:
        return self._heard.empty()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def h(tmp_path: Path, url: str, told: Told) -> Iterator[Harness]:
    with Harness(tmp_path, url=url) as made:
        listen(made, told)
        yield made


def listen(h: Harness, told: Told) -> None:
    notifying = Notifying(told, h.engine, h.operations, h.database)
    h.engine.observing.own = {"notifying": notifying.hooks}
    h.engine.observing.use(h.engine._plugins())


def run(h: Harness, task_id: int, kind: str = "success", **facts: Any) -> int:
    number = h.operations.trigger(task_id, actor="me")
    h.end(number, kind, **facts)
    return number


def finish(h: Harness) -> None:
    """Whatever has happened by now is told when this returns."""
    h.engine.observing.stop()


def test_a_failure_is_told_once_to_each_channel_with_what_is_known(h: Harness, told: Told) -> None:
    [task] = h.define(command_task("load", notify=Notify(failure=("ops", "all"), success=("team",))))
    number = run(h, task, "failed", code="exit_code", error="exit code 3")
    first, occurrence = told.next()
    assert (first, told.next()[0]) == ("all", "ops")
    assert (occurrence.execution_id, occurrence.task, occurrence.status) == (number, "load", "failed")
    assert (occurrence.error_code, occurrence.error, occurrence.attempt) == ("exit_code", "exit code 3", 1)
    run(h, task)
    assert told.words(1) == ["team success load"]
    finish(h)
    assert told.nothing_more()


def test_a_recovery_is_the_first_success_after_a_failure(h: Harness, told: Told) -> None:
    notify = Notify(recovery=("ops",), success=("ops", "team"))
    [task] = h.define(command_task("load", notify=notify))
    run(h, task)
    assert told.words(2) == ["ops success load", "team success load"]
    run(h, task, "failed")
    assert told.words(1) == ["all failure load"]
    h.operations.terminate(h.operations.trigger(task, actor="me"), actor="me")
    run(h, task)
    assert told.words(2) == ["ops recovery load", "team success load"], "a wanted end does not count"
    run(h, task)
    assert told.words(2) == ["ops success load", "team success load"]


def test_an_end_that_somebody_wanted_is_no_failure(h: Harness, told: Told) -> None:
    [task] = h.define(command_task("load", notify=Notify(failure=("ops",))))
    h.operations.terminate(h.operations.trigger(task, actor="me"), actor="me")
    h.settle()
    run(h, task, "timeout")
    assert told.words(2) == ["all failure load", "ops failure load"]
    finish(h)
    assert told.nothing_more()


def test_rules_speak_of_tasks_with_one_of_their_tags(h: Harness, told: Told) -> None:
    tagged, other = h.define(command_task("tagged", tags=("core",)), command_task("other", tags=("x",)))
    run(h, other, "failed")
    run(h, tagged, "failed")
    assert told.words(3) == ["all failure other", "all failure tagged", "core failure tagged"]


def test_a_retry_tells_of_the_attempt_that_failed(h: Harness, told: Told) -> None:
    [task] = h.define(command_task("load", action=retrying(2), notify=Notify(retry=("ops",))))
    run(h, task, "failed", code="exit_code", error="exit code 3")
    name, occurrence = told.next()
    assert (name, occurrence.notice, occurrence.attempt) == ("ops", "retry", 1)
    assert (occurrence.error_code, occurrence.error) == ("exit_code", "exit code 3")


def test_a_missed_deadline_is_told(h: Harness, told: Told) -> None:
    notify = Notify(deadline=("ops",))
    within = timedelta(seconds=90)
    h.define(command_task("slow", schedule=EVERY_MINUTE, expected_within=within, notify=notify))
    h.tick(60)
    h.tick(91)
    assert told.words(1) == ["ops deadline slow"]


def test_a_workflow_tells_of_itself_and_nodes_only_where_they_say_so(h: Harness, told: Told) -> None:
    nodes = [
        command_node("a"),
        replace(command_node("b"), notify=Notify(failure=("team",), success=("ops",))),
    ]
    flow = replace(workflow_task("flow", nodes), notify=Notify(failure=("ops",)))
    [task] = h.define(flow)
    h.operations.trigger(task, actor="me")
    h.end(h.backend.node("a"), "failed")
    assert told.words(2) == ["all failure flow", "ops failure flow"]
    finish(h)
    assert told.nothing_more()


def test_a_node_tells_of_its_own_end_and_not_when_a_resume_takes_it_over(h: Harness, told: Told) -> None:
    nodes = [
        replace(command_node("a"), notify=Notify(success=("team",))),
        replace(command_node("b", "a"), notify=Notify(failure=("ops",))),
    ]
    [task] = h.define(workflow_task("flow", nodes))
    root = h.operations.trigger(task, actor="me")
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"), "failed")
    assert told.words(3) == ["team success flow / a", "ops failure flow / b", "all failure flow"]
    h.operations.resume_execution(root, actor="me")
    h.settle()
    h.end(h.backend.node("b"), "failed")
    assert told.words(2) == ["ops failure flow / b", "all failure flow"]


def test_a_node_that_names_a_task_tells_as_that_task_says(h: Harness, told: Told) -> None:
    h.define(command_task("load", notify=Notify(failure=("team",))))
    [task] = h.define(workflow_task("flow", [command_node("x", task="load")]))
    h.operations.trigger(task, actor="me")
    h.end(h.backend.node("x"), "failed")
    assert told.words(2) == ["team failure load", "all failure flow"]


def test_what_ends_while_a_server_starts_is_told_too(h: Harness, told: Told) -> None:
    [task] = h.define(command_task("load", notify=Notify(failure=("ops",))))
    number = h.operations.trigger(task, actor="me")
    h.engine.stop(keep_attempts=True)
    h.database.close()
    h.backend.active.clear()
    h._make()
    listen(h, told)
    h.engine.start()
    assert told.words(2) == ["all failure load", "ops failure load"]
    assert h.status(number) == "terminated"


def test_a_channel_that_is_not_there_is_warned_of(h: Harness, caplog: pytest.LogCaptureFixture) -> None:
    h.define(command_task("load", notify=Notify(failure=("opps",))))
    finish(h)
    [record] = [found for found in caplog.records if found.__dict__.get("action") == "unknown_channel"]
    assert "no channel is named 'opps': there are all, core, ops, team" in record.getMessage()


def test_links_lead_to_the_public_address_or_to_the_server(tmp_path: Path) -> None:
    public = load_settings(data_dir=tmp_path, notify={"public_url": "https://flow.example.org/"})
    assert links(public)(7) == "https://flow.example.org/api/v1/scheduler/executions/7"
    here = load_settings(data_dir=tmp_path)
    assert links(here)(7) is None
    (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:8000"}')
    assert links(here)(7) == "http://127.0.0.1:8000/api/v1/scheduler/executions/7"
