"""Plugins of a server that runs: files that are dropped, edited and taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.serving import EXAMPLES, Server, drop, until

GREET = """
from zquant_flow.plugin import Config, Executor

class Greet(Executor):
    name = "greet"

    class Config(Config):
        who: str = "world"

    async def run(self, context, config):
        print(f"Hello, {config.who}!")
        return f"hello {config.who}"
"""


def test_a_plugin_that_is_dropped_edited_and_broken_while_the_server_runs(
    start_server: Callable[[], Server],
) -> None:
    server = start_server()
    client, plugin = server.client, server.root / "plugins" / "greet.py"
    drop(server.root / "tasks" / "g.yaml", "name: g\nexecutor: greet\nconfig: {who: 世界}\n")
    until(
        lambda: client.get("/load-errors")["load_errors"],
        "the load error of a task whose executor is not there",
    )

    def state() -> dict[str, Any]:
        found = [plugin for plugin in client.get("/plugins")["plugins"] if plugin["name"] == "greet"]
        return found[0] if found else {}

    def result() -> Any:
        started = client.post(f"/tasks/{client.find('g')['id']}/trigger")["execution_id"]  # type: ignore[index]
        return client.ended(started)["result"]

    drop(plugin, GREET)
    until(lambda: client.find("g"), "the task, once its executor has come")
    assert result() == "hello 世界"

    drop(plugin, GREET.replace("hello", "good day"))
    until(lambda: "good day" in str(result()), "what was edited")

    drop(plugin, GREET + "\nsyntax error")
    until(lambda: state()["state"] == "failed", "the plugin as a failed one")
    assert "greet.py:14" in state()["error"]
    (error,) = until(lambda: client.get("/load-errors")["load_errors"], "the load error of the task")
    assert error["code"] == "unknown_executor"
    assert client.find("g"), "its last good version stays"

    drop(plugin, GREET)
    until(lambda: not client.get("/load-errors")["load_errors"], "all well again")
    assert client.get("/executors/greet/schema")["properties"]["who"]["default"] == "world"


def test_the_example_of_the_plugins_folder_finds_what_is_missing_in_quotes(
    start_server: Callable[[], Server],
) -> None:
    server = start_server()
    client, tasks = server.client, server.root / "tasks"
    drop(server.root / "plugins" / "gaps.py", (EXAMPLES.parent / "plugins" / "gaps.py").read_text())
    until(lambda: "gaps" in [plugin["name"] for plugin in client.get("/plugins")["plugins"]], "the plugin")
    quotes = (EXAMPLES / "market" / "data" / "daily_bars.csv").read_text()
    drop(tasks / "whole.csv", quotes)
    drop(
        tasks / "holes.csv",
        "symbol,day\n银行,2026-01-05\n银行,2026-01-06\n银行,2026-01-07\n钢铁,2026-01-05\n钢铁,2026-01-07\n",
    )
    for name, config in {
        "whole": "{file: whole.csv}",
        "holes": "{file: holes.csv}",
        "borne": "{file: holes.csv, most: 1}",
        "other": "{file: holes.csv, day: date}",
    }.items():
        drop(tasks / f"{name}.yaml", f"name: {name}\nexecutor: gaps\nconfig: {config}\n")
        until(lambda name=name: client.find(name), f"the task {name}")

    assert client.succeeded("whole")["result"]["gaps"] == {}
    assert client.succeeded("borne")["result"] == {
        "symbols": 2,
        "days": 3,
        "gaps": {"钢铁": ["2026-01-06"]},
    }
    failed = client.ended(client.trigger("holes"))
    assert (failed["error_code"], failed["error_message"]) == (
        "gaps",
        "1 days are missing, of 1 symbols: 钢铁",
    )
    assert "钢铁 lacks 2026-01-06" in client.log(failed["id"])
    assert client.ended(client.trigger("other"))["error_code"] == "column_missing"
