"""Whose token is this? The admin's own, or one that was made; those of the database are looked at again every few seconds."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

from zquant_flow.store.database import Database
from zquant_flow.store.tokens import all_tokens

FRESH_SECONDS = 2.0
"""After so long another process's revocation holds here too; one of this process holds at once."""


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class KnownTokens:
    """The tokens that open this server. Safe from any thread."""

    def __init__(self, database: Database, admin_token: str, now: Callable[[], int]) -> None:
        """`now`: the wall clock in microseconds, for tokens that end."""
        self._database = database
        self._admin = admin_token.encode()
        self._now = now
        self._lock = threading.Lock()
        self._read_at = -FRESH_SECONDS
        self._forgotten = 0
        """How often the tokens have changed: what was read before the last time is not kept."""
        self._by_digest: dict[str, tuple[str, int | None]] = {}

    def name_of(self, token: str) -> str | None:
        """The name of the caller who sends this token; None for a token that opens nothing."""
        if secrets.compare_digest(token.encode(errors="replace"), self._admin):
            return "admin"
        found = self._current().get(digest_of(token)) if token else None
        if found is None or (found[1] is not None and found[1] <= self._now()):
            return None
        return found[0]

    def forget(self) -> None:
        """The tokens have changed."""
        with self._lock:
            self._read_at = -FRESH_SECONDS
            self._forgotten += 1

    def _current(self) -> dict[str, tuple[str, int | None]]:
        """The tokens, read outside of the lock: where the database is slow, nobody else waits for this one."""
        with self._lock:
            now, forgotten = time.monotonic(), self._forgotten
            if now - self._read_at < FRESH_SECONDS:
                return self._by_digest
        found = {row.digest: (row.name, row.expires_time) for row in all_tokens(self._database)}
        with self._lock:
            if forgotten == self._forgotten:
                self._by_digest, self._read_at = found, now
        return found
