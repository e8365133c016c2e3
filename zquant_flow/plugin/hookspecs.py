"""Which hooks can a plugin implement?

pluggy, project name `zquant_flow`. Built-ins register through the same hooks as anyone's plugin.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from zquant_flow.plugin.contract import Executor

PROJECT = "zquant_flow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_executors() -> Sequence[type[Executor]]:  # type: ignore[empty-body]
    """The executor classes this plugin brings. A name that is taken already is an error of the later plugin."""
