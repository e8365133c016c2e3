"""`notify` says who is told of what; one schema for files, REST and Python."""

from __future__ import annotations

from typing import Any

import pytest

from zquant_flow.core.model import content_hash, decode, encode
from zquant_flow.core.notify import Notice, Notify, notice_of
from zquant_flow.definitions.authoring import task, workflow
from zquant_flow.definitions.schema import DefinitionErrors, parse_definition

EXECUTORS = {"command": None, "python": None}


@task(notify="ops")
def load() -> None: ...


@workflow(notify={"on_success": ["team"]})
def flow() -> None:
    load()


def parsed(**words: Any) -> Any:
    raw = {"name": "load", "command": "true", **words}
    return parse_definition(raw, origin="file", executors=EXECUTORS).task


def faults(**words: Any) -> dict[str, str]:
    with pytest.raises(DefinitionErrors) as caught:
        parsed(**words)
    return {error.field: str(error.message) for error in caught.value.errors}


@pytest.mark.parametrize("said", ["ops", ["ops"], {"on_failure": "ops", "on_recovery": ["ops", "ops"]}])
def test_channels_alone_are_told_of_failures_and_recoveries(said: Any) -> None:
    assert parsed(notify=said).notify == Notify(failure=("ops",), recovery=("ops",))


def test_each_kind_of_notice_has_channels_of_its_own() -> None:
    said = {f"on_{notice}": [f"{notice}s"] for notice in Notice}
    notify = parsed(notify=said).notify
    assert [notify.of(notice) for notice in Notice] == [(f"{notice}s",) for notice in Notice]


def test_it_is_encoded_in_the_words_of_files_and_only_where_it_says_something() -> None:
    definition = parsed(notify={"on_retry": ["ops"]})
    assert encode(definition)["notify"] == {"on_retry": ["ops"]}
    assert decode(encode(definition)) == definition
    assert content_hash(encode(parsed(notify={}))) == content_hash(encode(parsed()))


def test_a_node_tells_of_its_own_failures() -> None:
    node = {"name": "a", "command": "true", "notify": "ops"}
    raw = {"name": "flow", "tasks": [node]}
    definition = parse_definition(raw, origin="file", executors=EXECUTORS).task
    [made] = definition.workflow.nodes
    assert made.notify == Notify(failure=("ops",))
    assert decode(encode(definition)) == definition


def test_a_node_that_names_a_task_and_recoveries_of_nodes_are_refused_with_the_way_out() -> None:
    nodes = [
        {"name": "a", "task": "load", "notify": "ops"},
        {"name": "b", "command": "true", "notify": {"on_recovery": "ops"}},
    ]
    with pytest.raises(DefinitionErrors) as caught:
        parse_definition({"name": "flow", "tasks": nodes}, origin="file", executors=EXECUTORS)
    found = {error.field: error.message for error in caught.value.errors}
    assert "belongs to that task: set it there" in found["tasks.0.notify"]
    assert "a recovery is told of tasks and workflows" in found["tasks.1.notify.on_recovery"]


def test_a_word_that_is_no_notice_is_refused_with_the_nearest_one() -> None:
    [message] = faults(notify={"on_failures": "ops"}).values()
    assert "did you mean 'on_failure'?" in message
    assert "notify" in next(iter(faults(notify=[])))


def test_it_is_said_in_python_as_in_files() -> None:
    assert flow.keys["notify"] == {"on_success": ["team"]}
    assert flow.nodes()[0]["notify"] == "ops"


@pytest.mark.parametrize(
    ("what", "status", "code", "notice"),
    [
        ("ended", "failed", "exit_code", Notice.FAILURE),
        ("created", "failed", "template_error", Notice.FAILURE),
        ("ended", "completed", None, Notice.FAILURE),
        ("ended", "terminated", "timeout", Notice.FAILURE),
        ("ended", "terminated", "attempt_lost", Notice.FAILURE),
        ("ended", "terminated", "shutdown", Notice.FAILURE),
        ("ended", "terminated", "terminated", None),
        ("ended", "terminated", "replaced", None),
        ("ended", "success", None, Notice.SUCCESS),
        ("skipped", "skipped", None, None),
        ("retry", "pending", None, Notice.RETRY),
        ("waiting", "pending", None, None),
        ("deadline_missed", "running", None, Notice.DEADLINE),
        ("started", "running", None, None),
        ("marked", "failed", None, None),
    ],
)
def test_what_a_step_is_to_people(what: str, status: str, code: str | None, notice: Notice | None) -> None:
    assert notice_of(what, status, code) is notice
