"""How does a plugin manager of ours begin? With our hooks, and no plugin yet."""

from __future__ import annotations

import pluggy

from zquant_flow.plugin import hookspecs


def new_manager() -> pluggy.PluginManager:
    """A manager that knows the hooks; whoever makes it registers plugins, the built-ins first."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager
