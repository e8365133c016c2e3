"""Which tasks match, in which order, and how many are there in all?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import tasks

ORDER: dict[str, ColumnElement[Any]] = {
    "id": tasks.c.id,
    "name": tasks.c.name,
    "task_type": tasks.c.task_type,
    "enabled": tasks.c.enabled,
    "created_time": tasks.c.created_time,
    "updated_time": tasks.c.updated_time,
    "next_run_time": tasks.c.next_fire,
    "latest_execution_time": tasks.c.latest_time,
    "latest_execution_status": tasks.c.latest_status,
}
"""What a list may be sorted by: an enumeration, so that no text of a client becomes SQL."""

UNSHOWN = 33
"""So many characters at the end of a hidden task's name only make it unique: `engine.registration.ADHOC` and 32 digits."""

Position = tuple[Any, int]
"""Where a page ended: the value that it is sorted by, and the id of its last task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks: all of these conditions hold."""

    name: str | None = None
    task_type: str | None = None
    enabled: bool | None = None
    paused: bool | None = None
    statuses: tuple[str, ...] = ()
    """Of the latest execution."""
    text: str | None = None
    """Somewhere in the name, as it is shown, or the description, whatever its case."""
    tag: str | None = None
    source: str | None = None
    """A file below the tasks folder, or a folder there and all below it."""
    archived: bool = False
    """Archived ones too."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same as SQL."""
        found: list[ColumnElement[bool]] = []
        if not self.archived:
            found.append(tasks.c.archived_at.is_(None))
        if self.name is not None:
            found.append(tasks.c.name == self.name)
        if self.task_type is not None:
            found.append(tasks.c.task_type == self.task_type)
        if self.enabled is not None:
            found.append(tasks.c.enabled.is_(self.enabled))
        if self.paused is not None:
            found.append(tasks.c.paused.is_(self.paused))
        if self.statuses:
            found.append(tasks.c.latest_status.in_(self.statuses))
        if self.text:
            found.append(
                or_(
                    _shown_name().icontains(self.text, autoescape=True),
                    tasks.c.description.icontains(self.text, autoescape=True),
                )
            )
        if self.tag:
            found.append(tasks.c.tags.contains(json.dumps(self.tag, ensure_ascii=False), autoescape=True))
        if self.source:
            folder = self.source.rstrip("/") + "/"
            found.append(
                or_(tasks.c.source == self.source, tasks.c.source.startswith(folder, autoescape=True))
            )
        return found


def kind_of(order_by: str) -> type:
    """The Python type of the values that this order sorts by."""
    kind: type = ORDER[order_by].type.python_type
    return kind


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Rows of tasks; how many match in all; where the next page begins, if there is one."""

    rows: Sequence[Any]
    total: int
    following: Position | None


def page(
    database: Database,
    wanted: TaskFilter,
    *,
    limit: int,
    skip: int = 0,
    after: Position | None = None,
    order_by: str = "id",
    descending: bool = False,
) -> TaskPage:
    """A page of tasks: `skip` of them left out, or those `after` a position. What has no value stands at the end."""
    conditions = [*wanted.conditions(), ~tasks.c.adhoc]
    value = ORDER[order_by]
    direction = value.desc() if descending else value.asc()
    query = select(tasks).where(*conditions).order_by(value.is_(None), direction, tasks.c.id)
    if after is not None:
        query = query.where(_beyond(value, after, descending=descending))
    with database.read() as connection:
        total = connection.execute(select(func.count()).select_from(tasks).where(*conditions)).scalar_one()
        found = connection.execute(query.offset(skip).limit(limit + 1)).all()
    rows = found[:limit]
    following = (getattr(rows[-1], value.key or "id"), rows[-1].id) if len(found) > limit else None
    return TaskPage(rows, total, following)


def _shown_name() -> ColumnElement[str]:
    name = tasks.c.name
    return case((tasks.c.adhoc, func.substr(name, 1, func.length(name) - UNSHOWN)), else_=name)


def _beyond(value: ColumnElement[Any], after: Position, *, descending: bool) -> ColumnElement[bool]:
    last, last_id = after
    if last is None:
        return and_(value.is_(None), tasks.c.id > last_id)
    known = literal(last, value.type)
    further = value < known if descending else value > known
    return or_(further, and_(value == known, tasks.c.id > last_id), value.is_(None))
