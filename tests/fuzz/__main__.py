"""`make fuzz`: thousands of requests made from the OpenAPI document; exit code 1 when an answer is not as it says.

    python -m tests.fuzz [--cases 5000] [--seed N] [--only OPERATION_ID ...]

The same seed makes the same requests.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from hypothesis.errors import HypothesisDeprecationWarning

from tests.fuzz.cases import LAST, MODES, Explorer, id_of, operations_of, schema_of
from tests.fuzz.world import World, world


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=5000, help="requests in total (5000)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; a new one without")
    parser.add_argument("--only", nargs="+", metavar="OPERATION_ID", help="only these operations")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    logging.disable(logging.WARNING)
    # It takes the engine's use of `random`, in another thread, for one of a strategy.
    warnings.simplefilter("ignore", HypothesisDeprecationWarning)
    with tempfile.TemporaryDirectory(prefix="zquant-flow-fuzz-") as folder, world(Path(folder)) as made:
        return _run(made, options.cases, seed, set(options.only or ()))


def _run(made: World, cases: int, seed: int, only: set[str]) -> int:
    explorer, faults, started = Explorer(made), {}, time.monotonic()
    chosen = [item for item in operations_of(schema_of(made)) if not only or id_of(item) in only]
    turns = [(operation, mode) for operation in chosen for mode in MODES]
    for number, (operation, mode) in enumerate(turns):
        if id_of(operation) in LAST:
            made.populate()
        share = -(-(cases - explorer.sent) // (len(turns) - number))
        if share > 0 and (found := explorer.explore(operation, mode, share, seed)) is not None:
            faults[f"{operation.label} ({mode.value}, {id_of(operation)})"] = found
        _progress(number + 1, len(turns), explorer.sent, len(faults), operation)
    seconds = time.monotonic() - started
    for label, found in faults.items():
        print(f"\n{label}\n{found}")
    print(f"\n{explorer.sent} cases in {seconds:.0f} s, {len(faults)} faults, seed {seed}")
    return 1 if faults else 0


def _progress(done: int, total: int, sent: int, faults: int, operation: Any) -> None:
    line = f"{done}/{total}  {sent} cases, {faults} faults  {operation.label}"
    if sys.stdout.isatty():
        print(f"\r\033[K{line[:100]}", end="", flush=True)
    elif done % 10 == 0 or done == total:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
