"""Which hooks can a plugin implement?

pluggy, project name `zquant_flow`. Built-ins register through the same hooks as anyone's plugin. Plugins are the operator's
choice and trusted: hooks run in the control plane (what an executor runs does not). A hook that raises is logged with the
plugin's name; nobody else is disturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from zquant_flow.core.model import TaskDef
    from zquant_flow.plugin.contract import Executor
    from zquant_flow.plugin.events import AttemptEnd, DefinitionChange, ExecutionChange
    from zquant_flow.plugin.notifiers import Notifier

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
