"""Which files has a task run for already?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import delete, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import seen_files
from zquant_flow.store.terms import hold

Identity = tuple[int, int]
"""The size of a file and when it was last written, in nanoseconds."""


def all_of(database: Database, task_id: int) -> dict[str, Identity]:
    """The files that a task has seen, by path."""
    query = select(seen_files.c.path, seen_files.c.size, seen_files.c.mtime_ns)
    with database.read() as connection:
        found = connection.execute(query.where(seen_files.c.task_id == task_id))
        return {row.path: (row.size, row.mtime_ns) for row in found}


def among(database: Database, task_id: int, paths: Collection[str]) -> dict[str, Identity]:
    """The same for some paths."""
    query = select(seen_files.c.path, seen_files.c.size, seen_files.c.mtime_ns)
    with database.read() as connection:
        found = connection.execute(
            query.where(seen_files.c.task_id == task_id, seen_files.c.path.in_(list(paths)))
        )
        return {row.path: (row.size, row.mtime_ns) for row in found}


def forget_others(database: Database, task_ids: Iterable[int], *, term: tuple[int, int]) -> None:
    """What tasks have seen that wait for no files any more. Raises Fenced as every decision."""
    with database.write() as connection:
        hold(connection, *term)
        connection.execute(delete(seen_files).where(seen_files.c.task_id.not_in(list(task_ids))))
