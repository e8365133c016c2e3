"""How long do executions of a task usually take? The newest successes say so; nothing is kept for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal_column, select

from zquant_flow.store.database import Database
from zquant_flow.store.tables import LISTED, executions

NEWEST = 200
"""So many executions of a task are looked at."""
ROOTS = 5
"""So many runs of a workflow say how long its nodes take."""

_SUCCESS = executions.c.status == literal_column("'success'")


@dataclass(frozen=True, slots=True)
class Past:
    """Seconds: what half of the executions needed at the most, and what nineteen of twenty did."""

    median: float
    p95: float


def of_tasks(database: Database, task_ids: Iterable[int]) -> dict[int, Past]:
    """By task; one that never succeeded is not there. A walk along an index for each."""
    found: dict[int, Past] = {}
    with database.read() as connection:
        for task_id in task_ids:
            seconds = sorted(_newest(connection, task_id))
            if seconds:
                found[task_id] = Past(_ranked(seconds, 50), _ranked(seconds, 95))
    return found


@dataclass(frozen=True, slots=True)
class PastRuns:
    """The newest successful runs of a workflow: seconds of its nodes by name, and of the whole, on average."""

    nodes: Mapping[str, float]
    whole: float | None


def of_nodes(database: Database, task_id: int) -> Mapping[str, float]:
    """By name, how long the nodes of a workflow took on average in its newest successful runs."""
    return of_runs(database, task_id, ROOTS).nodes


def of_runs(database: Database, task_id: int, count: int) -> PastRuns:
    """What the newest `count` successful runs of a workflow took."""
    with database.read() as connection:
        runs = connection.execute(
            select(executions.c.id, executions.c.root_id, executions.c.duration_seconds)
            .where(LISTED, executions.c.task_id == task_id, _SUCCESS)
            .order_by(executions.c.created_time.desc())
            .limit(count)
        ).all()
        rows = connection.execute(
            select(executions.c.node, func.avg(executions.c.duration_seconds))
            .where(
                executions.c.root_id.in_([run.root_id for run in runs]),
                executions.c.parent_execution_id.in_([run.id for run in runs]),
                _SUCCESS,
                executions.c.reused_from.is_(None),
                executions.c.duration_seconds.is_not(None),
            )
            .group_by(executions.c.node)
        )
        nodes = {name: float(seconds) for name, seconds in rows if name is not None}
    whole = [run.duration_seconds for run in runs if run.duration_seconds is not None]
    return PastRuns(nodes, sum(whole) / len(whole) if whole else None)


def _newest(connection: Connection, task_id: int) -> Sequence[float]:
    return list(
        connection.execute(
            select(executions.c.duration_seconds)
            .where(
                LISTED,
                executions.c.task_id == task_id,
                _SUCCESS,
                executions.c.duration_seconds.is_not(None),
            )
            .order_by(executions.c.created_time.desc())
            .limit(NEWEST)
        ).scalars()
    )


def _ranked(ordered: Sequence[float], share: int) -> float:
    """The smallest that is not exceeded by that share of all."""
    return ordered[(len(ordered) * share + 99) // 100 - 1]
