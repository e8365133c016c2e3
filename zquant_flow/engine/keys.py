"""Has this request been made before? A request that names a key is carried out once, and answered alike ever after.

What a request caused and its key are written in one transaction: a crash leaves both or neither. Keys are kept for a day
at least (`store.retention`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from zquant_flow.engine.memory import Memory
from zquant_flow.errors import KeyReused
from zquant_flow.store import keys as store
from zquant_flow.store.database import Database
from zquant_flow.wording import say


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a request, whose it is, and a hash of what was asked."""

    key: str
    actor: str
    fingerprint: str


class Keys:
    """The answers to requests with keys. Owned by the engine's thread."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory

    def answer(self, key: Key | None) -> dict[str, Any] | None:
        """What was answered before; None for a new request. Raises KeyReused where the key stood for another request."""
        if key is None:
            return None
        for row in self._memory.batch.keys:
            if (row["key"], row["actor"]) == (key.key, key.actor):
                return _checked(key, row["fingerprint"], row["answer"])
        found = store.answer(self._database, key.key, key.actor)
        return None if found is None else _checked(key, found.fingerprint, found.answer)

    def withdraw(self, key: Key | None) -> None:
        """What the key was promised has not come to be: it is free again."""
        if key is not None:
            store.drop(self._database, key.key, key.actor)

    def note(self, key: Key | None, answer: dict[str, Any]) -> None:
        """This turn causes that answer."""
        if key is None:
            return
        self._memory.batch.keys.append(
            {
                "key": key.key,
                "actor": key.actor,
                "fingerprint": key.fingerprint,
                "answer": json.dumps(answer),
                "created_time": self._memory.now,
            }
        )


def _checked(key: Key, fingerprint: str, answer: str) -> dict[str, Any]:
    if fingerprint != key.fingerprint:
        raise KeyReused(
            say("the Idempotency-Key {key!r} was sent with another request; choose a new one", key=key.key)
        )
    found: dict[str, Any] = json.loads(answer)
    return found
