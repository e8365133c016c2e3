"""Whatever moment the control plane or the runner is killed at: nothing is lost, double, stuck, unrecorded or left over.

The short version of `make faults`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.databases import KINDS, fresh_database
from tests.faults.checker import Checker
from tests.faults.trials import killed_at_random
from tests.faults.world import World
from zquant_flow.failpoints import POINTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_killed_at_random_moments_loses_nothing(kind: str, tmp_path: Path) -> None:
    with fresh_database(kind, tmp_path) as url:
        report = killed_at_random(
            tmp_path / "world", rounds=13, seed=1, url=None if kind == "sqlite" else url
        )
    assert report.faults == {}
    assert report.instants > 100
    assert report.attempts > 50


@pytest.mark.parametrize("points", [POINTS[:6], POINTS[6:]], ids=["control plane", "runner"])
def test_a_process_that_dies_at_any_named_point_loses_nothing(
    points: tuple[str, ...], tmp_path: Path
) -> None:
    report = killed_at_random(tmp_path / "world", rounds=len(points), seed=3, points=points)
    assert report.faults == {}
    assert report.instants > 100


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that was killed once and came to rest."""
    root = tmp_path_factory.mktemp("checked") / "world"
    assert killed_at_random(root, rounds=1, seed=4).faults == {}
    world = World.__new__(World)
    world.__dict__.update(
        root=root, url=None, tasks=root / "tasks", data=root / "data", ledger=root / "ledger"
    )
    return world


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        (
            "lost",
            "DELETE FROM fires WHERE id = (SELECT id FROM fires WHERE outcome = 'fired' ORDER BY id LIMIT 1)",
        ),
        ("lost", "DELETE FROM executions WHERE id = (SELECT max(execution_id) FROM fires)"),
        ("duplicate", "UPDATE executions SET retry_count = 9 WHERE id = (SELECT max(id) FROM executions)"),
        ("stuck", "UPDATE executions SET status = 'pending' WHERE id = (SELECT max(id) FROM executions)"),
        ("unrecorded", "DELETE FROM attempts WHERE execution_id = (SELECT max(execution_id) FROM attempts)"),
        ("damage", "UPDATE task_tallies SET count = count + 1"),
        ("damage", "UPDATE tasks SET active_count = 1"),
    ],
)
def test_the_checker_sees(finished: World, kind: str, damage: str) -> None:
    """A check that can't fail proves nothing: each kind of damage is found."""
    checker = Checker(finished)
    before = finished.data / "zquant-flow.db"
    kept = before.read_bytes()
    engine = create_engine(finished.database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text(damage))
        assert kind in checker.at_rest().faults
    finally:
        engine.dispose()
        checker.close()
        for path in before.parent.glob("zquant-flow.db*"):
            path.unlink()
        before.write_bytes(kept)


def test_the_checker_sees_an_attempt_that_ran_twice(finished: World) -> None:
    text_before = finished.ledger.read_text()
    finished.ledger.write_text(text_before + text_before.splitlines()[0] + "\n")
    checker = Checker(finished)
    try:
        assert "duplicate" in checker.at_rest().faults
    finally:
        checker.close()
        finished.ledger.write_text(text_before)
