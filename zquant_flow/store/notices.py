"""How does a process hear at once that another one, on the same PostgreSQL, has committed something?

LISTEN and NOTIFY carry no facts: whoever hears looks into the tables, and looks each second also when nothing is heard.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, text

from zquant_flow.store.database import Database

log = logging.getLogger(__name__)

CHANNEL = "zquant_flow"
ANYBODY = 0
"""The number that stands for whichever engine leads."""
NET = 1.0
"""Seconds after which one looks without having heard anything."""
RECONNECT_PAUSE = 1.0
_TELL = text("SELECT pg_notify(:channel, :whom)")


def tell(connection: Connection, engines: Iterable[int] = ()) -> None:
    """Tell all others, when this transaction commits, that there is something new; and for which engines in particular."""
    connection.execute(_TELL, {"channel": CHANNEL, "whom": " ".join(map(str, sorted(engines)))})


Listener = Callable[[frozenset[int] | None], None]
"""Gets the engines that a commit has something for; None where nothing was heard for a second."""


class Notices:
    """Calls its listeners when somebody has committed something.

    Threads: one of its own, `notices`, which calls them; they must be quick and must not raise. Start and stop may come
    twice, in any order. On SQLite, which has one process, it does nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Listener] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def listen(self, listener: Listener) -> None:
        """Call it from now on."""
        self._listeners.append(listener)

    def start(self) -> None:
        if self._thread is None and not self._database.is_sqlite:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(NET + 1)
        self._thread = None

    def _heard(self, engines: frozenset[int] | None) -> None:
        for listener in self._listeners:
            listener(engines)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception as exc:
                log.debug("notices can't be heard (%s); looking each second", exc, extra={"action": "deaf"})
                self._heard(None)
                self._stopping.wait(RECONNECT_PAUSE)

    def _listen(self) -> None:
        pooled = self._database.engine.raw_connection()
        pooled.detach()  # it stays ours, and ends with us
        driver: Any = pooled.driver_connection
        try:
            driver.rollback()
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
            self._heard(None)
            while not self._stopping.is_set():
                heard = False
                for notice in driver.notifies(timeout=NET, stop_after=1):
                    heard = True
                    self._heard(frozenset(map(int, notice.payload.split())))
                if not heard:
                    self._heard(None)
        finally:
            pooled.close()
