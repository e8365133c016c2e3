"""The OpenAPI document is valid, whole, and made so that clients can be generated from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from zquant_flow.api.app import create_app
from zquant_flow.api.control import Control
from zquant_flow.definitions.forms import NodeForm, TaskForm
from zquant_flow.definitions.schema import json_schema

Json = dict[str, Any]
OPEN_OBJECTS = {"ErrorOut", "TaskConfig", "Params"}
"""An error has facts of its own, an executor's config the executor's fields, and params are anybody's."""
OPEN_FIELDS = {"config", "definition", "params_schema", "event"}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(cast(Control, None)).openapi()


@pytest.fixture(scope="module")
def operations(document: Json) -> list[Json]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Every mapping inside, with its place."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from walk(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, str(index)))


def test_it_is_valid_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_every_schema_in_it_is_a_valid_json_schema(document: Json) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere(document: Json) -> None:
    for place, value in walk(document):
        if isinstance(reference := value.get("$ref"), str):
            found: Any = document
            for word in reference.removeprefix("#/").split("/"):
                assert word in found, (place, reference)
                found = found[word]


def test_every_operation_says_what_it_is(document: Json, operations: list[Json]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        assert set(operation["tags"]) <= known
        assert all(parameter.get("description") for parameter in operation.get("parameters", ()))


def test_every_answer_has_a_shape(operations: list[Json]) -> None:
    for operation in operations:
        [status] = [status for status in operation["responses"] if status.startswith("2")]
        answer = operation["responses"][status]
        assert status == "204" or all(media["schema"] for media in answer["content"].values())


def test_every_error_is_an_error_out(document: Json, operations: list[Json]) -> None:
    for answer in document["components"]["responses"].values():
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorOut")
    for operation in operations:
        for status, answer in operation["responses"].items():
            assert status.startswith("2") or "$ref" in answer or operation["operationId"] == "readyz"


def test_every_operation_but_health_and_webhooks_wants_the_token(
    document: Json, operations: list[Json]
) -> None:
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for operation in operations:
        if operation["tags"] not in (["health"], ["webhooks"]):
            assert operation["security"] == [{"HTTPBearer": []}]
            assert {"401", "503"} <= set(operation["responses"])


def test_every_body_has_a_name_and_an_example(document: Json, operations: list[Json]) -> None:
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    assert len(bodies) >= 9
    for body in bodies:
        media = body["content"]["application/json"]
        name = media["schema"]["$ref"].rpartition("/")[2]
        assert media.get("examples") or document["components"]["schemas"][name].get("examples"), name


def test_examples_are_what_their_schemas_ask_for(document: Json, operations: list[Json]) -> None:
    def holds(schema: Json, value: Any) -> None:
        jsonschema_rs.validate({**schema, "components": document["components"]}, value)

    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            holds(schema, example)
    for operation in operations:
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for example in media.get("examples", {}).values():
                holds(media["schema"], example["value"])


def test_an_object_inside_another_has_a_name(document: Json) -> None:
    for place, value in walk(document):
        named = place[:-1] == ("components", "schemas")
        assert named or "properties" not in value or place[-1] == "properties", place


def test_a_choice_of_words_has_a_name(document: Json) -> None:
    inline = [
        place
        for place, value in walk(document)
        if isinstance(value.get("enum"), list) and place[:-1] != ("components", "schemas")
    ]
    assert inline == [("components", "schemas", "HealthOut", "properties", "status")]


def test_only_what_is_open_is_left_open(document: Json) -> None:
    for place, value in walk(document["components"]["schemas"]):
        if value.get("additionalProperties") is True:
            assert place[0] in OPEN_OBJECTS or OPEN_FIELDS & set(place), place


def test_definitions_have_the_words_of_task_files_and_the_origins(document: Json) -> None:
    schemas = document["components"]["schemas"]
    origin = {"cron_expression", "interval_seconds"}
    assert set(schemas["TaskDefinition"]["properties"]) == set(TaskForm.model_fields) | origin
    assert set(schemas["TaskDraft"]["properties"]) == set(TaskForm.model_fields) | origin
    assert set(schemas["NodeDefinition"]["properties"]) == set(NodeForm.model_fields)
    assert schemas["TaskDefinition"]["required"] == ["name"]
    assert "required" not in schemas["TaskDraft"]
    assert schemas["TaskDefinition"]["properties"]["name"] == json_schema()["properties"]["name"]


def test_words_with_few_values_name_them(document: Json) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ExecutionOut"]["properties"]["status"] == {"$ref": "#/components/schemas/Status"}
    assert schemas["Status"]["enum"] == [
        "pending",
        "running",
        "paused",
        "success",
        "failed",
        "completed",
        "terminated",
        "skipped",
    ]


def test_the_application_is_imported_without_the_schema_of_definitions() -> None:
    code = "import sys, zquant_flow.api.app; print('zquant_flow.definitions.schema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
