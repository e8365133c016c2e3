"""Where the origin's promises and faults are tested: the engine in the test's hands, the API in this process, a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.api.conftest import api, scheduler
from tests.e2e.conftest import start_server
from tests.e2e.serving import Server
from tests.engine.conftest import h, url

__all__ = ["api", "h", "scheduler", "start_server", "url"]


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite is enough here."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server over an empty folder; tests that share it use names of their own."""
    made = Server(tmp_path_factory.mktemp("origin"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def far_from_18(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this test live in a zone where it is not about 18:00, so that a printed `0 18 * * *` does not fire."""
    monkeypatch.setenv("TZ", "Asia/Shanghai" if datetime.now(UTC).hour in (17, 18) else "UTC")
