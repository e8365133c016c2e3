"""From every released schema to the newest: nothing is lost, whenever it is killed, and a copy is there."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, insert, make_url, select, text

from tests.databases import KINDS, fresh_database
from zquant_flow.errors import Unavailable
from zquant_flow.store import history, repair
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.history import Wanted
from zquant_flow.store.migrate import MIGRATIONS, create_as_of

REVISIONS = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
OLDER = [revision for revision in REVISIONS if revision != HEAD]
HOUR = 3_600_000_000
NOW = 1_770_000_000_000_000


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as found:
        yield found


def fill(url: str) -> None:
    """Rows of every kind that the first schema has; columns of later ones get their defaults, or what they need."""
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        for name, rows in DATA.items():
            connection.execute(insert(tables.tables[name]), [dict(row) for row in rows])
        connection.execute(text("UPDATE counters SET value = 30 WHERE name = 'execution'"))
        connection.execute(text("UPDATE counters SET value = 3 WHERE name = 'task'"))
        connection.execute(text("UPDATE counters SET value = 99 WHERE name = 'change'"))
        if "task_tallies" in tables.tables:  # the second schema and later ones begin with tallies
            for table, place in (("task_tallies", "task_id"), ("hour_tallies", "created_time / 3600000000")):
                connection.execute(
                    text(
                        f"INSERT INTO {table} SELECT {place}, status, trigger_type, count(*), "
                        "coalesce(sum(duration_seconds), 0) FROM executions WHERE NOT inline AND status NOT IN "
                        "('pending', 'running', 'paused') GROUP BY 1, 2, 3"
                    )
                )
    engine.dispose()


def task(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"任务 {number}",
        "task_type": "common_task",
        "version": 1,
        "content_hash": "h",
        "enabled": True,
        "paused": False,
        "anchor": NOW,
        "cursor": NOW,
        "active_count": 0,
        "latest_execution_id": None,
        "latest_status": None,
        "latest_time": None,
        "archived_at": None,
        "created_by": "me",
        "created_time": NOW,
        "updated_by": "me",
        "updated_time": NOW,
        **facts,
    }


def execution(number: int, status: str, **facts: Any) -> dict[str, Any]:
    over = status not in ("pending", "running", "paused")
    return {
        "id": number,
        "root_id": number,
        "parent_execution_id": None,
        "task_id": 1,
        "version": 1,
        "node": None,
        "inline": False,
        "status": status,
        "trigger_type": "schedule",
        "params": '{"x": "值"}',
        "result": "[1]" if over else None,
        "error_message": "why\nnot" if status == "failed" else None,
        "created_time": NOW + number * HOUR // 2,
        "end_time": NOW + number * HOUR if over else None,
        "duration_seconds": number / 4 if over else None,
        "owner": 1,
        "updated_time": NOW,
        "change_seq": number,
        **facts,
    }


def latest(number: int, status: str) -> dict[str, Any]:
    return {
        "latest_execution_id": number,
        "latest_status": status,
        "latest_time": NOW + number * HOUR // 2,
    }


DATA: dict[str, list[dict[str, Any]]] = {
    "tasks": [
        task(1, active_count=3, **latest(11, "pending")),
        task(2, archived_at=NOW, **latest(6, "terminated")),
        task(3, **latest(8, "success")),
    ],
    "definitions": [
        {
            "task_id": number,
            "version": version,
            "content_hash": f"h{version}",
            "body": "{}",
            "created_time": NOW,
        }
        for number in (1, 2, 3)
        for version in (1, 2)
    ],
    "bundles": [{"digest": "d" * 64, "files": '{"a.py": "x = 1"}', "created_time": NOW}],
    "sources": [{"path": "a.yaml", "size": 1, "mtime_ns": 2, "digest": "d"}],
    "load_errors": [
        {
            "path": "b.yaml",
            "position": 0,
            "line": 1,
            "column": 2,
            "field": "cron",
            "code": "invalid_schedule",
            "message": "no",
            "since": NOW,
        }
    ],
    "fires": [
        {
            "task_id": 1,
            "logical_time": NOW + number,
            "until": NOW + number,
            "outcome": outcome,
            "execution_id": number if outcome == "fired" else None,
            "recorded_time": NOW,
        }
        for number, outcome in ((1, "fired"), (2, "misfire"), (3, "fired"))
    ],
    "executions": [
        execution(1, "success"),
        execution(2, "failed"),
        execution(3, "success", trigger_type="api"),
        execution(4, "completed"),
        execution(
            5, "success", inline=True, parent_execution_id=4, root_id=4, node="a", trigger_type="workflow"
        ),
        execution(6, "terminated", task_id=2),
        execution(
            7, "skipped", inline=True, parent_execution_id=4, root_id=4, node="b", trigger_type="workflow"
        ),
        execution(
            8, "success", task_id=3, parent_execution_id=4, root_id=4, node="c", trigger_type="workflow"
        ),
        execution(9, "running"),
        execution(10, "paused"),
        execution(11, "pending", resume_from_execution_id=2),
    ],
    "attempts": [
        {
            "execution_id": number,
            "attempt": attempt,
            "outcome": "failed",
            "start_time": NOW,
            "end_time": NOW,
            "duration_seconds": 0.5,
            "exit_code": 3,
        }
        for number in (1, 2)
        for attempt in (1, 2)
    ],
    "audit": [{"time": NOW, "actor": "me", "action": "trigger", "task_id": 1, "execution_id": 1}],
    "engines": [{"id": 1, "epoch": 7, "heartbeat": NOW, "host": "h", "pid": 1, "started_time": NOW}],
}


def content(url: str, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in these columns."""
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: sorted(
                connection.execute(
                    select(*(table.c[column] for column in (columns or {}).get(name, table.c.keys())))
                ),
                key=repr,
            )
            for name, table in tables.tables.items()
            if name != "alembic_version" and (columns is None or name in columns)
        }
    engine.dispose()
    return {name: [tuple(row) for row in rows] for name, rows in found.items()}


