"""Commands in this process, against a real server or the data folder alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.serving import Server, drop
from zquant_flow.cli import main


class Done(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Zqf = Callable[..., Done]

TASKS = {
    "hello.yaml": "name: hello\ncron: '0 9 * * 1-5'\ntags: [demo]\ncommand: echo hello there\n",
    "bad.yaml": 'name: bad\ncommand: ["sh", "-c", "echo why; exit 3"]\n',
    "slow.yaml": "name: slow\nexecutor: example\nconfig: {duration_seconds: 30, steps: 300}\noverlap: allow\n",
    "lines.yaml": "name: lines\nshell: /bin/sh\ncommand: for n in 1 2 3; do echo line $n; sleep 0.1; done\n",
    "flow.yaml": (
        "name: 夜间流程\ntasks:\n  - {name: 提取, command: echo out}\n"
        "  - {name: load, command: 'false', dependencies: [提取]}\n"
    ),
    "params.yaml": "name: params\nparams: {x: 1}\nshell: /bin/sh\ncommand: echo x is $ZQF_PARAM_X\n",
}


@pytest.fixture
def zqf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zqf:
    """Run a command line to its end."""

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["zqf", *map(str, words)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as exc:
            code = exc.code
        out, err = capsys.readouterr()
        return Done(int(code or 0), out, err)

    return run


def write_tasks(folder: Path) -> None:
    for name, text in TASKS.items():
        drop(folder / name, text)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a project's folder the working directory, with no settings from outside."""
    for name in list(os.environ):
        if name.startswith("ZQUANT_FLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZQUANT_FLOW_TIMEZONE", "UTC")
    monkeypatch.chdir(folder)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this process; its folder is a project like any."""
    root = tmp_path_factory.mktemp("served")
    server = Server(root)
    server.data = root / ".zquant-flow"
    write_tasks(server.tasks)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def live(serving: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The project of a running server."""
    stand_in(serving.root, monkeypatch)
    return serving


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that nobody serves."""
    write_tasks(tmp_path / "tasks")
    stand_in(tmp_path, monkeypatch)
    return tmp_path
