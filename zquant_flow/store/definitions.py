"""How are definitions kept? Tasks, their versions, the files they came from, and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from zquant_flow.store.database import Database, take
from zquant_flow.store.tables import bundles, counters, definitions, load_errors, sources, tasks
from zquant_flow.store.terms import hold

CHUNK = 500


@dataclass(slots=True)
class Registration:
    """All rows of one change of the registry; written in one transaction, or not at all."""

    new_tasks: list[dict[str, Any]] = field(default_factory=list)
    changed_tasks: list[dict[str, Any]] = field(default_factory=list)
    definitions: list[dict[str, Any]] = field(default_factory=list)
    bundles: dict[str, Mapping[str, str]] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    errors: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    fires: list[dict[str, Any]] = field(default_factory=list)
    last_task_id: int = 0


def save(database: Database, registration: Registration, *, now: int, term: tuple[int, int]) -> None:
    """Write a change of the registry; `term` is the writing engine's id and epoch. Raises Fenced where that is over."""
    from zquant_flow.store.tables import fires

    with database.write() as connection:
        hold(connection, *term)
        if registration.last_task_id:
            connection.execute(
                update(counters).where(counters.c.name == "task"), {"value": registration.last_task_id}
            )
        _number(connection, [*registration.new_tasks, *registration.changed_tasks])
        _insert(connection, tasks, registration.new_tasks)
        for row in registration.changed_tasks:
            connection.execute(update(tasks).where(tasks.c.id == row["id"]).values(row))
        _insert(connection, definitions, registration.definitions)
        _insert(connection, fires, registration.fires)
        _save_bundles(connection, registration.bundles, now)
        _save_sources(connection, registration)
        _save_errors(connection, registration.errors, now)


def _number(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Every change of a task has its place in the one order of changes."""
    if rows:
        for number, row in enumerate(rows, take(connection, "change", len(rows))):
            row["change_seq"] = number


def _insert(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _save_bundles(connection: Connection, found: Mapping[str, Mapping[str, str]], now: int) -> None:
    known = set(
        connection.execute(select(bundles.c.digest).where(bundles.c.digest.in_(list(found)))).scalars()
        if found
        else ()
    )
    _insert(
        connection,
        bundles,
        [
            {"digest": digest, "files": json.dumps(files, ensure_ascii=False), "created_time": now}
            for digest, files in found.items()
            if digest not in known
        ],
    )


def _save_sources(connection: Connection, registration: Registration) -> None:
    gone = [{"b_path": path} for path in registration.forgotten]
    gone += [{"b_path": row["path"]} for row in registration.sources]
    if gone:
        connection.execute(delete(sources).where(sources.c.path == bindparam("b_path")), gone)
    _insert(connection, sources, registration.sources)


def _save_errors(connection: Connection, errors: Mapping[str, Sequence[Mapping[str, Any]]], now: int) -> None:
    if errors:
        connection.execute(
            delete(load_errors).where(load_errors.c.path == bindparam("b_path")),
            [{"b_path": path} for path in errors],
        )
    rows = [
        {"path": path, "position": position, "since": now, **error}
        for path, found in errors.items()
        for position, error in enumerate(found)
    ]
    _insert(connection, load_errors, rows)


def rename(database: Database, task_id: int, name: str, *, term: tuple[int, int]) -> None:
    """Give a task another name. Raises Fenced as `save` does."""
    with database.write() as connection:
        hold(connection, *term)
        number = take(connection, "change", 1)
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(name=name, change_seq=number))


def tasks_named(database: Database, names: Iterable[str]) -> dict[str, Any]:
    """The rows of these tasks by name, archived ones too."""
    wanted = list(names)
    found: dict[str, Any] = {}
    with database.read() as connection:
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            found |= {
                row.name: row for row in connection.execute(select(tasks).where(tasks.c.name.in_(part)))
            }
    return found


def versions_of(database: Database, task_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """For each of these tasks its versions by content hash."""
    wanted = list(task_ids)
    found: dict[int, dict[str, int]] = {task_id: {} for task_id in wanted}
    query = select(definitions.c.task_id, definitions.c.content_hash, definitions.c.version)
    with database.read() as connection:
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            for row in connection.execute(query.where(definitions.c.task_id.in_(part))):
                found[row.task_id][row.content_hash] = row.version
    return found


def current(database: Database) -> Sequence[Any]:
    """Every task that is not archived, with the JSON of its current definition as `body`."""
    joined = tasks.join(
        definitions, (definitions.c.task_id == tasks.c.id) & (definitions.c.version == tasks.c.version)
    )
    with database.read() as connection:
        return connection.execute(
            select(tasks, definitions.c.body).select_from(joined).where(tasks.c.archived_at.is_(None))
        ).all()


def changed_since(database: Database, number: int) -> Sequence[Any]:
    """The tasks that changed after that change, archived ones too, with the JSON of their current definitions as `body`."""
    joined = tasks.join(
        definitions, (definitions.c.task_id == tasks.c.id) & (definitions.c.version == tasks.c.version)
    )
    with database.read() as connection:
        return connection.execute(
            select(tasks, definitions.c.body)
            .select_from(joined)
            .where(tasks.c.change_seq > number, ~tasks.c.adhoc)
            .order_by(tasks.c.change_seq)
        ).all()


def task_row(database: Database, task_id: int) -> Any | None:
    """A task by id, archived or not, with the JSON of its current definition as `body`."""
    joined = tasks.join(
        definitions, (definitions.c.task_id == tasks.c.id) & (definitions.c.version == tasks.c.version)
    )
    with database.read() as connection:
        return connection.execute(
            select(tasks, definitions.c.body).select_from(joined).where(tasks.c.id == task_id)
        ).one_or_none()


def body_of(database: Database, task_id: int, version: int) -> str | None:
    """The JSON of one version of a task's definition."""
    with database.read() as connection:
        return connection.execute(
            select(definitions.c.body).where(
                definitions.c.task_id == task_id, definitions.c.version == version
            )
        ).scalar()


def versions(database: Database, task_id: int) -> Sequence[Any]:
    """The versions of a task's definition without their bodies, newest first."""
    columns = (definitions.c.version, definitions.c.content_hash, definitions.c.created_time)
    with database.read() as connection:
        return connection.execute(
            select(*columns).where(definitions.c.task_id == task_id).order_by(definitions.c.version.desc())
        ).all()


def version(database: Database, task_id: int, number: int) -> Any | None:
    """One version of a task's definition."""
    with database.read() as connection:
        return connection.execute(
            select(definitions).where(definitions.c.task_id == task_id, definitions.c.version == number)
        ).one_or_none()


def files_of_bundle(database: Database, digest: str) -> dict[str, str]:
    """The sources of a bundle by path; raises KeyError for one that is not stored."""
    with database.read() as connection:
        text = connection.execute(select(bundles.c.files).where(bundles.c.digest == digest)).scalar()
    if text is None:
        raise KeyError(digest)
    found: dict[str, str] = json.loads(text)
    return found


def known_sources(database: Database) -> Sequence[Any]:
    """The files as they were last read."""
    with database.read() as connection:
        return connection.execute(select(sources)).all()


def known_errors(database: Database) -> Sequence[Any]:
    """The load errors, by path and position."""
    with database.read() as connection:
        return connection.execute(
            select(load_errors).order_by(load_errors.c.path, load_errors.c.position)
        ).all()
