"""What does a plugin import? `from zquant_flow.plugin import Config, Executor, Message, Notifier, Refused, hookimpl`.

The names are imported when they are first used: workers enter this package for less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Config", "Executor", "Message", "Notifier", "Refused", "hookimpl"]

if TYPE_CHECKING:
    from zquant_flow.plugin.contract import Config, Executor
    from zquant_flow.plugin.hookspecs import hookimpl
    from zquant_flow.plugin.notifiers import Message, Notifier
    from zquant_flow.plugin.policy import Refused

_HOMES = {
    "Config": "contract",
    "Executor": "contract",
    "Message": "notifiers",
    "Notifier": "notifiers",
    "Refused": "policy",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
