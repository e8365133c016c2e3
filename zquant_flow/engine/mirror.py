"""How do files that were made by request come into the folders of all machines?

A request changes a file of the leading scheduler's folder. Where others share its database, the text is kept there too, and each
of them brings its own folder in line, so that whoever leads next finds what was made, and not what was deleted.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from zquant_flow.definitions import writing
from zquant_flow.definitions.scan import is_task_path
from zquant_flow.engine.service import Engine
from zquant_flow.store import authored as store
from zquant_flow.store.database import Database

log = logging.getLogger(__name__)


class Mirror:
    """The files made by request, of one folder. Of a scheduler that is alone it does nothing. Safe from any one thread."""

    def __init__(self, database: Database, tasks_dir: Path, engine: Engine) -> None:
        self._database = database
        self._tasks_dir = tasks_dir
        self._engine = engine
        self._kept: dict[str, str] | None = None
        """Digests of the files, by path; None until they are asked for."""

    def bring_in_line(self) -> None:
        """Write what other folders have, and remove what is gone there. Raises TasksFolderUnavailable."""
        if not self._engine.lease.shared:
            return
        for row in store.authored_files(self._database):
            if not is_task_path(row.path) or row.path.startswith("/") or ".." in row.path.split("/"):
                continue
            path, here = self._tasks_dir / row.path, self._digest(row.path)
            found = writing.content(path)
            if row.text is None and here == row.digest and found is not None:
                writing.remove(path, expected=found)
            elif row.text is not None and here != row.digest:
                path.parent.mkdir(parents=True, exist_ok=True)
                writing.write(path, row.text.encode(), expected=found)

    def keep(self, paths: Iterable[str], *, made: bool) -> None:
        """These files of the leading folder have changed. Those that were `made` by request count from now on."""
        if not self._engine.lease.shared:
            return
        if self._kept is None:
            self._kept = {row.path: row.digest for row in store.authored_files(self._database)}
        found: dict[str, tuple[str, str | None]] = {}
        for path in paths:
            known, here = self._kept.get(path), self._digest(path)
            if (made or known is not None) and here != known:
                found[path] = (here, self._text(path)) if here else (known or "", None)
        if found:
            store.keep(self._database, found, term=self._engine.memory.term)
            self._kept |= {path: digest if text is not None else "" for path, (digest, text) in found.items()}

    def _digest(self, path: str) -> str:
        """Of the file as it is; empty where it is not there."""
        try:
            return hashlib.sha256((self._tasks_dir / path).read_bytes()).hexdigest()
        except FileNotFoundError:
            return ""

    def _text(self, path: str) -> str:
        return (self._tasks_dir / path).read_bytes().decode()
