"""Where does an attempt find a secret? The backends of plugins are asked in turn, then the environment of the server.

A secret is asked for where it is used, in the worker, and stored nowhere. What a task prints of it stands in its log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from zquant_flow.environment import RUNNER_MARK, secret_in_environment

SOURCES_FILE = "plugins.json"
"""In the data folder: which plugins hold, where one of them keeps secrets."""

Backend = Callable[[str], str | None]


def find_secret(name: str) -> str | None:
    """The secret of that name; None where nobody has it."""
    for backend in _backends():
        found = backend(name)
        if found is not None:
            return found
    return secret_in_environment(name)


def _backends() -> Sequence[Backend]:
    path = Path(os.environ.get(RUNNER_MARK, "")) / SOURCES_FILE
    try:
        text = path.read_text()
    except OSError:
        return ()
    return _loaded(text)


@lru_cache(maxsize=1)
def _loaded(text: str) -> Sequence[Backend]:
    from zquant_flow.executors.installed import installed
    from zquant_flow.plugin.sources import Sources

    plugins = installed(Sources.from_json(json.loads(text)))
    return [backend for _, backends in plugins.each("register_secret_backends") for backend in backends]
