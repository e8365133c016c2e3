"""What a task takes from the events outside that start it, and what is wrong about that when its file is loaded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from zquant_flow.core.model import OnFile, TaskType, Webhook, content_hash, decode, encode
from zquant_flow.definitions.loader import LoadedDefinition, LoadedFile
from zquant_flow.definitions.registry import Change, Entry, Registry, plan_change
from zquant_flow.definitions.schema import DefinitionErrors, parse_definition
from zquant_flow.testing import command_task


def parsed(**words):
    return parse_definition({"name": "t", "command": "true", **words}, origin="file", executors={}).task


def faults(**words):
    with pytest.raises(DefinitionErrors) as found:
        parsed(**words)
    return {error.field: (error.code, error.message) for error in found.value.errors}


def test_a_webhook_is_a_name_or_a_name_with_params():
    assert parsed(webhook="load-done").webhook == Webhook(name="load-done")
    made = parsed(webhook={"name": "pushed", "params": {"ref": "{{ event.body.ref }}", "n": 3}})
    assert made.webhook.params == {"ref": {"$expr": "event.body.ref"}, "n": 3}
    assert made.task_type is TaskType.COMMON
    assert decode(encode(made)) == made


def test_a_definition_without_a_webhook_is_encoded_as_before():
    assert "webhook" not in encode(parsed())
    assert content_hash(encode(parsed())) != content_hash(encode(parsed(webhook="x")))


@pytest.mark.parametrize("name", ["", "-a", "Load", "a b", "a/b", "a" * 65, 5, "ü"])
def test_the_name_of_a_webhook_fits_into_an_address(name):
    field = "webhook.name" if isinstance(name, str) else "webhook"
    assert field in faults(webhook=name)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"a": "{{ params.b }}"}, "invalid_reference", "made of `event` alone"),
        ({"a": "{{ logical_time }}"}, "invalid_reference", "made of `event` alone"),
        ({"a": ["{{ event.body.x }} {{ execution.id }}"]}, "invalid_reference", "made of `event` alone"),
        ({"a": "{{ event.body. }}"}, "invalid_expression", ""),
        ({"a": "{{ evnt.body }}"}, "invalid_reference", "did you mean 'event'"),
    ],
)
def test_params_of_a_webhook_are_made_of_the_event(params, code, words):
    found = faults(webhook={"name": "x", "params": params})["webhook.params.a"]
    assert found[0] == code
    assert words in found[1]


def test_a_webhook_gives_a_typed_task_what_it_takes_and_nothing_else():
    specs = {"ref": {"type": "string", "required": True}}
    assert faults(params=specs, webhook="x")["webhook"][0] == "missing_default"
    given = {"name": "x", "params": {"ref": "{{ event.body.ref }}"}}
    assert parsed(params=specs, webhook=given).webhook is not None
    more = {"name": "x", "params": {**given["params"], "rfe": 1}}
    assert "did you mean 'ref'" in faults(params=specs, webhook=more)["webhook.params.rfe"][1]


def file(path, *tasks):
    loaded = tuple(
        LoadedDefinition(task=task, line=1, document=number, warnings=()) for number, task in enumerate(tasks)
    )
    facts = {"kind": "tasks", "digest": "", "size": 1, "mtime_ns": 1, "errors": (), "dependencies": {}}
    return LoadedFile(path=path, definitions=loaded, bundle=None, **facts)


def registered(change: Change) -> Registry:
    entries = [
        Entry(
            id=number,
            name=name,
            version=1,
            content_hash="",
            definition=claim.loaded.task,
            source=claim.path,
        )
        for number, (name, claim) in enumerate(change.claims.items(), 1)
    ]
    return Registry().with_change(change, entries)


def hooked(name, hook="h"):
    return command_task(name, webhook=Webhook(name=hook))


def test_an_address_belongs_to_one_task_and_the_other_waits_until_it_is_free():
    first = plan_change(Registry(), [file("a.yaml", hooked("a")), file("b.yaml", hooked("b"))])
    assert list(first.claims) == ["a"]
    [error] = first.errors["b.yaml"]
    assert (error.code, error.field) == ("hook_in_use", "webhook")
    assert "belongs to task 'a'" in error.message
    freed = plan_change(registered(first), [file("a.yaml", hooked("a", "other"))], waiting=first.waiting)
    assert set(freed.claims) == {"a", "b"}
    assert freed.errors["b.yaml"] == ()


def test_two_documents_of_a_file_do_not_share_an_address_but_may_exchange_theirs():
    [error] = plan_change(Registry(), [file("a.yaml", hooked("a"), hooked("b"))]).errors["a.yaml"]
    assert error.code == "hook_in_use"
    before = registered(plan_change(Registry(), [file("a.yaml", hooked("a", "x"), hooked("b", "y"))]))
    after = plan_change(before, [file("a.yaml", hooked("a", "y"), hooked("b", "x"))])
    assert set(after.claims) == {"a", "b"}


def test_files_are_a_glob_or_a_glob_with_how_long_they_stand_still():
    assert parsed(on_file="inbox/*.csv").on_file == OnFile(glob="inbox/*.csv")
    made = parsed(on_file={"glob": "../in/**/*.csv", "settle": "30s"})
    assert made.on_file == OnFile(glob="../in/**/*.csv", settle=timedelta(seconds=30))
    assert made.task_type is TaskType.COMMON
    assert decode(encode(made)) == made


@pytest.mark.parametrize(
    ("words", "field", "code"),
    [
        ("a\0b", "on_file", "not_json"),
        (5, "on_file", "wrong_type"),
        ("in/", "on_file.glob", "invalid_value"),
        ({"glob": "in/*", "settle": "soon"}, "on_file.settle", "invalid_value"),
        ({"glob": "in/*", "setle": 1}, "on_file.setle", "unknown_key"),
        ({}, "on_file.glob", "missing"),
    ],
)
def test_files_that_can_not_be_meant_are_a_fault(words, field, code):
    found = faults(on_file=words)
    assert found[field][0] == code


def test_a_file_gives_a_typed_task_its_path_alone():
    text, number = {"type": "string", "required": True}, {"type": "integer", "required": True}
    assert parsed(params={"file": text}, on_file="in/*").on_file is not None
    assert faults(params={"file": number}, on_file="in/*")["on_file"][0] == "conflict"
    assert faults(params={"n": number}, on_file="in/*")["on_file"][0] == "missing_default"


def test_a_manual_task_waits_for_nothing():
    assert faults(task_type="manual_task", on_file="in/*")["on_file"][0] == "conflict"
    assert faults(task_type="manual_task", webhook="h")["webhook"][0] == "conflict"
