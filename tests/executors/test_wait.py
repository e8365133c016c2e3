"""Looks for what may be there: files, instants, answers, rows, tasks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.executors.web import Answer, Web, serving
from zquant_flow.executors import wait_looks
from zquant_flow.executors.context import Context, Deferred
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.wait import WaitExecutor
from zquant_flow.executors.wait_config import WaitConfig
from zquant_flow.plugin.remote import MOST_FAILURES

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_looks, "_now", NOW.timestamp)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving() as made:
        yield made


class Attempt:
    """Looks again and again, with what it has kept; `told` is what it waits for, `after` when it looks again."""

    def __init__(self, order: dict[str, Any] | None = None, **config: Any) -> None:
        self._config = WaitConfig.model_validate(config)
        self._order = order or {}
        self._handle: str | None = None
        self.told, self.after = "", 0.0

    def look(self, **order: Any) -> Any:
        """The result; None where it is not there yet."""
        context = Context({**self._order, **order, "handle": self._handle})
        try:
            return WaitExecutor().run(context, self._config)
        except Deferred as exc:
            assert context.values is not None
            self._handle = context.values.get("handle", self._handle)
            self.told, self.after = context.values["message"], exc.seconds
            return None


def written(path: Path, text: str, *, age: float) -> None:
    path.write_text(text)
    moment = NOW.timestamp() - age
    os.utime(path, (moment, moment))


# ── config ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "wait for one of"),
        ({"file": "a", "time": "12:00"}, "wait for one of"),
        ({"file": "a", "since": "1d"}, "since goes with task"),
        ({"time": "noon"}, "time is HH:MM"),
        ({"time": "25:00"}, "time is HH:MM"),
        ({"task": "a", "since": "soon"}, "no duration"),
        ({"file": "a", "every_seconds": 0.5}, "greater than or equal to 1"),
        ({"http": {"url": "http://a", "until": {"path": "a", "every_seconds": 2}}}, "beside http"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        WaitConfig.model_validate(config)


def test_a_template_may_stand_for_an_instant() -> None:
    assert WaitConfig.model_validate({"time": "{{ params.at }}"}).time == "{{ params.at }}"


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_there_when_it_is_and_has_stood_still(folder: Path) -> None:
    attempt = Attempt(file="in/*.csv", every_seconds=10)
    assert attempt.look() is None
    assert (attempt.told, attempt.after) == ("waits for the file in/*.csv", 10)
    (folder / "in").mkdir()
    written(folder / "in" / "a.csv", "123", age=60)
    written(folder / "in" / "b.csv", "1", age=1)
    assert attempt.look() is None
    assert attempt.told == "waits for the file in/b.csv, which is being written"
    written(folder / "in" / "b.csv", "12", age=1)
    assert attempt.look() is None
    assert attempt.look() == {
        "files": [
            {"path": str(folder / "in" / "a.csv"), "bytes": 3},
            {"path": str(folder / "in" / "b.csv"), "bytes": 2},
        ]
    }


def test_a_name_with_brackets_that_exists_is_itself_and_a_folder_is_no_file(folder: Path) -> None:
    written(folder / "a[1].csv", "1", age=60)
    (folder / "sub").mkdir()
    assert Attempt(file="a[1].csv").look()["files"][0]["bytes"] == 1
    assert Attempt(file="sub").look() is None


# ── instants ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "order", "instant"),
    [
        ("09:30", {}, "2026-01-05T09:30:00+00:00"),
        ("20:00", {"zone": "Asia/Shanghai"}, "2026-01-05T20:00:00+08:00"),
        ("23:00", {"logical_time": "2026-01-03T18:00:00+00:00"}, "2026-01-03T23:00:00+00:00"),
        (
            "01:00:30",
            {"logical_time": "2026-01-03T18:00:00+00:00", "zone": "Asia/Shanghai"},
            "2026-01-04T01:00:30+08:00",
        ),
        ("2026-01-05T12:00:00Z", {"zone": "Asia/Shanghai"}, "2026-01-05T12:00:00+00:00"),
        ("2026-01-05T20:00:00", {"zone": "Asia/Shanghai"}, "2026-01-05T20:00:00+08:00"),
    ],
)
def test_an_instant_that_is_over_is_there(said: str, order: dict[str, Any], instant: str) -> None:
    assert Attempt(order, time=said).look() == {"time": instant}


def test_an_instant_to_come_is_waited_for_and_stays_the_same_beyond_midnight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = Attempt(time="12:05")
    assert attempt.look() is None
    assert (attempt.told, attempt.after) == ("waits for 2026-01-05 12:05:00+00:00", 300)
    monkeypatch.setattr(wait_looks, "_now", lambda: NOW.timestamp() + 86_400)
    assert attempt.look() == {"time": "2026-01-05T12:05:00+00:00"}
    far = Attempt(time="2026-03-01T00:00")
    far.look()
    assert far.after == wait_looks.LONGEST_SECONDS


def test_what_a_template_has_become_may_be_no_instant() -> None:
    made = WaitConfig.model_construct(time="soon")
    with pytest.raises(Failure, match="neither HH:MM nor an instant") as caught:
        WaitExecutor().run(Context({}), made)
    assert caught.value.code == "invalid_config"


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_there_when_its_status_and_its_content_are_as_expected(web: Web) -> None:
    web.says(Answer(404, "not yet"), {"state": "running"}, {"state": "done"})
    until = {"path": "state", "equals": "done"}
    attempt = Attempt(http={"url": f"{web.url}/day?key=secret", "until": until}, every_seconds=5)
    assert attempt.look() is None
    assert "status 404, expected is 200-299" in attempt.told
    assert "secret" not in attempt.told
    assert attempt.look() is None
    assert attempt.told.endswith("/day: state is 'running'")
    assert attempt.look() == {"status": 200, "json": {"state": "done"}}


def test_a_server_that_is_away_is_waited_for_and_a_missing_secret_is_not() -> None:
    attempt = Attempt(http={"url": "http://127.0.0.1:1/"})
    assert attempt.look() is None
    assert attempt.told.startswith("waits for an answer: GET http://127.0.0.1:1/: ConnectError")
    with pytest.raises(Failure, match="NOT_SET_HERE is not set"):
        Attempt(http={"url": "http://127.0.0.1:1/", "auth": {"token_env": "NOT_SET_HERE"}}).look()


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("statement", "checks", "there"),
    [
        ("SELECT 3", {}, True),
        ("SELECT 0", {}, False),
        ("SELECT NULL", {}, False),
        ("SELECT 1 WHERE 1 = 0", {}, False),
        ("SELECT 0", {"expect": 0}, True),
        ("SELECT 5", {"expect": 6}, False),
        ("SELECT 0", {"min_rows": 1}, True),
        ("SELECT 1", {"min_rows": 2}, False),
    ],
)
def test_a_row_is_there_when_it_says_something_or_what_is_expected(
    statement: str, checks: dict[str, Any], there: bool
) -> None:
    found = Attempt(sql={"url": "sqlite://", "statements": statement, **checks}).look()
    assert (found is not None) is there


def test_a_database_that_fails_is_asked_again_some_times() -> None:
    attempt = Attempt(sql={"url": "sqlite://", "statements": "SELECT * FROM nothing_there"})
    for _ in range(MOST_FAILURES - 1):
        assert attempt.look() is None
        assert "nothing_there" in attempt.told
    with pytest.raises(Failure, match="nothing_there"):
        attempt.look()


def test_statements_without_rows_are_nothing_to_wait_for() -> None:
    with pytest.raises(Failure, match="give no rows"):
        Attempt(sql={"url": "sqlite://", "statements": "CREATE TABLE a (b TEXT)"}).look()


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────

DAY = {"logical_time": "2026-01-05T00:00:00+00:00"}
SEEN = {
    "known": True,
    "execution_id": 7,
    "status": "success",
    "logical_time": DAY["logical_time"],
    "ended": "2026-01-05T11:00:00+00:00",
}


def test_a_task_is_there_when_its_run_of_the_same_instant_has_succeeded() -> None:
    attempt = Attempt(DAY, task="upstream")
    assert attempt.look(seen={"known": True}) is None
    assert attempt.told == "waits for the task upstream of 2026-01-05 00:00:00+0000: has not begun"
    assert attempt.look(seen={**SEEN, "status": "failed"}) is None
    assert attempt.told.endswith("execution 7 is failed")
    assert attempt.look(seen=SEEN) == {name: value for name, value in SEEN.items() if name != "known"}


def test_with_since_its_newest_success_must_not_be_older() -> None:
    attempt = Attempt(task="upstream", since="30m")
    assert attempt.look(seen=SEEN) is None
    assert attempt.told.endswith("has succeeded last at 2026-01-05T11:00:00+00:00")
    assert Attempt(task="upstream", since="1h").look(seen=SEEN)["execution_id"] == 7


def test_a_task_that_is_not_there_is_named_and_a_run_without_an_instant_needs_since() -> None:
    attempt = Attempt(DAY, task="upstraem")
    assert attempt.look(seen={"known": False}) is None
    assert attempt.told == "waits for the task upstraem, which is not there: no task has this name"
    with pytest.raises(Failure, match="or give since"):
        Attempt(task="upstream").look(seen={"known": True})
