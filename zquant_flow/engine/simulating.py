"""The process that simulates: seconds of work, which must not sit beside an engine. A question comes in, an answer goes out.

Both are pickled: they go between a process and its own child, and nobody else can reach the pipe.
"""

from __future__ import annotations

import gc
import pickle
import sys

from zquant_flow.core.simulation import simulate
from zquant_flow.errors import BadRequest
from zquant_flow.wording import packed


def main() -> None:
    """Answer the one question on standard input, the arguments of `simulate`: a report, or the packed words of a refusal."""
    question = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    gc.disable()  # millions of small values, none of which is in a circle
    answer: object
    try:
        answer = simulate(**question)
    except BadRequest as refused:
        answer = packed(refused.detail)
    sys.stdout.buffer.write(pickle.dumps(answer))


if __name__ == "__main__":
    main()
