"""Real servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.serving import Client, Server

_started: list[Server] = []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server over a copy of the examples; tests that share it use names of their own."""
    made = Server(tmp_path_factory.mktemp("shared"), examples=True)
    _started.append(made)
    made.start()
    yield made
    _started.remove(made)
    made.stop()


@pytest.fixture
def client(server: Server) -> Client:
    return server.client


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Starts servers of the test's own, over empty folders, for what must not disturb others: kills and restarts."""
    made: list[Server] = []

    def start() -> Server:
        server = Server(tmp_path_factory.mktemp("own"))
        made.append(server)
        _started.append(server)
        return server.start()

    yield start
    for server in made:
        _started.remove(server)
        server.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What the servers said, beside a test that failed."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        report.sections += [(f"stderr of {server.root.name}", server.errors()[-5000:]) for server in _started]  # type: ignore[attr-defined]
    return report
