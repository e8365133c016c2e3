"""How does an executor fail with a sentence instead of a trace?"""

from __future__ import annotations

import importlib
from types import ModuleType


class Failure(Exception):
    """The attempt has failed: `detail` is its error and stands in its log, without a trace; `code` is for machines.

    `exit_code` is that of what ran elsewhere. Whoever raises it keeps secrets out of `detail`.
    """

    def __init__(self, code: str, detail: str, *, exit_code: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.exit_code = exit_code


def library(name: str, extra: str) -> ModuleType:
    """A library that an extra of ours brings; raises Failure with the line that installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise Failure(
            "extra_missing", f'the library {name} is not installed: pip install "zquant-flow[{extra}]"'
        ) from None
