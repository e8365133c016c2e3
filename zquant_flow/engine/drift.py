"""Is the tasks folder of this machine the one that is registered?

Only the engine that leads reads its folder. The others run what is registered in their own: a command that finds another script
there, or none, does another thing. So each takes over what requests have made, and compares the rest of its files with the
registered ones; one whose folder differs says so, and is handed nothing until it is in line again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

from zquant_flow.definitions.scan import FileStat, scan
from zquant_flow.engine.mirror import Mirror
from zquant_flow.engine.service import Engine
from zquant_flow.store.database import Database
from zquant_flow.store.definitions import known_sources

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks."""
UNREADABLE = -1
SHOWN = 5


class Drift:
    """Compares from time to time.

    Threads: one of its own, `drift`; start and stop may come twice, in any order.
    """

    def __init__(self, database: Database, tasks_dir: Path, engine: Engine, mirror: Mirror) -> None:
        self._database = database
        self._tasks_dir = tasks_dir
        self._engine = engine
        self._mirror = mirror
        self._digests: dict[str, tuple[FileStat, str]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        if self._thread is None:
            self._stopping.clear()
            self._look()
            self._thread = threading.Thread(target=self._run, name="drift", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """It has no say any more: a folder that is read can't differ."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._engine.lease.drift = 0

    def differing(self) -> list[str]:
        """The files that are not as they are registered, missing ones and new ones among them. Raises OSError."""
        registered = {row.path: row.digest for row in known_sources(self._database)}
        found = {path: self._digest(path, stat) for path, stat in scan(self._tasks_dir).files.items()}
        self._digests = {path: known for path, known in self._digests.items() if path in found}
        return sorted(
            path for path in registered.keys() | found.keys() if registered.get(path) != found.get(path)
        )

    def _run(self) -> None:
        while not self._stopping.wait(EVERY):
            self._look()

    def _look(self) -> None:
        try:
            self._mirror.bring_in_line()
            differing = self.differing()
            count = len(differing)
        except OSError as exc:
            differing, count = [exc.strerror or str(exc)], UNREADABLE
        except Exception:
            log.exception("the tasks folder could not be compared", extra={"action": "drift_failed"})
            return
        if count != self._engine.lease.drift:
            self._tell(differing, count)
        self._engine.lease.drift = count

    def _tell(self, differing: list[str], count: int) -> None:
        if count:
            log.warning(
                "the tasks folder %s is not what is registered, so nothing is handed over to this scheduler: %s",
                self._tasks_dir,
                ", ".join(differing[:SHOWN]) + (" ..." if len(differing) > SHOWN else ""),
                extra={"action": "drift"},
            )
        else:
            log.info("the tasks folder is what is registered", extra={"action": "in_line"})

    def _digest(self, path: str, stat: FileStat) -> str:
        known = self._digests.get(path)
        if known is None or known[0] != stat:
            digest = hashlib.sha256((self._tasks_dir / path).read_bytes()).hexdigest()
            known = self._digests[path] = (stat, digest)
        return known[1]
