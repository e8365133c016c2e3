"""The house: a module imports its own floor and those below, and the heavy rooms are entered late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "zquant_flow"
FLOORS = [
    {"errors", "wording", "complaints"},
    {"core"},
    {"config", "environment", "failpoints", "clock", "logs", "result_files", "plugin", "calendars"},
    {"definitions", "store", "executors", "notifiers", "backends", "runner"},
    {"engine"},
    {"api", "web"},
    {"client"},
    {"cli", "testing"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("zquant_flow."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "zquant_flow":
            found |= {alias.name for alias in node.names if alias.name in FLOOR}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("zquant_flow.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_runs_upwards(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        pytest.skip("the package itself names what lives upstairs, and imports it late")
    above = {other for other in imported_rooms(path) if FLOOR[other] > FLOOR[room]}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_in_its_first_line_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_runner_and_its_workers_are_light() -> None:
    modules = imported_by("import zquant_flow.runner.__main__, zquant_flow.runner.worker")
    assert not modules & {"pydantic", "sqlalchemy", "fastapi", "networkx", "croniter", "yaml", "psutil"}


def test_the_command_line_answers_without_loading_the_server() -> None:
    modules = imported_by("import zquant_flow.cli.app")
    assert not modules & {"pydantic", "sqlalchemy", "fastapi", "networkx", "croniter", "yaml", "httpx"}


def test_the_server_starts_without_what_it_may_never_need() -> None:
    modules = imported_by("import zquant_flow.engine.assembly, zquant_flow.api.app")
    assert not modules & {
        "alembic",
        "networkx",
        "ruamel.yaml",
        "httpx",
        "exchange_calendars",
        "pandas",
        "numpy",
        "jinja2",
        "rich",
        "asyncssh",
        "docker",
        "pyarrow",
        "zquant_flow.executors.http_request",
    }


def test_task_files_import_next_to_nothing() -> None:
    modules = imported_by("from zquant_flow import task, workflow, current")
    assert not modules & {"pydantic", "sqlalchemy", "fastapi", "networkx", "croniter", "yaml"}


def test_only_the_clock_and_the_edges_read_the_time_and_only_the_config_the_environment() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in {("time", "time"), ("datetime", "utcnow")}
            for node in ast.walk(ast.parse(path.read_text()))
        )
        and room_of(path) in {"core", "engine", "store", "api"}
    }
    assert not readers
