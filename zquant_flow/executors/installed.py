"""Which executors are installed here? The built-ins register like anyone's plugin, and first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import pluggy

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


def load_executors() -> Mapping[str, type[BaseModel]]:
    """The config model of every executor, by the executor's name."""
    return {name: cls.Config for name, cls in executor_classes().items()}
