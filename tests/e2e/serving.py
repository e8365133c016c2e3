"""How does a test get a real server, and talk to it?

A `Server` is `zquant-flow serve` as a child process over a folder of its own; a `Client` speaks to it over HTTP only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

EXAMPLES = Path(__file__).parents[2] / "tasks"
PREFIX = "/api/v1/scheduler"
FINAL = ("success", "failed", "completed", "terminated", "skipped")
PATIENCE = 20.0
"""Seconds for what has no promise of its own: long enough for a busy machine, and never waited out by a test that passes."""


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of `condition`, looked at again and again; fails with `what` when it never comes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


def drop(path: Path, text: str) -> None:
    """Write a file as the docs advise: beside its place, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


class Client:
    """HTTP with the token; every answer is checked against the status that is expected."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url + PREFIX, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
        )

    def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        return self._body(self.http.get(path, params=query), expect)

    def post(self, path: str, body: Any = None, expect: int = 200) -> Any:
        return self._body(self.http.post(path, json=body), expect)

    def put(self, path: str, body: Any, expect: int = 200) -> Any:
        return self._body(self.http.put(path, json=body), expect)

    def delete(self, path: str, expect: int = 204) -> Any:
        return self._body(self.http.delete(path), expect)

    def find(self, name: str) -> dict[str, Any] | None:
        """The task of that name, None where the list has none."""
        tasks = self.get("/tasks", q=name, limit=1000)["tasks"]
        return next((task for task in tasks if task["name"] == name), None)

    def trigger(self, name: str, **params: Any) -> int:
        """Run a task now; the id of its execution."""
        task = self.find(name)
        assert task is not None, f"no task is named {name!r}"
        answer = self.post(f"/tasks/{task['id']}/trigger", {"params": params})
        return int(answer["execution_id"])

    def execution(self, execution_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/executions/{execution_id}", include="attempts,children")
        return found

    def ended(self, execution_id: int, seconds: float = PATIENCE) -> dict[str, Any]:
        """The execution, once it is over."""

        def over() -> dict[str, Any] | None:
            found = self.execution(execution_id)
            return found if found["status"] in FINAL else None

        return until(over, f"the end of execution {execution_id}", seconds)

    def succeeded(self, name: str, **params: Any) -> dict[str, Any]:
        """Run a task to its end, which has to be a success."""
        found = self.ended(self.trigger(name, **params))
        assert found["status"] == "success", found["error_message"]
        return found

    def log(self, execution_id: int) -> str:
        return self.http.get(f"/executions/{execution_id}/log").raise_for_status().text

    def load_errors(self, path: str) -> list[dict[str, Any]]:
        return [error for error in self.get("/load-errors")["load_errors"] if error["path"] == path]

    def _body(self, answer: httpx.Response, expect: int) -> Any:
        assert answer.status_code == expect, f"{answer.request.method} {answer.url.path}: {answer.text}"
        return answer.json() if answer.content else None


class Server:
    """`zquant-flow serve --port 0` over `<root>/tasks`, with its data in `<root>/data`. May be started again and again."""

    def __init__(self, root: Path, *, examples: bool = False) -> None:
        self.root, self.tasks, self.data = root, root / "tasks", root / "data"
        if examples:
            shutil.copytree(EXAMPLES, self.tasks, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(EXAMPLES.parent / "zquant-flow.toml", self.root)
        self.tasks.mkdir(exist_ok=True)
        self.client: Client = None  # type: ignore[assignment]  # there is one between start and stop
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> Server:
        (self.data / "server.json").unlink(missing_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("ZQUANT_")}
        program = Path(sys.executable).with_name("zquant-flow")
        with (self.root / "stdout").open("ab") as out, (self.root / "stderr").open("ab") as err:
            self._process = subprocess.Popen(
                [program, "serve", "--port", "0", "--tasks", self.tasks, "--data", self.data, *flags],
                cwd=self.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        url = until(self._address, "an address in server.json")
        until(lambda: self._ready(url), "an answer of /readyz")
        self.client = Client(url, (self.data / "admin.token").read_text().strip())
        return self

    def stop(self) -> int | None:
        """SIGTERM; its exit code, None if it was not running. Asserts that nothing of it is left."""
        process = self._release()
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        until(lambda: not self.processes(), "the end of all that the server had started")
        assert code == 0, f"the server ended with exit code {code}:\n{self.errors()}"
        return code

    def replace(self) -> int:
        """Start another that takes this one's place; the exit code of this one."""
        before = self._release()
        assert before is not None
        self.start("--handover")
        return before.wait(PATIENCE)

    def kill(self) -> None:
        """kill -9, of the control plane alone: what it has started lives on."""
        process = self._release()
        assert process is not None
        process.kill()
        process.wait()

    def processes(self) -> list[str]:
        """The command lines of the runner, the loader and the attempts that are alive."""
        return [found for process in psutil.process_iter() if (found := self._is_ours(process))]

    def errors(self) -> str:
        """What the server wrote to stderr, in all its lives."""
        path = self.root / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def _is_ours(self, process: psutil.Process) -> str:
        try:
            words, env = process.cmdline(), process.environ()
        except psutil.Error:
            return ""
        named = any(word.startswith(str(self.root)) for word in words)
        ours = named or env.get("ZQUANT_FLOW_RUNNER") == str(self.data)
        return " ".join(words) if ours and process.pid != os.getpid() else ""

    def _release(self) -> subprocess.Popen[bytes] | None:
        if self.client is not None:
            self.client.http.close()
        process, self._process = self._process, None
        return process

    def _address(self) -> str | None:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended while it started:\n{self.errors()}"
        try:
            return str(json.loads((self.data / "server.json").read_text())["url"])
        except (FileNotFoundError, ValueError):
            return None

    def _ready(self, url: str) -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).json()["status"] == "ok"
        except httpx.TransportError:
            return False
