"""How long something takes is what its newest successes say, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.databases import KINDS, fresh_database
from zquant_flow.store import durations
from zquant_flow.store.database import Database
from zquant_flow.store.durations import Past
from zquant_flow.store.tables import executions


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with fresh_database(request.param, tmp_path) as url:
        made = Database(url)
        made.open()
        yield made
        made.close()


def row(number: int, seconds: float | None, **facts: Any) -> dict[str, Any]:
    return {
        "id": number,
        "root_id": number,
        "parent_execution_id": None,
        "inline": False,
        "reused_from": None,
        "node": None,
        "task_id": 1,
        "version": 1,
        "status": "success",
        "trigger_type": "schedule",
        "created_time": number,
        "duration_seconds": seconds,
        "updated_time": number,
        "change_seq": number,
        **facts,
    }


def node(number: int, root: int, name: str, seconds: float, **facts: Any) -> dict[str, Any]:
    return row(
        number,
        seconds,
        **{"root_id": root, "parent_execution_id": root, "inline": True, "node": name, **facts},
    )


def test_the_newest_successes_say_how_long_a_task_takes(database: Database) -> None:
    rows = [row(number, 1000.0) for number in range(1, 51)]  # long ago
    rows += [row(50 + number, float(number)) for number in range(1, 201)]
    rows += [
        row(300, 9e9, status="failed"),
        row(301, None),
        row(302, 9e9, inline=True),
        row(303, 7.0, task_id=2),
    ]
    with database.write() as connection:
        connection.execute(insert(executions), rows)
    assert durations.of_tasks(database, [1, 2, 3]) == {1: Past(100.0, 190.0), 2: Past(7.0, 7.0)}


def test_the_newest_runs_say_how_long_nodes_take(database: Database) -> None:
    rows = [row(number, 10.0) for number in range(1, 8)] + [row(8, None, status="pending")]
    rows += [node(10 + root, root, "a", 1000.0) for root in (1, 2)]  # older than the five newest
    rows += [node(10 + root, root, "a", float(root)) for root in range(3, 8)]
    rows += [node(20 + root, root, "b", 2.0) for root in (6, 7)]
    rows += [
        node(40, 7, "c", 5.0, reused_from=3),
        node(41, 7, "d", 5.0, status="failed"),
        node(42, 8, "a", 99.0),
    ]
    rows += [node(43, 7, "inner", 50.0, parent_execution_id=17)]
    with database.write() as connection:
        connection.execute(insert(executions), rows)
    assert durations.of_nodes(database, 1) == {"a": 5.0, "b": 2.0}
    assert durations.of_nodes(database, 2) == {}
