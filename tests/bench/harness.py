"""What do benchmarks stand on? Real schedulers in scratch folders, figures with their targets, one table."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from zquant_flow.config import load_settings
from zquant_flow.engine.assembly import Scheduler, assemble


@dataclass(frozen=True)
class Figure:
    """One measured number beside what it should be; `least` where more is better."""

    what: str
    value: float
    unit: str
    target: float
    least: bool = False

    @property
    def reached(self) -> bool:
        return self.value >= self.target if self.least else self.value <= self.target


Bench = Callable[[], Sequence[Figure]]
BENCHES: dict[str, Bench] = {}


def bench(function: Bench) -> Bench:
    """Register a benchmark under its function's name."""
    BENCHES[function.__name__] = function
    return function


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes when it is left."""
    folder = Path(tempfile.mkdtemp(prefix="zqf-bench-"))
    (folder / "tasks").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def scheduler(
    folder: Path, *, slots: int = 10, watch: bool = False, url: str | None = None
) -> Iterator[Scheduler]:
    """A scheduler in this process, on the real store and runner; on SQLite without `url`."""
    settings = load_settings(
        tasks_dir=folder / "tasks",
        data_dir=folder / "data",
        thread_pool_size=slots,
        shutdown_grace=1.0,
        database_url=url,
    )
    made = assemble(settings, watch=watch)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def run_task(made: Scheduler, name: str) -> tuple[int, float]:
    """Trigger a task and wait for its end; the execution and the seconds from trigger to end."""
    ended = threading.Event()
    task_id = made.operations.registry.by_name[name].id
    executions = made.engine.memory.executions
    started: list[int] = []

    def look() -> None:
        if started and started[0] not in executions:
            ended.set()

    made.engine.listen(look)
    begin = time.perf_counter()
    started.append(made.operations.trigger(task_id, actor="bench"))
    if started[0] in executions:
        ended.wait(300)
    seconds = time.perf_counter() - begin
    made.engine.forget(look)
    return started[0], seconds


@dataclass
class Server:
    """A `serve` of its own process."""

    process: subprocess.Popen[str]
    url: str
    token: str
    seconds_to_ready: float
    folder: Path

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1/scheduler",
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
            timeout=60,
        )

    def processes(self) -> list[int]:
        """Its pid, and those of the runner, the loader and the workers."""
        import psutil

        own = psutil.Process(self.process.pid)
        found = {self.process.pid, *(child.pid for child in own.children(recursive=True))}
        for process in psutil.process_iter(["pid", "cmdline"]):
            if str(self.folder / "data") in " ".join(process.info["cmdline"] or []):
                found.add(process.info["pid"])
                found |= {child.pid for child in process.children(recursive=True)}
        return sorted(found)


@contextlib.contextmanager
def server(folder: Path, *flags: str) -> Iterator[Server]:
    """`zquant-flow serve` over the folder, ready."""
    command = [
        str(Path(sys.executable).with_name("zquant-flow")),
        "serve",
        "--tasks",
        str(folder / "tasks"),
        "--data",
        str(folder / "data"),
        "--port",
        "0",
        *flags,
    ]
    address = folder / "data" / "server.json"
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=(folder / "serve.err").open("w"), text=True
    )
    try:
        url = ""
        while not url:
            with contextlib.suppress(OSError, ValueError, KeyError, httpx.HTTPError):
                url = json.loads(address.read_text())["url"]
                if httpx.get(f"{url}/readyz", trust_env=False).status_code != 200:
                    url = ""
            if process.poll() is not None:
                raise RuntimeError((folder / "serve.err").read_text())
            time.sleep(0.002)
        seconds = time.perf_counter() - begin
        token = (folder / "data" / "admin.token").read_text().strip()
        yield Server(process, url, token, seconds, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def pss_megabytes(pids: Sequence[int]) -> float:
    """The memory of these processes, shared pages counted by share."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(pids: Sequence[int]) -> float:
    """The processor time that these processes have used."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], Any], *, seconds: float = 60.0, pause: float = 0.0005) -> Any:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise TimeoutError
