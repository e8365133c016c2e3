"""Whatever the OpenAPI document allows to be sent, or forbids, is answered as it says; never with a 5xx."""

from __future__ import annotations

import re

import pytest
from schemathesis.generation import GenerationMode

from tests.fuzz.cases import LAST, MODES, Explorer, id_of, operations_of, schema_of
from tests.fuzz.world import AUTHORIZED, World

EXAMPLES = 6
"""Requests of each kind for each operation; `make fuzz` makes many more."""
SEED = 20261124
OPEN = {"healthz", "readyz", "call_hook"}


# hypothesis takes the engine's use of `random`, in another thread, for one of a strategy.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_every_operation_answers_as_documented(world: World, mode: GenerationMode) -> None:
    explorer, faults = Explorer(world), {}
    for operation in operations_of(schema_of(world)):
        if id_of(operation) in LAST:
            world.populate()
        found = explorer.explore(operation, mode, EXAMPLES, SEED)
        if found is not None:
            faults[operation.label] = found
    assert not faults, "\n\n".join(f"{label}\n{found}" for label, found in faults.items())
    assert explorer.sent > 40 * EXAMPLES
    assert world.client.get("/readyz").json()["status"] == "ok"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}])
def test_no_operation_answers_without_the_token(world: World, headers: dict[str, str]) -> None:
    asked = 0
    for operation in operations_of(schema_of(world)):
        if id_of(operation) in OPEN:
            continue
        path = re.sub(r"\{[^}]*\}", "1", operation.path)
        answer = world.client.request(operation.method, path, headers=headers, content=b"{")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), operation.label
        asked += 1
    assert asked > 40


def test_a_method_that_a_path_does_not_have_is_405_and_says_which_it_has(world: World) -> None:
    for path, methods in world.app.openapi()["paths"].items():
        url = re.sub(r"\{[^}]*\}", "1", path)
        if path.endswith(("/tasks/bulk", "/tasks/prune")):
            continue  # for all other methods `bulk` is an id
        for method in {"get", "post", "put", "delete", "patch", "trace"} - methods.keys():
            answer = world.client.request(method, url, headers=AUTHORIZED)
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, path)
            assert answer.headers["allow"]
