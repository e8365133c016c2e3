"""zquant-flow: drop a YAML or Python file into a folder and it runs on time.

Task files write `from zquant_flow import task, workflow, current`. The names are imported when they are first used, so
that a worker pays for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Context", "__version__", "approval", "current", "item", "task", "workflow"]

if TYPE_CHECKING:
    from zquant_flow.definitions.authoring import approval, item, task, workflow
    from zquant_flow.executors.context import Context, current

_HOMES = {
    "approval": "zquant_flow.definitions.authoring",
    "item": "zquant_flow.definitions.authoring",
    "task": "zquant_flow.definitions.authoring",
    "workflow": "zquant_flow.definitions.authoring",
    "current": "zquant_flow.executors.context",
    "Context": "zquant_flow.executors.context",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
