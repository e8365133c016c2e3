"""A server that runs tells a channel of what happens to its tasks, and the command line tries that channel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.serving import Server, drop, until
from tests.executors.web import serving

FAILS = """
name: fails
command: sh -c 'echo the last words; exit 3'
max_retries: 1
retry_interval: 0
notify: {on_retry: ops}
"""


def test_a_failure_reaches_its_channel_with_log_and_link(start_server: Callable[[], Server]) -> None:
    with serving() as web:
        server = start_server()
        server.stop()
        (server.root / "zquant-flow.toml").write_text(
            f"""
            [notify.channels.ops]
            type = "webhook"
            url = "{web.url}/in"
            allow_private = true
            log_lines = 5
            [[notify.rules]]
            channels = ["ops"]
            """
        )
        server.start()
        drop(server.root / "tasks" / "fails.yaml", FAILS)
        task = until(lambda: server.client.find("fails"), "the task")
        started = server.client.post(f"/tasks/{task['id']}/trigger")["execution_id"]
        until(lambda: len(web.asked) == 2, "both messages")
        retry, failure = (json.loads(asked.body) for asked in web.asked)
        assert (retry["event"], retry["attempt"], retry["error_code"]) == ("retry", 1, "exit_code")
        assert (failure["event"], failure["title"], failure["execution_id"]) == (
            "failure",
            "fails has failed",
            started,
        )
        assert failure["log"] == "the last words"
        assert failure["url"].endswith(f"/executions/{started}")

        program = [
            Path(sys.executable).with_name("zquant-flow"),
            "notify",
            "test",
            "ops",
            "--data",
            server.data,
        ]
        subprocess.run(program, check=True, capture_output=True)
        assert json.loads(web.asked[-1].body)["event"] == "test"
