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
    from zquant_flow.plugin.contract import Executor

PROJECT = "zquant_flow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_executors() -> Sequence[type[Executor]]:  # type: ignore[empty-body]
    """The executor classes that this plugin brings. A name that is taken already stays with who has it.

    A module without this hook brings every executor class that it defines.
    """
