"""How do plugins hear what has happened, without holding anything up?

The engine's thread only keeps each committed batch. One thread makes facts of them; each observer has a thread and a bounded
queue of its own, so that a slow one is late alone, and one that keeps failing is switched off.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from zquant_flow.definitions.registry import Entry, Registry
from zquant_flow.engine.transitions import Identity, Transitions
from zquant_flow.logs import log_path
from zquant_flow.plugin.events import AttemptEnd, DefinitionChange
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.store.batch import Batch
from zquant_flow.store.database import Database
from zquant_flow.store.queries import identities

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.1
"""So long the next batches are waited for: facts come in tens and hundreds while there is much to tell."""
DRAIN_SECONDS = 2.0
"""So long a stop waits for all observers to hear the last."""
MOST_FACTS = 100_000
"""So many wait for one observer; the oldest go, and the log says how many."""
MOST_FAILURES = 5
"""So many times in a row an observer may raise before it is switched off."""
HOOKS = ("executions_changed", "attempts_ended", "definitions_changed")

Facts = Sequence[Any]


class Observer:
    """One plugin that listens. Its thread is started by the first fact, and ends after `stop` when it has been told what waits."""

    def __init__(
        self, name: str, hooks: Mapping[str, Callable[[Facts], None]], on_off: Callable[[str, str], None]
    ) -> None:
        """`hooks`: what to call with which facts. `on_off` is told when it is switched off, and why."""
        self.name = name
        self.hooks = hooks
        self._on_off = on_off
        self._waiting: deque[tuple[str, Facts]] = deque()
        self._number = 0
        self._dropped = 0
        self._failures = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def tell(self, hook: str, facts: Facts) -> None:
        """Keep these facts for it."""
        if hook not in self.hooks or self._stopping:
            return
        with self._changed:
            self._waiting.append((hook, facts))
            self._number += len(facts)
            while self._number > MOST_FACTS and len(self._waiting) > 1:
                self._drop_oldest()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"observer {self.name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Hear nothing new. Returns at once."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """After a stop: wait until it has heard the rest, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _drop_oldest(self) -> None:
        _, facts = self._waiting.popleft()
        self._number -= len(facts)
        self._dropped += len(facts)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                hook, facts = self._waiting.popleft()
                self._number -= len(facts)
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning(
                    "plugin %s is too slow: %d facts were not told",
                    self.name,
                    dropped,
                    extra={"action": "facts_dropped"},
                )
            self._call(hook, facts)

    def _call(self, hook: str, facts: Facts) -> None:
        try:
            self.hooks[hook](facts)
        except Exception as exc:
            self._failures += 1
            log.exception("plugin %s: %s failed", self.name, hook, extra={"action": "plugin_failed"})
            if self._failures >= MOST_FAILURES:
                self._switch_off(exc)
        else:
            self._failures = 0

    def _switch_off(self, exc: Exception) -> None:
        why = f"{type(exc).__name__}: {exc}"
        log.error(
            "plugin %s has failed %d times in a row; it hears nothing more until it is loaded anew",
            self.name,
            self._failures,
            extra={"action": "plugin_switched_off"},
        )
        with self._changed:
            self._stopping = True
            self._waiting.clear()
        self._on_off(self.name, why)


