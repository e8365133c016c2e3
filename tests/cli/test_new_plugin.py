"""`zqf new plugin NAME` makes a package that can be built, installed, found and tested as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Zqf, stand_in

TASK = "name: hello\nexecutor: market-checks\nconfig: {who: 世界, times: 2}\n"


def python(venv: Path, *words: object, cwd: Path) -> str:
    """What a command of that environment writes; it has to succeed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ZQUANT_", "PYTEST_"))}
    done = subprocess.run(
        [venv / "bin" / "python", *map(str, words)],
        cwd=cwd,
        env={**env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "VIRTUAL_ENV": str(venv)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(folder: Path) -> Path:
    """A fresh one, in which what this project has installed can be imported."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (site / "project.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return folder


def installed(wheel: Path, venv: Path) -> None:
    """What pip does with a wheel of pure Python."""
    (site,) = venv.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


def test_a_new_plugin_is_built_installed_found_run_and_tested(
    tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    done = zqf("new", "plugin", "market-checks")
    assert done.code == 0, done.err
    assert done.lines[0] == "made    market-checks/"
    root = tmp_path / "market-checks"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=root, check=True, capture_output=True
    )
    (wheel,) = (root / "dist").glob("*.whl")
    assert "market_checks/py.typed" in zipfile.ZipFile(wheel).namelist()
    venv = environment(tmp_path / "venv")
    installed(wheel, venv)

    project = tmp_path / "project"
    (project / "tasks").mkdir(parents=True)
    (project / "tasks" / "hello.yaml").write_text(TASK)
    known: Any = json.loads(python(venv, "-m", "zquant_flow", "plugins", "list", "--json", cwd=project))
    (plugin,) = (one for one in known["plugins"] if one["name"] == "market-checks")
    assert (plugin["state"], plugin["source"], plugin["version"], plugin["executors"]) == (
        "active",
        "package market-checks",
        "0.1.0",
        ["market-checks"],
    )
    run = json.loads(python(venv, "-m", "zquant_flow", "run", "hello", "--json", cwd=project))
    assert run["result"] == {"greeted": "世界", "times": 2}
    told = python(venv, "-m", "pytest", "-q", "-p", "zquant_flow", "-W", "error", cwd=root)
    assert "14 passed" in told
    assert "skipped" not in told


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("行情", "can't be the name of a package"),
        ("1st", "can't be the name of a package"),
        ("class", "can't be the name of a package"),
        ("../up", "can't be the name of a package"),
        ("a b", "can't be the name of a package"),
        ("-x", "can't be the name of a package"),
        ("docker", "the executor 'docker' is built in"),
        ("json", "a module json is installed already"),
        ("zquant-flow", "a module zquant_flow is installed already"),
        ("PyTest", "a module pytest is installed already"),
    ],
)
def test_names_that_would_be_in_the_way_are_refused(
    tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    stand_in(tmp_path, monkeypatch)
    before = sorted(tmp_path.iterdir())
    done = zqf("new", "plugin", "--", name)
    assert (done.code, why in done.err) == (2, True), done.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_there_is_not_touched(
    tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    (tmp_path / "sub" / "mine").mkdir(parents=True)
    done = zqf("new", "plugin", "mine", "--dir", "sub")
    assert (done.code, "is there already" in done.err) == (2, True)
    assert not list((tmp_path / "sub" / "mine").iterdir())
    assert zqf("new", "plugin", "mine.too", "--dir", "sub/deeper").code == 0
    assert (tmp_path / "sub" / "deeper" / "mine.too" / "mine_too" / "__init__.py").exists()
