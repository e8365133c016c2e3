"""What becomes of a run whose control plane is killed? One is started in a process of its own, and killed once the run is under way.

`python -m zquant_flow.testing.control WHAT` is that process; WHAT is JSON: `folder`, `modules` (plugins), `definition`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zquant_flow.testing.flow import Flow
from zquant_flow.testing.left import eventually, workers_of


def start_and_kill(flow: Flow, definition: Mapping[str, Any]) -> int:
    """Start the definition in the folder of a flow that is not in use yet, and kill who started it; the execution's id."""
    said = {"folder": str(flow.folder), "modules": flow.settings.plugins, "definition": definition}
    path = flow.python_path()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "zquant_flow.testing.control", json.dumps(said)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **({"PYTHONPATH": path} if path else {})},
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            told = process.stdout.readline()
        finally:
            process.kill()
    if not told:
        raise AssertionError("the control plane of the test has ended by itself; what it said is above")
    return int(told)


def main() -> None:
    said = json.loads(sys.argv[1])
    with Flow(Path(said["folder"]), plugins=said["modules"]) as flow:
        execution_id = flow.start(said["definition"])
        flow.until(execution_id, lambda run: run.begun, "its beginning", 20)
        flow.scheduler.engine.call(lambda: None)  # its order is on its way
        eventually(lambda: workers_of(flow.settings.data_dir), 5)
        sys.stdout.write(f"{execution_id}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
