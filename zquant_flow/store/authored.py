"""Which files of the tasks folder were made by request, so that every machine has to have them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import authored
from zquant_flow.store.terms import hold


def authored_files(database: Database) -> Sequence[Any]:
    """Path, digest and text of each; gone ones have no text."""
    with database.read() as connection:
        return connection.execute(select(authored).order_by(authored.c.path)).all()


def keep(database: Database, files: Mapping[str, tuple[str, str | None]], *, term: tuple[int, int]) -> None:
    """These files are so from now on: digest and text by path. Raises Fenced where the engine's term is over."""
    with database.write() as connection:
        hold(connection, *term)
        connection.execute(delete(authored).where(authored.c.path.in_(list(files))))
        connection.execute(
            insert(authored),
            [{"path": path, "digest": digest, "text": text} for path, (digest, text) in files.items()],
        )
