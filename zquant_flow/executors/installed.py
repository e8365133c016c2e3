"""Which plugins are installed here? The built-ins register like anyone's, and first."""

from __future__ import annotations

from functools import lru_cache

from zquant_flow.executors import builtin
from zquant_flow.plugin.plugins import Plugins, load_plugins
from zquant_flow.plugin.sources import Sources


def installed(sources: Sources) -> Plugins:
    """The plugins of these sources, after the built-in ones."""
    return load_plugins(sources, {"builtin": builtin})


@lru_cache(maxsize=1)
def built_in() -> Plugins:
    """The built-in ones alone."""
    return installed(Sources(entry_points=False))
