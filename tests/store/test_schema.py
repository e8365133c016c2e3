"""The schema: one way or the other to make it, and what it can never hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, inspect, text
from sqlalchemy.exc import IntegrityError

from zquant_flow.errors import Unavailable
from zquant_flow.store.database import HEAD, Database, take
from zquant_flow.store.migrate import alembic_config
from zquant_flow.store.tables import executions, fires


def sqlite(folder: Path, name: str = "a.db") -> str:
    return f"sqlite:///{folder / name}"


@pytest.fixture
def database(tmp_path: Path):
    database = Database(sqlite(tmp_path))
    database.open()
    yield database
    database.close()


def schema_of(url: str) -> dict[str, object]:
    engine = create_engine(url)
    try:
        inspector = inspect(engine)
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
                inspector.get_pk_constraint(table)["constrained_columns"],
                sorted(str(index["name"]) for index in inspector.get_indexes(table)),
                sorted(str(check["name"]) for check in inspector.get_check_constraints(table)),
            )
            for table in inspector.get_table_names()
        }
    finally:
        engine.dispose()


def test_migrations_make_the_same_schema_as_the_tables(tmp_path: Path, database: Database) -> None:
    from alembic import command

    migrated = sqlite(tmp_path, "b.db")
    command.upgrade(alembic_config(migrated), "head")
    assert schema_of(migrated) == schema_of(database.url)


def test_a_database_that_alembic_made_opens_as_one_of_ours(tmp_path: Path) -> None:
    from alembic import command

    url = sqlite(tmp_path)
    command.upgrade(alembic_config(url), "head")
    database = Database(url)
    database.open()
    with database.write() as connection:
        assert take(connection, "execution", 3) == 1
    database.close()


def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="newer than this zquant-flow"):
        database.open()


def test_opening_twice_changes_nothing(database: Database) -> None:
    database.open()
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_an_instant_fires_once_whoever_writes_it(database: Database) -> None:
    row = {
        "task_id": 1,
        "logical_time": 5,
        "until": 5,
        "outcome": "fired",
        "execution_id": 7,
        "recorded_time": 5,
    }
    with database.write() as connection:
        connection.execute(insert(fires), row)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(fires), row | {"execution_id": 8})


def test_running_without_an_owner_can_not_be_written(database: Database) -> None:
    row = {
        "id": 1,
        "root_id": 1,
        "task_id": 1,
        "version": 1,
        "status": "running",
        "trigger_type": "api",
        "created_time": 1,
        "updated_time": 1,
        "change_seq": 1,
    }
    with pytest.raises(IntegrityError, match="running_is_owned"), database.write() as connection:
        connection.execute(insert(executions), row)


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def fail_halfway() -> None:
        with database.write() as connection:
            take(connection, "execution", 10)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    with database.write() as connection:
        assert take(connection, "execution", 1) == 1


def test_readers_go_on_while_a_writer_works(database: Database) -> None:
    with database.write() as writer, database.read() as reader:
        take(writer, "execution", 1)
        assert reader.execute(text("SELECT value FROM counters WHERE name = 'execution'")).scalar() == 0


def test_commits_are_synced_to_the_disk(database: Database) -> None:
    with database.write() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("this is a text of some length, and no database at all" * 100)
    with pytest.raises(Unavailable, match=r"a\.db can't be opened: file is not a database"):
        Database(sqlite(tmp_path)).open()


def test_an_emptied_file_beside_logs_is_a_loss_and_no_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "logs").mkdir()
    with pytest.raises(Unavailable, match="restore a backup"):
        Database(sqlite(tmp_path)).open()
    (tmp_path / "a.db").unlink()
    made = Database(sqlite(tmp_path))
    made.open()
    made.close()


def test_only_its_owner_reads_the_database(tmp_path: Path, database: Database) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert modes
    assert set(modes.values()) == {0o600}
