"""Which plugins are there, and which executors do they bring?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import pluggy

from zquant_flow.plugin import hookspecs
from zquant_flow.plugin.contract import Executor

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def plugin_manager() -> pluggy.PluginManager:
    """The manager with the built-ins registered; one for the process."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(_builtins(), name="builtin")
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


def load_executors() -> Mapping[str, type[BaseModel]]:
    """The config model of every executor, by the executor's name."""
    return {name: cls.Config for name, cls in executor_classes().items()}


def _builtins() -> object:
    from importlib import import_module  # floor 3 registers itself here by name, as any plugin does

    return import_module("zquant_flow.executors.builtin")
