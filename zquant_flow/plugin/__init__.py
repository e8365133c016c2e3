"""What does a plugin import? `from zquant_flow.plugin import Config, Executor, hookimpl`, and what else stands in `__all__`.

The names are imported when they are first used: workers enter this package for less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "Calendar",
    "Config",
    "Done",
    "Executor",
    "JobFailed",
    "Message",
    "Notifier",
    "Panel",
    "Refused",
    "RemoteExecutor",
    "Schedule",
    "Session",
    "hookimpl",
]

if TYPE_CHECKING:
    from zquant_flow.plugin.calendars import Calendar, Schedule, Session
    from zquant_flow.plugin.contract import Config, Executor
    from zquant_flow.plugin.hookspecs import hookimpl
    from zquant_flow.plugin.notifiers import Message, Notifier
    from zquant_flow.plugin.panels import Panel
    from zquant_flow.plugin.policy import Refused
    from zquant_flow.plugin.remote import Done, JobFailed, RemoteExecutor

_HOMES = {
    "Calendar": "calendars",
    "Config": "contract",
    "Done": "remote",
    "Executor": "contract",
    "JobFailed": "remote",
    "Message": "notifiers",
    "Notifier": "notifiers",
    "Panel": "panels",
    "Refused": "policy",
    "RemoteExecutor": "remote",
    "Schedule": "calendars",
    "Session": "calendars",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
