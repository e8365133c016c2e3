"""Containers: what is asked of an engine (one that is played), and that a real one does it, where one answers."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.executors.web import Answer, Asked, serving
from tests.runner.client import Runner
from tests.runner.waiting import until
from zquant_flow.executors.context import Context
from zquant_flow.executors.docker import DockerExecutor
from zquant_flow.executors.docker_config import DockerConfig
from zquant_flow.executors.docker_container import EXECUTION, FOLDER
from zquant_flow.executors.failure import Failure

docker = pytest.importorskip("docker", reason="docker is not installed (extra docker)")
IMAGE = os.environ.get("ZQF_TEST_IMAGE", "busybox")


def run(context: Context | None = None, **config: Any) -> Any:
    made = DockerConfig.model_validate({"image": IMAGE, **config})
    return DockerExecutor().run(context or Context({"id": 7, "attempt": 2}), made)


def failure(context: Context | None = None, **config: Any) -> tuple[str, str, int | None]:
    with pytest.raises(Failure) as caught:
        run(context, **config)
    return caught.value.code, str(caught.value), caught.value.exit_code


# ── a played engine ──────────────────────────────────────────────────────────────────────────────────────────────


class Engine:
    """Answers as Docker's API does, as much of it as is asked. `containers`: state by name; `asked`: what changed something."""

    def __init__(self) -> None:
        self.host = ""
        self.containers: dict[str, dict[str, Any]] = {}
        self.images = {IMAGE}
        self.exit: dict[str, Any] = {"ExitCode": 0}
        self.asked: list[str] = []
        self.created: dict[str, Any] = {}

    def answer(self, asked: Asked) -> Answer:
        path, _, query = re.sub(r"^/v1\.\d+", "", asked.path).partition("?")
        if asked.method != "GET":
            self.asked.append(f"{asked.method} {path}")
        parts = path.strip("/").split("/")
        if parts[0] in ("version", "_ping"):
            return Answer(body={"ApiVersion": "1.43", "MinAPIVersion": "1.24"})
        if parts[0] == "images":
            there = asked.method == "POST" or parts[1].partition(":")[0] in self.images
            return Answer(body={"Id": "i"}) if there else Answer(404, {"message": "No such image"})
        return self._containers(asked, parts[1:], query)

    def _containers(self, asked: Asked, parts: list[str], query: str) -> Answer:
        if parts == ["json"]:
            return Answer(body=[{"Id": name} for name in self.containers])
        if parts == ["create"]:
            name = query.partition("name=")[2]
            self.created = json.loads(asked.body)
            self.containers[name] = {"Status": "created"}
            return Answer(201, {"Id": name})
        name = parts[0]
        if name not in self.containers:
            return Answer(404, {"message": f"No such container: {name}"})
        state = self.containers[name]
        if asked.method == "DELETE":
            del self.containers[name]
        if parts[1:] == ["start"]:
            state.update(self.exit, Status="exited")
        if parts[1:] == ["json"]:
            return Answer(body={"Id": name, "Name": f"/{name}", "State": state, "Config": {"Tty": False}})
        if parts[1:] == ["logs"]:
            return Answer(body=b"\x01\x00\x00\x00\x00\x00\x00\x09" + "一 line\n".encode())
        if parts[1:] == ["wait"]:
            return Answer(body={"StatusCode": state["ExitCode"]})
        return Answer(204)


@pytest.fixture
def engine() -> Iterator[Engine]:
    played = Engine()
    with serving() as web:
        web.says(played.answer)
        played.host = web.url.replace("http", "tcp")
        yield played