class Observing:
    """All observers of a control plane, and what they get.

    Threads: one of its own, started by `use` when somebody listens, ended by `stop`; those of the observers.
    """

    def __init__(
        self,
        database: Database,
        registry: Callable[[], Registry],
        task_name: Callable[[int], str],
        data_dir: Path,
    ) -> None:
        """`task_name`: of a task's id, from any thread. `data_dir`: where logs are."""
        self._registry, self._data_dir = registry, str(data_dir)
        self.on_off: Callable[[str, str], None] = lambda name, why: None
        """Told the name of a plugin that is switched off, and why, in that plugin's thread."""
        self._transitions = Transitions(task_name, lambda ids: _identities(database, ids, task_name))
        self._batches: deque[Batch] = deque()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._observers: list[Observer] = []
        self.own: Mapping[str, Mapping[str, Callable[[Facts], None]]] = {}
        """What of the server itself listens: hooks, by a name for the thread. Set before `use`."""
        self._told = Registry()

    @property
    def listened(self) -> bool:
        """Whether anybody listens; if not, nothing need be kept."""
        return bool(self._observers)

    def use(self, plugins: Plugins) -> None:
        """These plugins observe from now on; those of before do not. Definitions that are there are told to each as loaded."""
        for observer in self._observers:
            observer.stop()
        self._told = Registry()
        self._observers = list(self._observers_of(plugins))
        if self._observers and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="observing", daemon=True)
            self._thread.start()
        self._news.set()

    def take(self, batch: Batch) -> None:
        """Keep what was committed. In the engine's thread."""
        self._batches.append(batch)
        self._news.set()

    def look(self) -> None:
        """Something has changed that stands in no batch: definitions, perhaps."""
        self._news.set()

    def stop(self) -> None:
        """Tell what is known by now, and end."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for observer in self._observers:
            observer.stop()
        end = monotonic() + DRAIN_SECONDS
        for observer in self._observers:
            observer.wait(max(0.0, end - monotonic()))

    def _observers_of(self, plugins: Plugins) -> Iterable[Observer]:
        found: dict[str, dict[str, Callable[[Facts], None]]] = {}
        for hook in HOOKS:
            for implementation in plugins.implementations(hook):
                call = _calling(implementation.function, bool(implementation.argnames))
                found.setdefault(implementation.plugin_name, {})[hook] = call
        for name, sinks in plugins.each("register_log_sinks"):
            hooks = found.setdefault(name, {})
            hooks["attempts_ended"] = _also(hooks.get("attempts_ended"), self._to_sinks(sinks))
        return (
            Observer(name, hooks, lambda name, why: self.on_off(name, why))
            for name, hooks in (*self.own.items(), *found.items())
        )

    def _to_sinks(self, sinks: Sequence[Callable[[AttemptEnd, Path], None]]) -> Callable[[Facts], None]:
        """Give the sinks the log of each attempt that has one here."""

        def give(ends: Facts) -> None:
            for end in ends:
                path = Path(log_path(self._data_dir, end.execution_id, end.attempt))
                if path.exists():
                    for sink in sinks:
                        sink(end, path)

        return give

    def _run(self) -> None:
        over = False
        while not over:
            self._news.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._news.clear()
            over = self._stopping.is_set()  # what came before the stop is told still
            try:
                self._tell()
            except Exception:
                log.exception("observers could not be told", extra={"action": "observing_failed"})

    def _tell(self) -> None:
        changes: list[Any] = []
        ends: list[Any] = []
        while self._batches:
            stepped, ended = self._transitions.of(self._batches.popleft())
            changes += stepped
            ends += ended
        self._tell_all("definitions_changed", self._definitions())
        self._tell_all("executions_changed", changes)
        self._tell_all("attempts_ended", ends)

    def _tell_all(self, hook: str, facts: Facts) -> None:
        if facts:
            for observer in self._observers:
                observer.tell(hook, facts)

    def _definitions(self) -> list[DefinitionChange]:
        """How the registry differs from the one that was told last."""
        before, now = self._told, self._registry()
        if before is now:
            return []
        self._told = now
        changes = [_changed("removed", entry) for id_, entry in before.by_id.items() if id_ not in now.by_id]
        for id_, entry in now.by_id.items():
            known = before.by_id.get(id_)
            if known is None:
                changes.append(_changed("loaded", entry))
            elif known.version != entry.version:
                changes.append(_changed("changed", entry))
        return changes


def _changed(what: Any, entry: Entry) -> DefinitionChange:
    return DefinitionChange(what, entry.id, entry.name, entry.version, entry.source, entry.definition)


def _also(first: Callable[[Facts], None] | None, then: Callable[[Facts], None]) -> Callable[[Facts], None]:
    """Both, one after the other."""
    if first is None:
        return then

    def both(facts: Facts) -> None:
        first(facts)
        then(facts)

    return both


def _calling(function: Callable[..., Any], takes_facts: bool) -> Callable[[Facts], None]:
    return function if takes_facts else lambda facts: function()


def _identities(
    database: Database, ids: Iterable[int], task_name: Callable[[int], str]
) -> Mapping[int, tuple[Identity, int]]:
    found = {}
    for row in identities(database, ids):
        identity = Identity(
            row.task_id,
            task_name(row.task_id),
            row.root_id,
            row.parent_execution_id,
            row.node,
            row.inline,
            row.trigger_type,
            row.logical_time,
        )
        found[row.id] = identity, row.retry_count + 1
    return found
