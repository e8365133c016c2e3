"""SCORECARD C1: the SQLite file is locked by another process. The short version of `make faults ARGS="--only locks"`."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.locks import held_by_another, served_while_held
from zquant_flow.testing import Harness, command_task


@pytest.mark.slow
def test_a_file_that_another_process_holds_for_a_second_makes_what_is_due_late_and_fires_it_once(
    tmp_path: Path,
) -> None:
    held = served_while_held(tmp_path / "world", seconds=1.2)
    assert held.report.faults == {}
    assert held.report.instants > 10


def test_a_lock_that_outlasts_the_patience_of_a_statement_is_told_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement waits for five seconds, so it is told well before ten; here it waits for an instant."""
    monkeypatch.setattr("zquant_flow.store.database.BUSY_SECONDS", 0.01)
    monkeypatch.setattr("zquant_flow.engine.service.STORE_PAUSE", 0.01)
    with Harness(tmp_path) as h:
        [task_id] = h.define(command_task("one"))
        with held_by_another(tmp_path / "test.db"):
            waits = threading.Thread(target=lambda: h.operations.trigger(task_id, actor="me"))
            waits.start()
            while h.engine.unwritable is None:
                assert waits.is_alive(), "answered before it was written"
            assert "locked" in h.engine.unwritable
        waits.join(20)
        h.settle()
        assert h.engine.unwritable is None
        assert len(h.backend.orders) == 1


def test_the_holder_holds(tmp_path: Path) -> None:
    """A test of the tests: others really can't write."""
    with closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as other:
        other.execute("CREATE TABLE t (a)")
        with held_by_another(tmp_path / "x.db"), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO t VALUES (1)")
        other.execute("INSERT INTO t VALUES (1)")
