"""The load that a server is under while it is killed, and the server itself.

Every attempt appends `execution attempt pid` to a ledger of the world's own (O_APPEND), so that what really ran is known
without asking the database.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

PROGRAM = Path(sys.executable).with_name("zquant-flow")
SECOND = 1_000_000


class World:
    """A folder with tasks, and the server over it. Tasks fire each second; workflows each third; some attempts fail."""

    def __init__(self, root: Path, *, seed: int, url: str | None = None, tasks: int = 20) -> None:
        self.root, self.url, self.chance = root, url, random.Random(seed)
        self.tasks, self.data, self.ledger = root / "tasks", root / "data", root / "ledger"
        self.tasks.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._write_tasks(tasks)

    @property
    def database_url(self) -> str:
        return self.url or f"sqlite:///{self.data / 'zquant-flow.db'}"

    def start(self, command_name: str = "serve", **environment: str) -> None:
        """Start a server; it is not waited for."""
        command = [PROGRAM, command_name, "--tasks", self.tasks, "--data", self.data]
        if command_name != "scheduler":
            command += ["--port", "0"]
        if self.url:
            command += ["--database", self.url]
        known = {name: value for name, value in os.environ.items() if not name.startswith("ZQUANT_")}
        with (self.root / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                list(map(str, command)),
                env=known | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def wait_ready(self, seconds: float = 60.0) -> bool:
        """Until it serves; False where it died before."""
        assert self._process is not None
        address = self.data / "server.json"
        return self._until(lambda: self._serves(address), seconds)

    def wait_death(self, seconds: float) -> bool:
        """Until it dies by itself; False if it does not in that time."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def lives(self) -> bool:
        """Whether the server still runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9 of the control plane alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def hold_fire(self) -> None:
        """Archive all tasks, so that nothing new begins."""
        for path in self.tasks.glob("*.yaml"):
            path.unlink()

    def left(self) -> list[str]:
        """The processes of this world that are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                words, env = process.cmdline(), process.environ()
            except psutil.Error:
                continue
            of_it = env.get("ZQUANT_FLOW_RUNNER") == str(self.data) or any(
                word.startswith(str(self.root)) for word in words
            )
            if of_it and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(words)}"[:200])
        return found

    def errors(self) -> list[str]:
        """What the server logged that it should not have to."""
        path = self.root / "stderr"
        text = path.read_text(errors="replace") if path.exists() else ""
        return [line for line in text.splitlines() if "Traceback" in line or "CRITICAL" in line]

    def _serves(self, address: Path) -> bool:
        assert self._process is not None
        try:
            return json.loads(address.read_text())["pid"] == self._process.pid
        except (OSError, ValueError, KeyError):
            return False

    def _until(self, condition: object, seconds: float) -> bool:
        assert self._process is not None and callable(condition)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.005)
        raise AssertionError("the server does not come up")

    def _write_tasks(self, count: int) -> None:
        script = f'echo "$ZQUANT_EXECUTION_ID $ZQUANT_FLOW_ATTEMPT $$" >> {self.ledger}; sleep 0.1'
        for number in range(count):
            overlap = self.chance.choice(["skip", "queue", "allow", "replace"])
            fails = "; exit $(( $$ % 3 == 0 ))" if number % 4 == 3 else ""
            (self.tasks / f"i{number}.yaml").write_text(
                f"name: i{number}\ninterval: 1\noverlap: {overlap}\nmax_retries: {number % 3}\n"
                f"retry_interval: 0.1\ncommand: [sh, -c, '{script}{fails}']\n"
            )
        nodes = "".join(
            f"  - name: n{number}\n    command: [sh, -c, '{script}']\n    max_retries: 1\n    retry_interval: 0\n"
            + (f"    dependencies: [n{number - 1}]\n" if number % 3 else "")
            for number in range(9)
        )
        (self.tasks / "w.yaml").write_text(
            f"name: w\ninterval: 3\nworkflow_type: parallel\ntasks:\n{nodes}  - name: ref\n    task: i0\n"
        )
