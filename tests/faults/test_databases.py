"""The database is away, locked, full or cut off: nothing crashes, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.databases import fresh_database, postgres_url, with_name
from tests.engine.conftest import EVERY_MINUTE
from tests.faults.network import own_postgres
from zquant_flow.core.model import Overlap
from zquant_flow.errors import Unavailable
from zquant_flow.store import history
from zquant_flow.store.history import Wanted
from zquant_flow.testing import Harness, command_node, command_task, workflow_task


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as long as the machine needs, not as long as people do."""
    monkeypatch.setattr("zquant_flow.store.database.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("zquant_flow.engine.service.STORE_PAUSE", 0.02)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as made:
        yield made


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[Harness]:
    with fresh_database("postgresql", tmp_path) as url, Harness(tmp_path, url=url) as made:
        yield made


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


def fired_of(h: Harness, task_id: int) -> list[int]:
    with h.database.read() as connection:
        return list(
            connection.execute(
                text("SELECT logical_time FROM fires WHERE outcome = 'fired' AND task_id = :id ORDER BY 1"),
                {"id": task_id},
            ).scalars()
        )


# ── SQLite ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_another_process_holds_delays_and_loses_nothing(on_sqlite: Harness) -> None:
    h = on_sqlite
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    other = sqlite3.connect(h.folder / "test.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    thread, answers = in_background(lambda: h.operations.trigger(task_id, actor="me"))
    h.clock.advance(60)
    h.engine.ring()
    thread.join(0.3)
    assert thread.is_alive(), "nothing is answered before it is written"
    assert h.backend.orders == [], "nothing is started before it is written"
    assert h.engine.running
    other.execute("ROLLBACK")
    other.close()
    thread.join(10)
    h.settle()
    assert h.status(answers[0]) == "running"
    assert len(h.backend.orders) == 2
    assert len(fired_of(h, task_id)) == 1


def test_readers_are_answered_while_another_process_holds_the_file(on_sqlite: Harness) -> None:
    [task_id] = on_sqlite.define(command_task("one"))
    other = sqlite3.connect(on_sqlite.folder / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert history.page(on_sqlite.database, Wanted(task_id=task_id), limit=1).total == 0
    other.execute("ROLLBACK")
    other.close()


def test_a_full_disk_holds_everything_back_until_there_is_room(on_sqlite: Harness) -> None:
    h = on_sqlite
    [task_id] = h.define(command_task("one", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    with h.database.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    large = "x" * 200_000
    thread, answers = in_background(
        lambda: h.operations.trigger(task_id, actor="me", params={"large": large})
    )
    thread.join(0.3)
    try:
        assert thread.is_alive()
        assert h.engine.running
        assert h.backend.orders == []
    finally:
        with h.database.write() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))
    thread.join(10)
    assert h.status(answers[0]) == "running"
    with h.database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_a_stop_while_the_database_is_away_does_not_hang(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        [task_id] = h.define(command_task("one"))
        other = sqlite3.connect(h.folder / "test.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        def late() -> str:
            try:
                h.operations.trigger(task_id, actor="me")
            except Unavailable as error:
                return error.code
            return "answered"

        thread, answers = in_background(late)
        thread.join(0.2)
        h.engine.stop(keep_attempts=True)
        thread.join(10)
        assert answers == ["unavailable"]
        other.execute("ROLLBACK")
        other.close()


# ── PostgreSQL ──────────────────────────────────────────────────────────────────────────────────────────────────────


def cut(h: Harness) -> int:
    """End all connections to this database but the one that does it; how many there were."""
    import psycopg

    with psycopg.connect(postgres_url(), autocommit=True) as admin:
        found = admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s",
            [h.database.engine.url.database],
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_connections_that_are_cut_again_and_again_lose_nothing(on_postgres: Harness) -> None:
    h = on_postgres
    flow = workflow_task("flow", [command_node("a"), command_node("b", "a")], overlap=Overlap.ALLOW)
    ticking, flow_id = h.define(
        command_task("tick", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW), flow, path="all.yaml"
    )
    roots = []
    for turn in range(12):
        assert cut(h) > 0
        h.tick(60)
        if turn % 2:
            cut(h)
        roots.append(h.operations.trigger(flow_id, actor="me"))
        for number in list(h.backend.active):
            h.end(number)
    while h.backend.active:
        h.end(next(iter(h.backend.active)))
    assert [h.status(root) for root in roots] == ["success"] * 12
    fired = fired_of(h, ticking)
    assert len(fired) == 12
    assert [later - earlier for earlier, later in pairwise(fired)] == [60_000_000] * 11


def test_an_answer_to_commit_that_is_lost_is_looked_up_and_not_repeated(
    on_postgres: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is in the database, and nobody here knows: the rows say so."""
    h = on_postgres
    [task_id] = h.define(command_task("tick", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
    from zquant_flow.store import batch as store_batch

    apply, lost = store_batch.apply, []

    def committed_and_cut(*args: Any, **named: Any) -> None:
        apply(*args, **named)
        if not lost:
            lost.append(True)
            cut(h)
            with h.database.write() as connection:  # the connection is gone: what a lost answer looks like
                connection.execute(text("SELECT 1"))

    monkeypatch.setattr(store_batch, "apply", committed_and_cut)
    h.tick(60)
    h.tick(0)
    assert lost
    assert len(fired_of(h, task_id)) == 1
    with h.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM executions")).scalar() == 1
    h.tick(60)
    assert len(fired_of(h, task_id)) == 2


def test_a_server_that_restarts_under_load_loses_nothing(tmp_path: Path) -> None:
    own = own_postgres(tmp_path / "pg")
    (tmp_path / "own").mkdir()
    with Harness(tmp_path / "own", url=with_name(own.get_uri(), "postgres")) as h:
        [task_id] = h.define(command_task("tick", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
        for _ in range(2):
            own.cleanup()
            thread, answers = in_background(lambda: h.operations.trigger(task_id, actor="me"))
            thread.join(0.2)
            assert thread.is_alive(), "nothing is answered while the database is away"
            assert h.engine.running
            own = own_postgres(tmp_path / "pg")
            h.tick(60)
            thread.join(20)
            assert h.status(answers[0]) == "running"
        assert len(fired_of(h, task_id)) == 2
    own.cleanup()
