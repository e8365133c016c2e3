"""What an executor finds in its context beside its config."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from zquant_flow.core.model import Action
from zquant_flow.environment import RUNNER_MARK
from zquant_flow.executors import builtin
from zquant_flow.executors.context import Context
from zquant_flow.plugin import Config, Executor, hookimpl
from zquant_flow.plugin.plugins import load_plugins
from zquant_flow.plugin.sources import Sources
from zquant_flow.runner.calls import Calls
from zquant_flow.testing import Harness, command_node, workflow_task

seen: dict[str, Any] = {}


class Look(Executor):
    name = "look"
    takes_results = True

    def run(self, context: Context, config: Config) -> None:
        seen["results"], seen["deadline"] = context.results, context.deadline
        folder = seen["folder"] = context.temporary_folder
        assert folder == context.temporary_folder
        (folder / "part").write_text("x")
        if context.attempt > 1:
            raise RuntimeError("no luck")


class Plugin:
    @hookimpl
    def register_executors(self) -> list[type[Executor]]:
        return [Look]


PLUGINS = load_plugins(Sources(entry_points=False), {"builtin": builtin, "look": Plugin()})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "outputs").mkdir()
    monkeypatch.setenv(RUNNER_MARK, str(tmp_path))
    seen.clear()
    return tmp_path


def carried_out(**order: Any) -> dict[str, Any]:
    order = {"id": 7, "attempt": 1, "entry": Look.entry(), "config": {}, **order}
    return Calls().outcome(order, Context(order))


@pytest.mark.parametrize("attempt", [1, 2])
def test_its_temporary_folder_goes_with_the_attempt_however_that_ends(data: Path, attempt: int) -> None:
    outcome = carried_out(attempt=attempt)
    assert outcome["kind"] == ("success" if attempt == 1 else "failed")
    assert seen["folder"].parent == data / "outputs"
    assert not seen["folder"].exists()


@pytest.mark.usefixtures("data")
def test_its_deadline_is_the_timeout_from_its_beginning() -> None:
    begun = datetime.now(UTC)
    carried_out(timeout=60)
    assert timedelta(0) <= seen["deadline"] - begun - timedelta(seconds=60) < timedelta(seconds=10)
    carried_out(timeout=None)
    assert seen["deadline"] is None


@pytest.mark.usefixtures("data")
def test_results_come_as_json_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_text("[1, 2]")
    files = {"big": [str(tmp_path / "nowhere"), str(tmp_path / "big.json")]}
    carried_out(results={"small": '{"rows": 3}'}, result_files=files)
    assert seen["results"] == {"small": {"rows": 3}, "big": [1, 2]}
    carried_out()
    assert seen["results"] == {}
    failed = carried_out(result_files={"big": [str(tmp_path / "nowhere")]})
    assert failed["code"] == "result_missing"


def test_the_engine_gives_results_to_those_who_ask_for_them(tmp_path: Path) -> None:
    nodes = [
        command_node("a"),
        command_node("b", "a", action=Action(executor="look", config={})),
        command_node("c", "a", action=Action(executor="example", config={})),
    ]
    with Harness(tmp_path, plugins=lambda: PLUGINS) as h:
        (task_id,) = h.define(workflow_task("flow", nodes))
        h.operations.trigger(task_id, actor="me")
        h.end(h.backend.node("a"), result='{"rows": 3}')
        h.end(h.backend.node("b"))
        orders = {order["node"]: order for order in h.backend.orders}
    assert orders["b"]["results"] == {"a": '{"rows": 3}'}
    assert "results" not in orders["c"]
