"""What is registered, as the rows have it, for a process that doesn't decide it?"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from time import monotonic
from typing import Any

from zquant_flow.core.model import decode
from zquant_flow.definitions.loader import LoadError
from zquant_flow.definitions.registry import Entry, Registry
from zquant_flow.store import definitions as store
from zquant_flow.store.database import Database
from zquant_flow.wording import restored

FRESH_SECONDS = 0.2
"""So old may be what is read."""


class Registered:
    """The registry that another engine keeps. Safe from any thread; only what has changed is read anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._registry = Registry()
        self._last = 0
        self._read_at = float("-inf")

    def now(self) -> Registry:
        """The registry as it is in the database."""
        with self._lock:
            if monotonic() - self._read_at >= FRESH_SECONDS:
                self._refresh()
                self._read_at = monotonic()
            return self._registry

    def _refresh(self) -> None:
        errors = known_errors(self._database)
        rows = store.changed_since(self._database, self._last)
        if not rows:
            self._registry = replace(self._registry, errors=errors)
            return
        by_id = dict(self._registry.by_id)
        for row in rows:
            if row.archived_at is not None:
                by_id.pop(row.id, None)
            elif not _is_entry(row, by_id.get(row.id)):
                by_id[row.id] = entry_of(row)
        self._last = rows[-1].change_seq
        names_of: dict[str, tuple[str, ...]] = {}
        for entry in by_id.values():
            names_of[entry.source] = (*names_of.get(entry.source, ()), entry.name)
        by_name = {entry.name: entry for entry in by_id.values()}
        self._registry = Registry(by_name=by_name, by_id=by_id, names_of=names_of, errors=errors)


def _is_entry(row: Any, entry: Entry | None) -> bool:
    """Whether only the switches of a task have changed."""
    return entry is not None and (row.version, row.name, row.source, row.line) == (
        entry.version,
        entry.name,
        entry.source,
        entry.line,
    )


def entry_of(row: Any) -> Entry:
    """The entry of a task's row, which has the JSON of its definition as `body`."""
    return Entry(
        id=row.id,
        name=row.name,
        version=row.version,
        content_hash=row.content_hash,
        definition=decode(json.loads(row.body)),
        source=row.source or "",
        document=row.document,
        line=row.line,
    )


def known_errors(database: Database) -> dict[str, tuple[LoadError, ...]]:
    """The load errors by path."""
    found: dict[str, list[LoadError]] = {}
    for row in store.known_errors(database):
        found.setdefault(row.path, []).append(
            LoadError(
                line=row.line,
                column=row.column,
                field=row.field,
                code=row.code,
                message=restored(row.message, row.words),
            )
        )
    return {path: tuple(errors) for path, errors in found.items()}
