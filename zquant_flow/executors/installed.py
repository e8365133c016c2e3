"""Which executors are installed here? The built-ins register like anyone's plugin, and first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pluggy

from zquant_flow import __version__
from zquant_flow.executors import builtin
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.manager import new_manager

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def plugin_manager() -> pluggy.PluginManager:
    """The manager of this process, the built-ins registered."""
    manager = new_manager()
    manager.register(builtin, name="builtin")
    return manager


def executor_classes() -> Mapping[str, type[Executor]]:
    """All executors by name. A plugin that takes a taken name is reported and left out."""
    found: dict[str, type[Executor]] = {}
    for classes in reversed(plugin_manager().hook.register_executors()):
        for cls in classes:
            if cls.name in found:
                log.error(
                    "executor %r of %s is left out: the name is taken by %s",
                    cls.name,
                    cls.entry(),
                    found[cls.name].entry(),
                    extra={"action": "executor_name_taken"},
                )
                continue
            found[cls.name] = cls
    return found


def command_lines() -> Mapping[str, type[Executor]]:
    """Those of them that are command lines (`Executor.command_line`)."""
    return {
        name: cls for name, cls in executor_classes().items() if cls.command_line is not Executor.command_line
    }


def installed_plugins() -> list[dict[str, Any]]:
    """Every registered plugin: `name, version, source, executors, hooks`."""
    manager = plugin_manager()
    versions = {plugin: dist.version for plugin, dist in manager.list_plugin_distinfo()}
    found = []
    plugins: list[tuple[str, Any]] = [(name, plugin) for name, plugin in manager.list_name_plugin() if plugin]
    for name, plugin in plugins:
        hooks = [caller.name for caller in manager.get_hookcallers(plugin) or ()]
        classes = plugin.register_executors() if "register_executors" in hooks else ()
        found.append(
            {
                "name": name,
                "version": versions.get(plugin, __version__ if plugin is builtin else None),
                "source": getattr(plugin, "__name__", type(plugin).__qualname__),
                "executors": sorted(cls.name for cls in classes),
                "hooks": sorted(hooks),
            }
        )
    return found


def load_executors() -> Mapping[str, type[BaseModel]]:
    """The config model of every executor, by the executor's name."""
    return {name: cls.Config for name, cls in executor_classes().items()}
