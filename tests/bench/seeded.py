"""A large history without waiting for it: tasks and executions written straight into the tables, tallies made from them."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from sqlalchemy import insert, text

from zquant_flow.core.model import canonical, content_hash, encode
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.executors.installed import built_in
from zquant_flow.store.database import Database
from zquant_flow.store.tables import counters, definitions, executions, tasks

DAY = 86_400_000_000
_STATUSES = ["success"] * 92 + ["failed"] * 5 + ["terminated"] * 2 + ["completed"]
_TRIGGERS = ["schedule"] * 90 + ["api"] * 5 + ["manual"] * 4 + ["backfill"]


def write_tasks(folder: Path, count: int) -> None:
    """As files, so that a server over this folder finds what the database knows."""
    for number in range(1, count + 1):
        (folder / f"group-{number % 20}").mkdir(exist_ok=True)
        (folder / f"group-{number % 20}" / f"t{number}.yaml").write_text(task_text(number))


def task_text(number: int) -> str:
    return (
        f"name: task-{number}\ndescription: number {number} of many\ntags: [g{number % 50}, all]\n"
        f'cron: "{number % 60} {number % 24} 1 1 *"\ncommand: "true"\n'
    )


def seed_tasks(database: Database, count: int) -> None:
    """Rows of tasks that have no files."""
    now = time.time_ns() // 1000
    rows, bodies = [], []
    for number in range(1, count + 1):
        task = parse_definition(
            {
                "name": f"task-{number}",
                "description": f"number {number} of many",
                "tags": [f"g{number % 50}", "all"],
                "cron": f"{number % 60} {number % 24} 1 1 *",
                "command": "true",
            },
            origin="file",
            executors=built_in().configs,
        ).task
        body = encode(task)
        rows.append(
            {
                "id": number,
                "name": task.name,
                "task_type": "common_task",
                "description": task.description,
                "tags": json.dumps(task.tags),
                "version": 1,
                "content_hash": content_hash(body),
                "source": f"group-{number % 20}/t{number}.yaml",
                "enabled": True,
                "paused": False,
                "anchor": now,
                "cursor": now,
                "next_fire": now + number * 60_000_000,
                "created_by": "file",
                "created_time": now,
                "updated_by": "file",
                "updated_time": now,
                "change_seq": number,
            }
        )
        bodies.append(
            {
                "task_id": number,
                "version": 1,
                "content_hash": content_hash(body),
                "body": canonical(body),
                "created_time": now,
            }
        )
    with database.write() as connection:
        connection.execute(insert(tasks), rows)
        connection.execute(insert(definitions), bodies)
        connection.execute(
            counters.update().where(counters.c.name.in_(["task", "change"])).values(value=count)
        )


def seed_executions(database: Database, count: int, *, of_tasks: int, days: int = 60) -> None:
    """Ended executions over the last `days`; a tenth of them are the first task's, the others anybody's."""
    chance = random.Random(7)
    now = time.time_ns() // 1000
    step = days * DAY // count
    with database.write() as connection:
        for start in range(1, count + 1, 50_000):
            connection.execute(
                insert(executions),
                [
                    _row(number, now - (count - number) * step, chance, of_tasks)
                    for number in range(start, min(start + 50_000, count + 1))
                ],
            )
        connection.execute(
            counters.update().where(counters.c.name.in_(["execution", "change"])).values(value=count)
        )
        for table, place in (("task_tallies", "task_id"), ("hour_tallies", "created_time / 3600000000")):
            connection.execute(
                text(
                    f"INSERT INTO {table} SELECT {place}, status, trigger_type, count(*), "
                    "sum(duration_seconds) FROM executions GROUP BY 1, 2, 3"
                )
            )
        connection.execute(
            text(
                "UPDATE tasks SET (latest_execution_id, latest_status, latest_time) = (SELECT id, status, created_time "
                "FROM executions e WHERE e.task_id = tasks.id AND NOT inline ORDER BY created_time DESC LIMIT 1)"
            )
        )


def _row(number: int, created: int, chance: random.Random, of_tasks: int) -> dict[str, object]:
    seconds = chance.expovariate(1 / 20)
    return {
        "id": number,
        "root_id": number,
        "task_id": 1 if chance.random() < 0.1 else chance.randint(1, of_tasks),
        "version": 1,
        "status": chance.choice(_STATUSES),
        "trigger_type": chance.choice(_TRIGGERS),
        "logical_time": created,
        "created_time": created,
        "start_time": created,
        "attempt_start": created,
        "end_time": created + int(seconds * 1e6),
        "duration_seconds": seconds,
        "updated_time": created,
        "change_seq": number,
    }
