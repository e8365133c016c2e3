"""Faults below the API that fuzzing has found, each with what it needed."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.fuzz.world import AUTHORIZED, world
from zquant_flow.api.app import PREFIX
from zquant_flow.errors import Unavailable


def test_an_operation_that_comes_after_the_stop_is_refused_at_once(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.scheduler.stop()
        late = made.scheduler.engine.submit(lambda: None)
        assert isinstance(late.exception(timeout=0.5), Unavailable)


def test_a_removal_that_is_refused_with_503_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as made:
        task_id = made.pairs[1][0]
        source = made.ask("GET", f"/tasks/{task_id}")["source"]
        made.scheduler.stop()
        soon = functools.partial(made.scheduler.engine.call, timeout=0.05)
        monkeypatch.setattr(made.scheduler.operations, "_call", soon)
        answer = made.client.delete(f"{PREFIX}/tasks/{task_id}", headers=AUTHORIZED)
        assert answer.status_code == 503
        assert (tmp_path / "tasks" / source).exists()
