"""Scripts with an environment of their own: what is started, and that it is a command in every way."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.runner.client import Client, Frame, Runner
from zquant_flow.core.model import Action
from zquant_flow.engine.orders import command_line
from zquant_flow.executors import builtin
from zquant_flow.executors.script import ScriptConfig, ScriptExecutor
from zquant_flow.executors.script_start import VERSION, CannotStart, command_of
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.hookspecs import hookimpl
from zquant_flow.plugin.plugins import load_plugins
from zquant_flow.plugin.sources import Sources
from zquant_flow.store import queries
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

HEADER = '# /// script\n# dependencies = ["zqf-tiny"]\n# ///\n'


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    runner = Runner(tmp_path)
    client = runner.client()
    yield client
    client.close()
    runner.end()


def run(client: Client, folder: Path, text: str | None, **config: object) -> Frame:
    """The outcome of this script."""
    if text is not None:
        (folder / "work.py").write_text(text, encoding="utf-8")
    words = command_line(ScriptExecutor, {"file": "work.py", **config})
    return client.run(1, words, cwd=str(folder), env={"UV_CACHE_DIR": str(folder / "cache")})


def started(folder: Path, text: str, **config: object) -> list[str]:
    """The words that the starter becomes."""
    script = folder / "work.py"
    script.write_text(text)
    return command_of(**ScriptConfig(file=str(script), **config).model_dump())


def test_a_plain_script_runs_in_our_python_in_its_folder_with_utf8_and_gives_a_result(
    client: Client, tmp_path: Path
) -> None:
    text = (
        "import json, os, sys\nprint(sys.argv[1:], sys.executable, os.getcwd(), '中文')\n"
        "open(os.environ['ZQUANT_FLOW_OUTPUT'], 'w').write(json.dumps({'rows': 3}))\n"
    )
    outcome = run(client, tmp_path, text, args=["--day", "五 月"])
    assert (outcome["kind"], json.loads(outcome["result"])) == ("success", {"rows": 3})
    assert client.log(1).decode() == f"['--day', '五 月'] {sys.executable} {tmp_path} 中文\n"


def test_its_exit_code_is_the_outcome(client: Client, tmp_path: Path) -> None:
    outcome = run(client, tmp_path, "raise SystemExit(3)")
    assert (outcome["kind"], outcome["code"], outcome["exit_code"]) == ("failed", "exit_code", 3)


def test_a_script_that_is_not_there_is_named_with_its_folder(client: Client, tmp_path: Path) -> None:
    assert run(client, tmp_path, None)["exit_code"] == 2
    assert (
        client.log(1).decode()
        == f"the script work.py can't be read in {tmp_path}: No such file or directory\n"
    )


def test_an_interpreter_that_is_not_there_is_named(client: Client, tmp_path: Path) -> None:
    assert run(client, tmp_path, "", python="/no/python")["exit_code"] == 127
    assert client.log(1).decode() == "/no/python can't be started: No such file or directory\n"


def test_the_dependencies_of_its_header_are_installed_and_the_log_shows_it(
    client: Client, tmp_path: Path
) -> None:
    pytest.importorskip("uv")
    wheel(tmp_path)
    offline = ["--offline", "--no-index", "--find-links", str(tmp_path), "--python", sys.executable]
    outcome = run(
        client, tmp_path, f"{HEADER}import zqf_tiny\nprint('it says', zqf_tiny.WORD)", uv_args=offline
    )
    assert outcome["kind"] == "success", client.log(1).decode()
    assert "Installed 1 package" in client.log(1).decode()
    assert client.log(1).decode().endswith("it says tiny\n")


def wheel(folder: Path) -> None:
    """A wheel of one module, in that folder."""
    info = "zqf_tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "zqf_tiny-1.0-py3-none-any.whl", "w") as file:
        file.writestr("zqf_tiny.py", "WORD = 'tiny'\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: zqf-tiny\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(
            f"{info}/RECORD", f"zqf_tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )


@pytest.mark.usefixtures("uv")
def test_uv_runs_what_has_a_header_requirements_or_a_version(tmp_path: Path) -> None:
    script = str(tmp_path / "work.py")
    assert started(tmp_path, HEADER, args=["a"]) == ["uv", "run", "--no-project", "--script", script, "a"]
    assert started(tmp_path, "", requirements=["pandas>=2", "httpx"])[3:-2] == [
        *("--with", "pandas>=2", "--with", "httpx")
    ]
    assert started(tmp_path, "", python="3.12", uv_args=["--offline"])[3:-2] == [
        *("--python", "3.12", "--offline")
    ]
    assert started(tmp_path, "# no header\n", python="bin/python") == ["bin/python", script]


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zquant_flow.executors.script_start._uv", lambda: "uv")


def test_without_uv_the_line_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match=r'pip install "zquant-flow\[script\]"'):
        started(tmp_path, HEADER)


@pytest.mark.parametrize("word", ["3", "3.12", ">=3.11", "pypy3.10", "cpython@3.12"])
def test_versions_are_told_from_programs(word: str) -> None:
    assert VERSION.fullmatch(word)
    assert not VERSION.fullmatch(f"/usr/bin/python{word}")
    assert not VERSION.fullmatch("python")


def test_the_engine_orders_it_as_a_command_with_the_results_before_it(tmp_path: Path) -> None:
    action = Action(executor="script", config={"file": "work.py", "args": ["x"]})
    with Harness(tmp_path) as h:
        nodes = [command_node("load"), command_node("work", "load", action=action)]
        (task,) = h.define(workflow_task("w", nodes))
        h.operations.trigger(task, actor="me")
        h.end(h.backend.node("load"), result='{"rows": 2}')
        order = h.backend.active[h.backend.node("work")]
        assert order["executor"] == "command"
        assert json.loads(order["config"]["command"][-1])["args"] == ["x"]
        assert order["results"] == {"load": '{"rows": 2}'}
        assert "entry" not in order


class Words(Executor):
    name = "words"
    Config = type("Config", (BaseModel,), {"__annotations__": {"say": str}})

    @staticmethod
    def command_line(config: object) -> Sequence[str]:
        return {"text": "one text", "error": None}[config.say]  # type: ignore[attr-defined,return-value]


class Plugin:
    @hookimpl
    def register_executors(self) -> Sequence[type[Executor]]:
        return [Words]


@pytest.mark.parametrize("said", ["text", "error", "nothing"])
def test_a_command_line_that_fails_is_a_failed_attempt_that_names_its_executor(
    tmp_path: Path, said: str
) -> None:
    plugins = load_plugins(Sources(entry_points=False), {"builtin": builtin, "words": Plugin()})
    with Harness(tmp_path, plugins=lambda: plugins) as h:
        (task,) = h.define(command_task("t", action=Action(executor="words", config={"say": said})))
        run = h.operations.trigger(task, actor="me")
        row = queries.execution_row(h.database, run)
    assert (row.status, row.error_code) == ("failed", "invalid_definition")
    assert "executor 'words' has no command line for this config: " in row.error_message
