"""Templates in what an executor is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zquant_flow.core.model import Action
from zquant_flow.definitions.faults import DefinitionErrors
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.executors import builtin
from zquant_flow.executors.context import Context
from zquant_flow.plugin import Config, Executor, hookimpl
from zquant_flow.plugin.plugins import load_plugins
from zquant_flow.plugin.sources import Sources
from zquant_flow.runner.calls import Calls
from zquant_flow.testing import Harness, command_node, workflow_task


class Rows(Executor):
    name = "rows"

    class Config(Config):
        count: int = 0
        names: list[str] = []

    def run(self, context: Context, config: Any) -> int:
        return int(config.count)


class Plugin:
    @hookimpl
    def register_executors(self) -> Sequence[type[Executor]]:
        return [Rows]


PLUGINS = load_plugins(Sources(entry_points=False), {"builtin": builtin, "rows": Plugin()})


def parsed(config: dict[str, Any]) -> Any:
    said = {"name": "t", "executor": "rows", "params": {"n": 3}, "config": config}
    return parse_definition(said, origin="file", executors=PLUGINS.configs).task


def faults(config: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionErrors) as caught:
        parsed(config)
    return [(error.field, error.code) for error in caught.value.errors]


def test_a_template_may_stand_where_a_number_is_wanted() -> None:
    config = {"count": "{{ params.n }}", "names": ["{{ params.n }}.csv"]}
    assert parsed(config).action.config == config


def test_what_is_no_template_is_checked_beside_one_and_so_are_the_templates_themselves() -> None:
    assert faults({"count": "many", "names": ["{{ params.n }}"]}) == [("config.count", "wrong_type")]
    assert faults({"{{ x }}": 1}) == [("config.{{ x }}", "unknown_key")]
    assert faults({"count": "{{ params.m }}"}) == [("config.count", "invalid_reference")]
    assert faults({"names": ["{{ params.n"]}) == [("config.names.0", "invalid_expression")]


def test_an_order_has_the_values_with_their_types_and_the_results_of_earlier_nodes(tmp_path: Path) -> None:
    action = Action(
        executor="rows",
        config={"count": "{{ nodes.a.result.rows * 2 }}", "names": ["{{ params.day }}.csv", "x"]},
    )
    with Harness(tmp_path, plugins=lambda: PLUGINS) as h:
        flow = workflow_task(
            "flow", [command_node("a"), command_node("b", "a", action=action)], params={"day": "monday"}
        )
        (task_id,) = h.define(flow)
        h.operations.trigger(task_id, actor="me")
        h.end(h.backend.node("a"), result='{"rows": 21}')
        order = h.backend.active[h.backend.node("b")]
    assert order["config"] == {"count": 42, "names": ["monday.csv", "x"]}


def test_what_a_template_became_is_checked_before_the_work_begins() -> None:
    order = {"id": 1, "attempt": 1, "entry": Rows.entry(), "config": {"count": "many"}}
    outcome = Calls().outcome(order, Context(order))
    assert (outcome["kind"], outcome["code"]) == ("failed", "invalid_config")
    assert outcome["error"].startswith("the config of rows: count: ")
