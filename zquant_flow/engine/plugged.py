"""Which plugins hold now? Reads their folder anew when it changes, and tells who uses them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from zquant_flow.definitions.watcher import Watcher
from zquant_flow.executors.installed import installed
from zquant_flow.plugin.plugins import State
from zquant_flow.plugin.snapshots import Snapshots
from zquant_flow.plugin.sources import Sources
from zquant_flow.runner.secrets import SOURCES_FILE

log = logging.getLogger(__name__)


class Plugged:
    """The plugins of a control plane. `current` is a value: whoever works with it keeps what it was.

    The watcher's thread reads the folder anew; `start` and `stop` may come twice, in any order.
    """

    def __init__(self, sources: Sources, *, folder: Path, data_dir: Path) -> None:
        """`sources`: with a copy of the `folder` as it is now; copies of later times stand in the data folder too."""
        self._folder, self._data_dir = folder, data_dir
        self._snapshots = Snapshots(data_dir)
        self._watcher: Watcher | None = None
        self.sources = sources
        self.current = installed(sources)
        self.on_change: list[Callable[[], None]] = []
        """Called after a change, in the watcher's thread."""
        self._report()

    def tell_workers(self) -> None:
        """Let workers know where secrets are kept. Raises OSError where that can't be written."""
        path = self._data_dir / SOURCES_FILE
        if not self.current.implementations("register_secret_backends"):
            path.unlink(missing_ok=True)
            return
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(self.sources.to_json()))
        beside.rename(path)

    @property
    def configs(self) -> Mapping[str, type[BaseModel]]:
        """The config model of every executor, by the executor's name."""
        return self.current.configs

    @property
    def judges(self) -> bool:
        """Whether a plugin may change or refuse definitions."""
        return bool(self.current.implementations("alter_definition"))

    def start(self) -> None:
        """Watch the folder from now on; what has changed since it was copied is found first."""
        self.tell_workers()
        if self._watcher is None:
            self._watcher = Watcher(self._folder, lambda changes: self.look(), tells=False)
            self._watcher.start()

    def stop(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()

    def look(self) -> None:
        """Take what the folder holds now; nothing happens where that is what we have."""
        try:
            copy = self._snapshots.take(self._folder)
        except OSError as exc:
            log.warning("the plugins folder can't be copied: %s", exc, extra={"action": "plugins_not_copied"})
            return
        if copy == self.sources.folder:
            return
        self.sources = replace(self.sources, folder=copy)
        self.current = installed(self.sources)
        log.info("the plugins folder %s was read anew", self._folder, extra={"action": "plugins_read"})
        self._report()
        self.tell_workers()
        for listener in self.on_change:
            listener()

    def switch_off(self, name: str, why: str) -> None:
        """Say of a plugin that it hears nothing more."""
        known = tuple(
            replace(plugin, state=State.SWITCHED_OFF, error=why) if plugin.name == name else plugin
            for plugin in self.current.known
        )
        self.current = replace(self.current, known=known)

    def _report(self) -> None:
        for plugin in self.current.known:
            if plugin.error is not None:
                what = "is not loaded" if plugin.state is State.FAILED else "is not loaded whole"
                log.error(
                    "plugin %s (%s) %s: %s",
                    plugin.name,
                    plugin.source,
                    what,
                    plugin.error,
                    extra={"action": "plugin_failed"},
                )
