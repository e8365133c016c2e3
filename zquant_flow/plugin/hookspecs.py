"""Which hooks can a plugin implement?

pluggy, project name `zquant_flow`. Built-ins register through the same hooks as anyone's plugin. Plugins are the operator's
choice and trusted: hooks run in the control plane (what an executor runs does not). A hook that raises is logged with the
plugin's name; nobody else is disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer
    from fastapi import APIRouter

    from zquant_flow.config import Settings
    from zquant_flow.core.model import TaskDef
    from zquant_flow.plugin.calendars import Calendar, Schedule
    from zquant_flow.plugin.contract import Executor
    from zquant_flow.plugin.events import AttemptEnd, DefinitionChange, ExecutionChange
    from zquant_flow.plugin.notifiers import Notifier
    from zquant_flow.plugin.panels import Panel

PROJECT = "zquant_flow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_executors() -> Sequence[type[Executor]]:  # type: ignore[empty-body]
    """The executor classes that this plugin brings. A name that is taken already stays with who has it.

    A module without this hook brings every executor class that it defines.
    """


@hookspec
def register_notifiers() -> Sequence[type[Notifier]]:  # type: ignore[empty-body]
    """The notifier classes that this plugin brings: ways to tell people. As `register_executors`."""


@hookspec
def executions_changed(changes: Sequence[ExecutionChange]) -> None:
    """Executions have taken these steps: created, started, retried, paused, ended, ... Off the hot path, in batches.

    Each plugin is called in a thread of its own. A call that raises is logged; five in a row switch the plugin off.
    """


@hookspec
def attempts_ended(attempts: Sequence[AttemptEnd]) -> None:
    """These tries are over, with outcome, exit code and duration. As `executions_changed`."""


@hookspec
def definitions_changed(changes: Sequence[DefinitionChange]) -> None:
    """Tasks were loaded, changed or removed. What is there when a plugin begins comes as `loaded`. As `executions_changed`."""


@hookspec
def alter_definition(definition: TaskDef, source: str) -> TaskDef | None:
    """Change or refuse a definition before it is registered, or run without that.

    Return another one (`dataclasses.replace`), or None to leave it; raise `Refused("why")` to refuse it, which is a load error of its
    file or the answer to the request. `source` is the file's path below the tasks folder, empty for a request. Called in the process that reads files.
    """


@hookspec
def register_calendars() -> Mapping[str, Calendar]:  # type: ignore[empty-body]
    """Calendars by name, for `calendar: NAME`. Asked in a child process, and kept; a local file may amend one."""


@hookspec
def register_schedules() -> Mapping[str, Schedule]:  # type: ignore[empty-body]
    """Schedules by name: instants of the plugin's own, for `calendar: NAME` with `at: open`. As `register_calendars`."""


@hookspec
def register_backends() -> Mapping[str, Callable[[Settings], Any]]:  # type: ignore[empty-body]
    """Places where attempts run, by name, for the setting `backend`. Each is called once, and has to be what `engine.worker.Backend` says."""


@hookspec
def register_log_sinks() -> Sequence[Callable[[AttemptEnd, Path], None]]:  # type: ignore[empty-body]
    """Who takes the log of each attempt when it is over: called with the facts and the file, as observers are."""


@hookspec
def register_secret_backends() -> Sequence[Callable[[str], str | None]]:  # type: ignore[empty-body]
    """Where secrets are kept: asked by name, one after the other, for `context.secret(NAME)`; None for one that it does not have. In workers."""


@hookspec
def register_routers() -> Sequence[APIRouter]:  # type: ignore[empty-body]
    """FastAPI routers, mounted at `/api/v1/plugins/PLUGIN`, behind the same sign-in as every route. Read at the start of the server."""


@hookspec
def register_panels() -> Sequence[Panel]:  # type: ignore[empty-body]
    """Panels of the page: blocks of plain values, which the page draws."""


@hookspec
def register_commands() -> Sequence[typer.Typer]:  # type: ignore[empty-body]
    """Typer applications with a name: commands of `zqf`. A name that is taken stays with who has it."""