def columns_of(url: str) -> dict[str, list[str]]:
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    engine.dispose()
    return {name: table.c.keys() for name, table in tables.tables.items() if name != "alembic_version"}


def opened(url: str) -> Database:
    database = Database(url)
    try:
        database.open()
    except BaseException:
        database.close()
        raise
    return database


def test_there_is_something_to_migrate_from() -> None:
    assert OLDER[0] == "0001"


@pytest.mark.parametrize("revision", OLDER)
def test_every_row_of_an_older_schema_is_there_and_counted_afterwards(url: str, revision: str) -> None:
    create_as_of(url, revision)
    fill(url)
    columns = columns_of(url)
    before = content(url)
    database = opened(url)
    try:
        assert content(url, columns) == before
        assert repair.flaws(database) == []
        assert history.page(database, Wanted(), limit=20).total == 9
        assert history.page(database, Wanted(statuses=("success",)), limit=20).total == 3
    finally:
        database.close()
    if make_url(url).get_backend_name() == "sqlite":
        copy = Path(f"{make_url(url).database}.before-{revision}")
        assert content(f"sqlite:///{copy}") == before
        assert copy.stat().st_mode & 0o777 == 0o600


KILLING = """
import os, signal, sys
from sqlalchemy import Engine, event
from zquant_flow.store.database import Database
from zquant_flow.store import migrate

url, place = sys.argv[1], int(sys.argv[2])
seen = 0
begun = False

def die():
    os.kill(os.getpid(), signal.SIGKILL)

copy = migrate._copy_first
def copied(*args):
    global begun
    copy(*args)
    begun = True
migrate._copy_first = copied

@event.listens_for(Engine, "before_cursor_execute")
def count(*args):
    global seen
    seen += begun
    if begun and seen == place:
        die()

@event.listens_for(Engine, "commit")
def commit(connection):
    if begun and place == 0:
        die()

Database(url).open()
"""
PLACES = (0, 3, 10, 25)
"""Before the last commit, and before the so-manieth statement of the migration."""


def killed(url: str, place: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", KILLING, url, str(place)])


def test_a_migration_that_is_killed_has_done_nothing_and_can_be_repeated(url: str, tmp_path: Path) -> None:
    create_as_of(url, "0001")
    fill(url)
    columns, before = columns_of(url), content(url)
    is_file = make_url(url).get_backend_name() == "sqlite"
    urls = dict.fromkeys(PLACES, url)
    if is_file:
        for place in PLACES:
            shutil.copy(str(make_url(url).database), tmp_path / f"{place}.db")
            urls[place] = f"sqlite:///{tmp_path / f'{place}.db'}"
    processes = [killed(urls[place], place) for place in PLACES]
    assert [process.wait(60) for process in processes] == [-signal.SIGKILL] * len(PLACES)
    for place in PLACES:
        if is_file:
            copy = tmp_path / f"{place}.db.before-0001"
            assert content(f"sqlite:///{copy}") == before, "the copy is whole"
        database = opened(urls[place])
        assert content(urls[place], columns) == before
        assert repair.flaws(database) == []
        database.close()


def test_a_newer_schema_is_refused_and_nothing_is_touched(url: str, tmp_path: Path) -> None:
    opened(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = content(url)
    with pytest.raises(Unavailable, match="newer than this zquant-flow"):
        opened(url)
    assert content(url) == before
    assert not list(tmp_path.glob("*.before-*"))
    engine.dispose()


def test_the_copy_holds_what_stands_in_the_journal_only(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    url = f"sqlite:///{file}"
    create_as_of(url, "0001")
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT count(*) FROM tasks").fetchone()  # while it is open, nobody removes the journal
        fill(url)
        before = content(url)
        assert Path(f"{file}-wal").stat().st_size > 0
        opened(url).close()
        assert content(f"sqlite:///{file}.before-0001") == before


def test_without_a_copy_nothing_is_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    create_as_of(url, "0001")
    fill(url)
    before = content(url)
    (tmp_path / "a.db.before-0001.part").mkdir()
    with pytest.raises(Unavailable, match="is not upgraded, for it can't be copied"):
        opened(url)
    assert content(url) == before
