"""Figures of the runner, at its control socket: `python -m tests.runner.measure`."""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.runner.client import Client, Runner

MODULE = "import time\ndef noop(): pass\ndef nap(): time.sleep(0.1)\n"


class Bench:
    def __init__(self, folder: Path) -> None:
        (folder / "m.py").write_text(MODULE)
        self.folder = folder
        self.runner = Runner(folder)
        began = time.perf_counter()
        self.client: Client = self.runner.client()
        print(f"first hello after         {(time.perf_counter() - began) * 1e3:7.1f} ms")
        self.number = 0

    def python(self, function: str, isolation: str) -> dict[str, Any]:
        config = {"module": "m", "function": function, "folder": ""}
        bundle = str(self.folder)
        return {
            "executor": "python",
            "config": config,
            "bundle": bundle,
            "isolation": isolation,
            "timeout": 3600,
        }

    def flow(self, count: int, width: int, **fields: Any) -> float:
        """Attempts a second, with `width` in flight."""
        began = time.perf_counter()
        left, done = count, 0
        room = width
        while done < count:
            items = [self.order(**fields) for _ in range(min(room, left))]
            left -= len(items)
            if items:
                self.client.send(op="start", items=items)
            outcomes = self.client.wait_for("outcomes")["items"]
            assert all(outcome["kind"] == "success" for outcome in outcomes), outcomes
            self.client.send(op="ack", items=[[outcome["id"], outcome["attempt"]] for outcome in outcomes])
            room = len(outcomes)
            done += room
        return count / (time.perf_counter() - began)

    def order(self, **fields: Any) -> dict[str, Any]:
        self.number += 1
        return self.client.order(self.number, **fields)

    def round_trip(self, **fields: Any) -> float:
        """The median of 200 attempts one after the other, in microseconds."""
        times = []
        for _ in range(200):
            began = time.perf_counter()
            self.flow(1, 1, **fields)
            times.append(time.perf_counter() - began)
        return sorted(times)[100] * 1e6


def bare(count: int, width: int) -> float:
    with ThreadPoolExecutor(width) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: subprocess.run(["true"]), range(count)))
        return count / (time.perf_counter() - began)


def memory(pid: int) -> str:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Pss:"))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        print(f"memory (PSS) at start     {memory(bench.runner.process.pid):>7} kB")
        for _ in range(5):
            plain, ours = bare(500, 10), bench.flow(500, 10, config={"command": ["true"]})
            print(f"`true`, 10 in flight      {ours:7.0f} /s   bare {plain:5.0f} /s   {ours / plain:.2f}")
        process, thread = bench.python("noop", "process"), bench.python("noop", "thread")
        bench.flow(100, 10, **process)
        bench.flow(100, 10, **thread)
        print(f"process, one by one       {bench.round_trip(**process):7.0f} us")
        print(f"process, 10 in flight     {bench.flow(10_000, 10, **process):7.0f} /s")
        print(f"thread, one by one        {bench.round_trip(**thread):7.0f} us")
        print(f"thread, 64 in flight      {bench.flow(50_000, 64, **thread):7.0f} /s")
        naps = bench.python("nap", "thread")
        print(f"64 naps of 0.1 s          {64 / bench.flow(64, 64, **naps) * 1e3:7.0f} ms")
        bench.client.close()
        bench.runner.end()


if __name__ == "__main__":
    main()
