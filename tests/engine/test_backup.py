"""A backup is one consistent state, taken while others write; a restore loses nothing, and no number comes twice."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.databases import fresh_database
from tests.engine.conftest import EVERY_MINUTE
from zquant_flow.core.model import Overlap
from zquant_flow.engine.log_archive import beside, pack, unpack
from zquant_flow.engine.log_files import highest_id
from zquant_flow.errors import BadRequest, Conflict, Unavailable
from zquant_flow.logs import log_path, state_path
from zquant_flow.store import queries, repair
from zquant_flow.store.backup import check_backup, write_backup
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.migrate import create_as_of
from zquant_flow.store.restore import UNKNOWN, Restored, restore
from zquant_flow.store.tables import engines, executions, fires, metadata, tasks
from zquant_flow.store.terms import last_number
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


def content(url: str) -> dict[str, list[Any]]:
    database = Database(url)
    with database.read() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }
    database.close()
    return found


@contextmanager
def harness(folder: Path, url: str) -> Iterator[Harness]:
    folder.mkdir(exist_ok=True)
    with Harness(folder, url=url) as made:
        yield made


def put_back(url: str, file: Path, folder: Path, **options: Any) -> Restored:
    label = f"now{len(list(folder.glob('*')))}"
    return restore(url, file, data_dir=folder / "data", label=label, **options)


def busy(h: Harness) -> int:
    """Some history: a schedule that fired, a workflow, one that runs; the task that fires."""
    task, flow, other = h.define(
        command_task("每分钟", schedule=EVERY_MINUTE),
        workflow_task("flow", [command_node("a"), command_node("b", "a")]),
        command_task("other", overlap=Overlap.ALLOW),
    )
    h.tick(60)
    h.end(next(iter(h.backend.active)))
    h.operations.trigger(flow, actor="me")
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"), "failed")
    h.operations.trigger(other, actor="me")
    return task


# ── backup ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_holds_everything(h: Harness, tmp_path: Path) -> None:
    busy(h)
    assert write_backup(h.database.url, tmp_path / "b.db") == HEAD
    assert content(f"sqlite:///{tmp_path / 'b.db'}") == content(h.database.url)
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600
    assert check_backup(tmp_path / "b.db") == HEAD
    with pytest.raises(BadRequest, match="there already"):
        write_backup(h.database.url, tmp_path / "b.db")
    assert not list(tmp_path.glob("*.part*"))


def test_a_backup_is_one_state_though_others_write(h: Harness, tmp_path: Path) -> None:
    [task] = h.define(command_task("a", overlap=Overlap.ALLOW))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            h.end(h.operations.trigger(task, actor="me"))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(3):
            write_backup(h.database.url, tmp_path / f"{number}.db")
    finally:
        over.set()
        thread.join()
    counts = []
    for number in range(3):
        own = Database(f"sqlite:///{tmp_path / f'{number}.db'}")
        assert repair.flaws(own) == []
        counts.append(last_number(own, "execution"))
        own.close()
    assert counts == sorted(counts)


def test_an_older_schema_is_backed_up_as_it_is(url: str, tmp_path: Path) -> None:
    create_as_of(url, "0001")
    seen: list[tuple[int, int]] = []
    assert write_backup(url, tmp_path / "b.db", progress=lambda *share: seen.append(share)) == "0001"
    assert seen[-1][0] == seen[-1][1]
    assert check_backup(tmp_path / "b.db") == "0001"
    done = put_back(url, tmp_path / "b.db", tmp_path)
    assert done.found == "0001"
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    database = Database(url)
    database.open()
    assert repair.flaws(database) == []
    database.close()


def test_where_nothing_is_there_is_nothing_to_back_up(url: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no database yet"):
        write_backup(url, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


def test_a_backup_that_can_not_be_written_leaves_nothing(h: Harness, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be written"):
        write_backup(h.database.url, tmp_path / "no" / "b.db")


# ── restore ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restored_database_goes_on_from_the_backup_and_no_number_comes_twice(
    url: str, tmp_path: Path
) -> None:
    backup = tmp_path / "b.db"
    with harness(tmp_path / "h", url) as h:
        task = busy(h)
        running = next(iter(h.backend.active))
        write_backup(url, backup)
        h.tick(60)
        fired_later = h.clock.micros()
        h.end(h.backend.orders[-1]["id"])
        h.restart()
        later = last_number(h.database, "execution")
        epoch = h.engine.memory.epoch
        h.engine.stop(keep_attempts=True)
        h.database.close()
        before = content(url)

        done = put_back(url, backup, tmp_path)
        assert (done.found, done.tasks, done.active, done.same_history) == (HEAD, 3, 1, True)
        assert done.kept is not None
        assert content(f"sqlite:///{done.kept}") == before, "what was there is kept"
        assert done.entries == 1

        h._make()
        h.backend.active.clear()
        h.engine.start()
        assert h.engine.memory.epoch > epoch
        assert h.status(running) == "terminated", "what ran is lost, and had no retry left"
        assert queries.execution_row(h.database, later) is None
        assert h.operations.trigger(task, actor="me") > later
        h.tick(0)
        assert queries.fired(h.database, task, fired_later) == later, (
            "what fired after the backup fires no more"
        )
        scheduled = [order for order in h.backend.active.values() if order.get("logical_time")]
        assert scheduled == []
        h.end(next(iter(h.backend.active)))
        assert repair.flaws(h.database) == []


def test_logs_of_newer_executions_never_show_for_others(url: str, tmp_path: Path) -> None:
    with harness(tmp_path / "h", url) as h:
        busy(h)
    write_backup(url, tmp_path / "b.db")
    put_back(url, tmp_path / "b.db", tmp_path, last_log=4711)
    database = Database(url)
    assert last_number(database, "execution") == 4711
    database.close()


def test_ids_that_the_database_gives_go_on_too(url: str, tmp_path: Path) -> None:
    with harness(tmp_path / "h", url) as h:
        busy(h)
    write_backup(url, tmp_path / "b.db")
    put_back(url, tmp_path / "b.db", tmp_path)
    with harness(tmp_path / "h", url) as h:
        h.tick(120)  # inserts into the ledger and the audit
        h.operations.disable(1, actor="me")
        with h.database.read() as connection:
            assert connection.execute(select(func.count()).select_from(fires)).scalar_one() >= 2


@pytest.mark.parametrize(("source", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_a_backup_is_the_way_from_one_kind_of_database_to_the_other(
    tmp_path: Path, source: str, target: str
) -> None:
    with fresh_database(source, tmp_path) as url:
        with harness(tmp_path / "h", url) as h:
            busy(h)
        write_backup(url, tmp_path / "b.db")
        before = content(url)
    (tmp_path / "test.db").unlink(missing_ok=True)
    with fresh_database(target, tmp_path) as other:
        done = put_back(other, tmp_path / "b.db", tmp_path)
        assert content(other) == before
        assert done.kept is None


def test_only_a_sound_backup_is_taken(url: str, tmp_path: Path) -> None:
    with harness(tmp_path / "h", url) as h:
        busy(h)
    before, good = content(url), tmp_path / "b.db"
    write_backup(url, good)
    (tmp_path / "text").write_text("no database\n" * 1000)
    (tmp_path / "empty").touch()
    shutil.copy(good, tmp_path / "cut")
    with (tmp_path / "cut").open("r+b") as file:
        file.truncate(good.stat().st_size // 2)
    scrambled = bytearray(good.read_bytes())
    chance = random.Random(3)
    for _ in range(1000):
        scrambled[chance.randrange(100, len(scrambled))] = chance.randrange(256)
    (tmp_path / "scrambled").write_bytes(scrambled)
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    shutil.copy(good, tmp_path / "newer")
    with closing(sqlite3.connect(tmp_path / "newer")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for name, words in {
        "text": "is no backup",
        "empty": "is no backup",
        "cut": "is damaged",
        "scrambled": "is damaged",
        "other": "is no backup",
        "missing": "can't be read",
        "newer": "newer than this zquant-flow",
    }.items():
        with pytest.raises((BadRequest, Unavailable), match=words):
            put_back(url, tmp_path / name, tmp_path)
    assert content(url) == before
    assert not list((tmp_path / "data").glob("*restor*"))


def test_another_history_is_told_from_an_older_state_of_this(url: str, tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    with fresh_database("sqlite", tmp_path / "h") as strange:
        with harness(tmp_path / "h", strange) as h:
            h.clock.advance(12345)
            busy(h)
        write_backup(strange, tmp_path / "b.db")
    with harness(tmp_path / "i", url) as h:
        busy(h)
    done = put_back(url, tmp_path / "b.db", tmp_path)
    assert (done.same_history, done.entries) == (False, 0)


def test_a_damaged_database_is_kept_and_numbers_go_on_far_ahead(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    url = f"sqlite:///{file}"
    with harness(tmp_path / "h", url) as h:
        busy(h)
    write_backup(url, tmp_path / "b.db")
    database = Database(url)
    last = last_number(database, "execution")
    with database.read() as connection:
        epoch = connection.execute(select(engines.c.epoch)).scalar_one()
    database.close()
    damaged = b"x" * 5000
    file.write_bytes(damaged)
    done = put_back(url, tmp_path / "b.db", tmp_path)
    assert done.kept is not None
    assert done.kept.read_bytes() == damaged
    database = Database(url)
    assert last_number(database, "execution") == last + UNKNOWN
    with database.read() as connection:
        assert connection.execute(select(engines.c.epoch)).scalar_one() == epoch + UNKNOWN
    database.close()


def test_a_journal_of_the_old_file_is_never_played_into_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    url = f"sqlite:///{file}"
    with harness(tmp_path / "h", url) as h:
        busy(h)
    write_backup(url, tmp_path / "b.db")
    before = content(f"sqlite:///{tmp_path / 'b.db'}")
    with closing(sqlite3.connect(file)) as other:  # as a server that was killed leaves it
        other.execute("PRAGMA wal_autocheckpoint=0")
        with other:
            other.execute("UPDATE tasks SET name = 'changed ' || id")
        for end in ("", "-wal", "-shm"):
            shutil.copy(f"{file}{end}", tmp_path / f"kept{end}")
    for end in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"kept{end}", f"{file}{end}")
    done = put_back(url, tmp_path / "b.db", tmp_path)
    assert content(url)["executions"] == before["executions"]
    assert [row[1] for row in content(url)["tasks"]] == [row[1] for row in before["tasks"]]
    assert done.kept is not None
    put_back(url, done.kept, tmp_path)
    assert "changed 1" in {row[1] for row in content(url)["tasks"]}, (
        "what was kept can be restored, journal and all"
    )


def test_a_server_elsewhere_on_the_same_database_is_not_robbed_of_it(tmp_path: Path) -> None:
    with fresh_database("postgresql", tmp_path) as url, harness(tmp_path / "h", url) as h:
        busy(h)
        write_backup(url, tmp_path / "b.db")
        with pytest.raises(Conflict, match="connected"):
            put_back(url, tmp_path / "b.db", tmp_path)
        assert h.operations.trigger(3, actor="me")


def test_a_restore_into_a_project_that_never_began(url: str, tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    with fresh_database("sqlite", tmp_path / "h") as first:
        with harness(tmp_path / "h", first) as h:
            busy(h)
        write_backup(first, tmp_path / "b.db")
    done = put_back(url, tmp_path / "b.db", tmp_path)
    assert (done.kept, done.tasks) == (None, 3)
    with harness(tmp_path / "h", url) as h, h.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tasks)).scalar_one() == 3
        assert connection.execute(select(func.count()).select_from(executions)).scalar_one() >= 4
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_logs_come_back_where_they_are_missing_and_never_over_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    paths = {number: Path(log_path(data, number, 1)) for number in (7, 1500, 9000)}
    for number, path in paths.items():
        path.parent.mkdir(parents=True)
        path.write_text(f"log of {number}\n")
    (data / "admin.token").write_text("secret")
    kept = Path(state_path(data, 7))
    kept.write_text("[1]")
    backup = tmp_path / "b.db"
    assert pack(data, beside(backup), 1500) == 3
    assert beside(backup).stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadRequest, match="there already"):
        pack(data, beside(backup), 1500)
    paths[7].unlink()
    kept.unlink()
    paths[1500].write_text("newer\n")
    assert highest_id(data) == 9000
    assert unpack(beside(backup), data) == 2
    assert kept.read_text() == "[1]"
    assert paths[7].read_text() == "log of 7\n"
    assert paths[1500].read_text() == "newer\n"
    assert paths[7].stat().st_mode & 0o777 == 0o600
    assert b"secret" not in beside(backup).read_bytes()


def test_what_is_no_log_in_an_archive_is_left_alone(tmp_path: Path) -> None:
    import io
    import tarfile

    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in [
            ("../evil", tarfile.REGTYPE),
            ("admin.token", tarfile.REGTYPE),
            ("logs/0/1-1.log", tarfile.SYMTYPE),
            ("logs/5/1-1.log", tarfile.REGTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, 0, "../../secret"
            archive.addfile(info, io.BytesIO())
    assert unpack(tmp_path / "a.tar", data) == 0
    assert list(data.rglob("*")) == []
    (tmp_path / "b.tar").write_text("no archive" * 100)
    with pytest.raises(BadRequest, match="can't be read"):
        unpack(tmp_path / "b.tar", data)
