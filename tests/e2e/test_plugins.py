"""Plugins of a server that runs: files that are dropped, edited and taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.serving import Server, drop, until

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