def test_what_is_said_of_a_container_reaches_the_engine(
    engine: Engine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(
        host=engine.host,
        command="report --day 'a b'",
        entrypoint=["/bin/x"],
        environment={"N": 5},
        volumes=["./out:/out", "cache:/cache:ro"],
        workdir="/srv",
        user="1000:1000",
        network="none",
        memory="512m",
        cpus=1.5,
        labels={"team": "market"},
    )
    assert found == {"exit_code": 0, "output": "一 line\n"}
    assert capfd.readouterr().out == "一 line\n"
    made, host = engine.created, engine.created["HostConfig"]
    assert (made["Image"], made["Cmd"], made["Entrypoint"]) == (
        IMAGE,
        ["report", "--day", "a b"],
        ["/bin/x"],
    )
    assert (made["Env"], made["WorkingDir"], made["User"]) == (["N=5"], "/srv", "1000:1000")
    assert sorted(host["Binds"]) == [f"{tmp_path}/out:/out", "cache:/cache:ro"]
    assert (host["Memory"], host["NanoCpus"], host["NetworkMode"]) == (512 << 20, 1_500_000_000, "none")
    assert made["Labels"]["team"] == "market"
    assert made["Labels"][EXECUTION] == "7"
    assert engine.containers == {}


def test_a_container_is_named_after_its_attempt_and_data_folder(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQUANT_FLOW_RUNNER", "/data")
    run(host=engine.host, auto_remove=False)
    (name,) = engine.containers
    assert name == f"zqf-7-2-{engine.created['Labels'][FOLDER]}"
    monkeypatch.setenv("ZQUANT_FLOW_RUNNER", "/other")
    engine.containers.clear()
    run(host=engine.host, auto_remove=False)
    assert name not in engine.containers


def test_a_second_start_of_the_same_attempt_follows_the_first_container(engine: Engine) -> None:
    run(host=engine.host, auto_remove=False)
    engine.asked.clear()
    assert run(host=engine.host)["output"] == "一 line\n"
    assert [asked.partition("/zqf")[0] for asked in engine.asked] == [
        "POST /containers",
        "DELETE /containers",
    ]
    assert engine.asked[0].endswith("/wait")


def test_what_an_attempt_before_has_left_is_ended_first(engine: Engine) -> None:
    run(Context({"id": 7, "attempt": 1}), host=engine.host, auto_remove=False)
    (earlier,) = engine.containers
    engine.asked.clear()
    run(host=engine.host)
    assert engine.asked[:3] == [
        f"POST /containers/{earlier}/stop",
        f"DELETE /containers/{earlier}",
        "POST /containers/create",
    ]


def test_its_exit_code_is_the_outcome_and_too_little_memory_is_named(engine: Engine) -> None:
    engine.exit = {"ExitCode": 3}
    assert failure(host=engine.host) == ("exit_code", "exit code 3", 3)
    engine.exit = {"ExitCode": 137, "OOMKilled": True}
    assert failure(host=engine.host, memory="64m") == (
        "exit_code",
        "killed: out of memory (memory: 64m)",
        137,
    )
    assert engine.containers == {}


def test_an_image_is_pulled_when_it_is_wanted_or_missing(engine: Engine) -> None:
    for image, pull, pulls in [(IMAGE, "missing", 0), (IMAGE, "always", 1), ("other", "missing", 1)]:
        engine.asked.clear()
        with pytest.raises(Failure) if image == "other" else nullcontext():
            run(host=engine.host, image=image, pull=pull)
        assert engine.asked.count("POST /images/create") == pulls
    assert failure(host=engine.host, image="other")[1].startswith("there is no image 'other'")


def test_an_engine_that_does_not_answer_is_named() -> None:
    code, text, _ = failure(host="tcp://127.0.0.1:1")
    assert (code, text.partition(": ")[0]) == (
        "docker_failed",
        "no container engine answers at tcp://127.0.0.1:1",
    )


def test_without_the_library_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    code, text, _ = failure()
    assert (code, text.partition(": ")[2]) == ("extra_missing", 'pip install "zquant-flow[docker]"')


@pytest.mark.parametrize(
    "wrong", [{"volumes": ["/a"]}, {"memory": "much"}, {"cpus": 0}, {"pull": "maybe"}, {"stop_seconds": 60}]
)
def test_what_can_not_be_is_refused_when_the_file_is_loaded(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DockerConfig.model_validate({"image": "x", **wrong})


# ── a real engine ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real() -> Iterator[Any]:
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as sock:
        if sock.connect_ex(path):
            pytest.skip(f"no container engine answers at {path}: DOCKER_HOST says where one is")
    client = docker.from_env(timeout=10)
    try:
        client.images.get(IMAGE)
        yield client
    except docker.errors.NotFound:
        pytest.skip(f"the image {IMAGE} is not here: pull it, or name another by ZQF_TEST_IMAGE")
    finally:
        client.close()


def test_a_real_container_runs_with_its_variables_and_folders(
    real: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = run(
        command=["sh", "-c", "echo $DAY; echo to err >&2; echo 5 > /out/rows"],
        environment={"DAY": "五"},
        volumes=[f"{tmp_path}:/out"],
        network="none",
        pull="never",
    )
    assert sorted(found["output"].splitlines()) == ["to err", "五"]
    assert sorted(capfd.readouterr().out.splitlines()) == ["to err", "五"]
    assert (tmp_path / "rows").read_text() == "5\n"
    assert failure(command=["sh", "-c", "exit 3"], network="none") == ("exit_code", "exit code 3", 3)
    assert mine(real) == []


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_terminate_stops_and_removes_a_real_container(real: Any, tmp_path: Path, isolation: str) -> None:
    runner = Runner(tmp_path)
    client = runner.client()
    script = "trap 'exit 0' TERM; echo began; while true; do sleep 0.1; done"
    config = {"image": IMAGE, "command": ["sh", "-c", script], "network": "none"}
    try:
        client.start(1, executor="docker", entry=DockerExecutor.entry(), config=config, isolation=isolation)
        until(lambda: b"began" in client.log(1), seconds=30, what="the container")
        client.send(op="terminate", id=1, attempt=1, kind="terminated", grace=30)
        outcome = client.wait(1)
    finally:
        client.close()
        runner.end()
    assert (outcome["kind"], mine(real)) == ("terminated", [])


def mine(client: Any) -> list[str]:
    """The containers of executions that are there."""
    return [found.name for found in client.containers.list(all=True, filters={"label": [EXECUTION]})]
