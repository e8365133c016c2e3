"""How are tasks and plugins tested? With a real scheduler in a folder of its own, or with one whose clock the test moves.

The names are imported when they are first used: pytest enters this package at each start of whoever has it installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "ExecutorConformance",
    "FakeBackend",
    "FakeClock",
    "Flow",
    "Frame",
    "Harness",
    "Run",
    "command_node",
    "command_task",
    "conformance",
    "workflow_task",
]

if TYPE_CHECKING:
    from zquant_flow.testing.checks import ExecutorConformance, conformance
    from zquant_flow.testing.flow import Flow
    from zquant_flow.testing.harness import (
        FakeBackend,
        FakeClock,
        Frame,
        Harness,
        command_node,
        command_task,
        workflow_task,
    )
    from zquant_flow.testing.outcomes import Run

_HOMES = {
    "ExecutorConformance": "checks",
    "Flow": "flow",
    "Run": "outcomes",
    "conformance": "checks",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'harness')}"), name)
