"""Every built-in executor does what tasks expect of any. To add one: an entry below, or a class where it needs a server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.executors.web import Answer, Asked, serving
from zquant_flow.executors.command import CommandExecutor
from zquant_flow.executors.docker import DockerExecutor
from zquant_flow.executors.example import ExampleExecutor
from zquant_flow.executors.http import HttpExecutor
from zquant_flow.executors.installed import built_in
from zquant_flow.executors.python import PythonExecutor
from zquant_flow.executors.script import ScriptExecutor
from zquant_flow.executors.sql import SqlExecutor
from zquant_flow.executors.ssh import SshExecutor
from zquant_flow.executors.wait import WaitExecutor
from zquant_flow.testing import ExecutorConformance, conformance

WORK = """
import sys, time
from zquant_flow import current

def greet(): print("世界")
def wait():
    for _ in current().track(range(6000)): time.sleep(0.01)
def fail(): raise ValueError("bad luck")
def shout():
    for _ in range(100): print("x" * 1_000_000)
"""
SCRIPT = """
import sys, time
what = sys.argv[1]
if what == "wait": time.sleep(60)
if what == "fail": sys.exit("bad luck")
for _ in range(100 if what == "shout" else 0): print("x" * 1_000_000)
print(what)
"""

TestCommand = conformance(
    CommandExecutor,
    config={"command": "echo 世界"},
    long={"command": "sh -c 'sleep 60 & setsid sleep 60 & wait'"},
    failing={"command": "sh -c 'echo bad luck; exit 3'"},
    loud={"command": "yes 0123456789 | head -c 104857600"},
)

TestExample = conformance(
    ExampleExecutor,
    config={"message": "世界", "duration_seconds": 0},
    long={"duration_seconds": 60, "steps": 600},
    failing={"success_rate": 0, "duration_seconds": 0},
    loud={"message": "x" * 10_500, "steps": 10_000, "duration_seconds": 0},
)

TestWait = conformance(
    WaitExecutor,
    config={"time": "2026-01-05T00:00:00+00:00"},
    long={"file": "世界.csv", "every_seconds": 1},
    failing={"task": "nobody"},
    skip={
        "loud": "it says nothing",
        "pause": "it has no attempt between two looks",
        "unicode": "an instant has no words",
    },
)

TestScript = conformance(
    ScriptExecutor,
    config={"file": "work.py", "args": ["世界"]},
    long={"file": "work.py", "args": ["wait"]},
    failing={"file": "work.py", "args": ["fail"]},
    loud={"file": "work.py", "args": ["shout"]},
    files={"work.py": SCRIPT},
)

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
TestSql = conformance(
    SqlExecutor,
    config={"url": "sqlite://", "statements": "SELECT '世界' AS 名"},
    long={"url": "sqlite://", "statements": ENDLESS},
    failing={"url": "sqlite://", "statements": "SELECT * FROM nowhere"},
    skip={"loud": "its log has a line for each statement", "pause": "a statement can't be paused"},
)


class TestPython(ExecutorConformance):
    executor = PythonExecutor
    config = {"function": "greet"}
    long = {"function": "wait"}
    failing = {"function": "fail"}
    loud = {"function": "shout"}
    files = {"work.py": WORK}
    skip = {
        "unknown_keys": "its config is made of `python: module:function`",
        "unicode": "its config has names of Python only",
    }

    def task(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {"python": f"work:{config['function']}"}


@pytest.fixture(scope="class")
def _web(request: pytest.FixtureRequest) -> Iterator[None]:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/wait":
            return Answer(body={"done": False})
        return Answer(500 if asked.path == "/fail" else 200, {"word": "世界"})

    with serving() as web:
        web.says(answer)
        request.cls.config = {"url": web.url, "headers": {"X-Name": "x"}, "result": "word"}
        request.cls.failing = {"url": f"{web.url}/fail"}
        request.cls.long = {"url": f"{web.url}/wait", "until": {"path": "done", "every_seconds": 0.1}}
        yield


@pytest.mark.usefixtures("_web")
class TestHttp(ExecutorConformance):
    executor = HttpExecutor
    skip = {
        "loud": "its log has a line for each request",
        "unicode": "text is in the answer, not in its config",
    }


@pytest.fixture(scope="class")
def _ssh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from tests.executors.test_ssh import Server, config

    server = Server(tmp_path_factory.mktemp("ssh"))
    request.cls.config = config(server, "echo 世界")
    request.cls.long = config(server, "wait")
    request.cls.failing = config(server, "exit 3")
    yield
    server.stop()


@pytest.mark.usefixtures("_ssh")
class TestSsh(ExecutorConformance):
    executor = SshExecutor
    skip = {"loud": "the server of the test does not write that much", "pause": "it stops nothing there"}


@pytest.fixture(scope="class")
def _engine() -> None:
    pytest.importorskip("docker", reason="docker is not installed (extra docker)")
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as sock:
        if sock.connect_ex(path):
            pytest.skip(f"no container engine answers at {path}: DOCKER_HOST says where one is")


IMAGE = os.environ.get("ZQF_TEST_IMAGE", "busybox")


@pytest.mark.usefixtures("_engine")
class TestDocker(ExecutorConformance):
    executor = DockerExecutor
    config = {"image": IMAGE, "command": ["echo", "世界"]}
    long = {"image": IMAGE, "command": ["sleep", "60"]}
    failing = {"image": IMAGE, "command": ["sh", "-c", "echo bad luck; exit 3"]}
    loud = {"image": IMAGE, "command": ["sh", "-c", "yes 0123456789 | head -c 104857600"]}
    skip = {"pause": "a container is not paused"}


def test_every_built_in_executor_is_among_them() -> None:
    tested = {
        value.executor
        for value in globals().values()
        if isinstance(value, type) and hasattr(value, "executor")
    }
    assert tested == set(built_in().executors.values())
