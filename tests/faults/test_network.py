"""Between the engine and PostgreSQL the wire is cut, delayed, and loses answers: nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.databases import fresh_database
from tests.engine.conftest import EVERY_MINUTE
from tests.faults.network import Calamity, through_a_bad_network
from tests.faults.proxy import Proxy
from zquant_flow.core.model import Overlap
from zquant_flow.testing import Harness, command_task


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zquant_flow.engine.service.STORE_PAUSE", 0.02)


@contextmanager
def behind(folder: Path) -> Iterator[tuple[Harness, Proxy]]:
    """An engine that reaches its database through a proxy."""
    with fresh_database("postgresql", folder) as url, Proxy(url) as proxy:
        with Harness(folder, url=proxy.url) as h:
            yield h, proxy


def column(h: Harness, query: str) -> list[int]:
    with h.database.read() as connection:
        return list(connection.execute(text(query)).scalars())


def fired(h: Harness) -> list[int]:
    return column(h, "SELECT logical_time FROM fires WHERE outcome = 'fired' ORDER BY 1")


def assert_each_minute_once(moments: list[int]) -> None:
    assert [later - earlier for earlier, later in pairwise(moments)] == [60_000_000] * (len(moments) - 1)


def test_a_commit_whose_answer_is_lost_on_the_wire_is_looked_up_by_its_number(tmp_path: Path) -> None:
    """SCORECARD C3: the outcome is unknown here and known there. Four minutes, of three the first answer is lost."""
    with behind(tmp_path) as (h, proxy):
        h.define(command_task("tick", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
        for minute in range(4):
            proxy.lose_answers(1 if minute < 3 else 0)
            h.tick(60)
            h.tick(0)
        assert proxy.lost == 3
        moments = fired(h)
        assert len(moments) == 4
        assert_each_minute_once(moments)
        assert len(column(h, "SELECT id FROM executions")) == 4
        assert sorted(order["id"] for order in h.backend.orders) == column(
            h, "SELECT id FROM executions ORDER BY 1"
        ), "each was started once"


def test_a_trigger_whose_commit_gets_no_answer_three_times_makes_one_execution(tmp_path: Path) -> None:
    with behind(tmp_path) as (h, proxy):
        [task_id] = h.define(command_task("one"))
        proxy.lose_answers(3)
        execution = h.operations.trigger(task_id, actor="me")
        assert proxy.lost >= 1
        assert column(h, "SELECT id FROM executions") == [execution]
        assert [order["id"] for order in h.backend.orders] == [execution]


def test_a_wire_that_is_slow_and_cut_delays_and_loses_nothing(tmp_path: Path) -> None:
    with behind(tmp_path) as (h, proxy):
        h.define(command_task("tick", schedule=EVERY_MINUTE, overlap=Overlap.ALLOW))
        for minute in range(8):
            proxy.delay = 0.02 if minute % 2 else 0.0
            if minute % 3 == 0:
                assert proxy.cut() > 0
            h.tick(60)
        proxy.delay = 0.0
        moments = fired(h)
        assert len(moments) == 8
        assert_each_minute_once(moments)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_server_behind_a_bad_network_loses_nothing(tmp_path: Path) -> None:
    """The short version of `make faults ARGS="--only network"`: each calamity once."""
    with fresh_database("postgresql", tmp_path) as url:
        report = through_a_bad_network(tmp_path / "world", rounds=len(Calamity), seed=1, url=url, slow=0.2)
    assert report.faults == {}
    assert report.instants > 40
