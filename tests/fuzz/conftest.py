"""The scheduler that is asked, with and without something in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Api, api, scheduler  # noqa: F401  (fixtures)
from tests.fuzz.sender import Sender
from tests.fuzz.world import World
from tests.fuzz.world import world as make_world


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite is enough here."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@pytest.fixture(scope="module")
def sender(api: Api) -> Iterator[Sender]:  # noqa: F811
    """Afterwards the server is as well as before."""
    yield Sender(api)
    assert api.client.get("/readyz").json()["status"] == "ok"
    probe = api("POST", "/executions", json={"definition": {"name": "well", "command": "true"}}, status=201)
    assert api.ended(probe["execution_id"])["status"] == "success"
