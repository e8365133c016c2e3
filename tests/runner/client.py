"""A small client of the runner, for tests and measurements: starts one, speaks the wire, waits for frames."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Frame = dict[str, Any]
PATIENCE = 15.0


class Runner:
    """A runner process of its own in `data_dir`."""

    def __init__(self, data_dir: Path, env: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.stderr = (data_dir / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zquant_flow.runner", str(data_dir)],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.stderr,
            env={**os.environ, **(env or {})},
        )

    def client(self) -> Client:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Client(self.data_dir)
            except (ConnectionRefusedError, FileNotFoundError):
                assert time.monotonic() < deadline, "no runner"
                time.sleep(0.002)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.stderr.close()

    def errors(self) -> str:
        return (self.data_dir / "stderr.txt").read_text()


class Client:
    """One connection, after its hello."""

    def __init__(self, data_dir: Path, version: int = 1) -> None:
        self.data_dir = data_dir
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(str(data_dir / "runner.sock"))
        except OSError:
            self.sock.close()
            raise
        self._rest = b""
        self._frames: list[Frame] = []
        self.outcomes: dict[tuple[int, int], Frame] = {}
        self.progress: list[Frame] = []
        self.send(op="hello", version=version)
        self.hello = self.frame()

    def send(self, **frame: Any) -> None:
        self.sock.sendall(json.dumps(frame).encode() + b"\n")

    def close(self) -> None:
        self.sock.close()

    def frame(self) -> Frame:
        """The next frame."""
        while not self._frames:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError("the runner has closed the connection")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._frames = [json.loads(line) for line in lines]
        return self._frames.pop(0)

    def wait_for(self, op: str) -> Frame:
        """The next frame of that kind; outcomes and progress on the way are kept."""
        while True:
            frame = self.frame()
            self._keep(frame)
            if frame["op"] == op:
                return frame

    def wait(self, execution_id: int, attempt: int = 1) -> Frame:
        """The outcome of an attempt."""
        while (execution_id, attempt) not in self.outcomes:
            self._keep(self.frame())
        return self.outcomes[execution_id, attempt]

    def order(self, execution_id: int, **fields: Any) -> Frame:
        log = self.data_dir / "logs" / "0" / f"{execution_id}-{fields.get('attempt', 1)}.log"
        return {
            "id": execution_id,
            "attempt": 1,
            "executor": "command",
            "config": {},
            "params": {},
            "env": {},
            "cwd": "/",
            "timeout": None,
            "isolation": "process",
            "log": str(log),
            "task": "t",
            "node": None,
            **fields,
        }

    def start(self, execution_id: int, command: Any = None, **fields: Any) -> None:
        if command is not None:
            fields["config"] = {"command": command}
        self.send(op="start", items=[self.order(execution_id, **fields)])

    def run(self, execution_id: int, command: Any = None, **fields: Any) -> Frame:
        self.start(execution_id, command, **fields)
        return self.wait(execution_id, fields.get("attempt", 1))

    def log(self, execution_id: int, attempt: int = 1) -> bytes:
        path = self.data_dir / "logs" / "0" / f"{execution_id}-{attempt}.log"
        return path.read_bytes() if path.exists() else b""

    def _keep(self, frame: Frame) -> None:
        if frame["op"] == "outcomes":
            for outcome in frame["items"]:
                self.outcomes[outcome["id"], outcome["attempt"]] = outcome
        elif frame["op"] == "progress":
            self.progress += frame["items"]
