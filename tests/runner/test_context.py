"""The context of an attempt, without a runner."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zquant_flow.executors.context import Context, Terminated, current
from zquant_flow.executors.kept import STATE_LIMIT


class Link:
    """Writes down what is told, and asks for what the test wants."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.requests: list[str] = []

    def poll(self, context: Context) -> None:
        if self.requests:
            request = self.requests.pop(0)
            context.pausing = request == "pause"
            if request == "stop":
                context.stop()

    def wait(self, context: Context) -> None:
        self.poll(context)

    def tell(self, op: str, context: Context) -> None:
        self.told.append(op)


ORDER = {
    "id": 5,
    "attempt": 2,
    "task": "daily",
    "params": {"x": 1},
    "logical_time": "2026-01-02T03:04:05+00:00",
}


def test_outside_an_attempt_everything_works_and_does_nothing() -> None:
    assert list(current().track(range(3), "rows")) == [0, 1, 2]
    current().progress(50, message="half")
    current().checkpoint({"row": 3})
    assert current().state is None
    current().logger.info("quiet")
    assert not current().cancelled.is_set()
    assert current().logical_time is None


def test_it_knows_its_sessions_and_what_started_it() -> None:
    event = {"kind": "file", "file": "/in/a.csv"}
    sessions = {"session": "2026-01-05", "next_session": "2026-01-06"}
    context = Context({**ORDER, "event": event, "sessions": sessions})
    assert (context.session, context.previous_session, context.next_session) == (
        date(2026, 1, 5),
        None,
        date(2026, 1, 6),
    )
    assert context.event == event
    assert (current().session, current().event["kind"]) == (None, None)


def test_it_knows_its_attempt() -> None:
    context = Context(ORDER)
    assert (context.execution_id, context.attempt, context.task, context.params) == (5, 2, "daily", {"x": 1})
    assert str(context.logical_time) == "2026-01-02 03:04:05+00:00"


def test_progress_is_told_rarely_and_kept_always() -> None:
    link = Link()
    context = Context(ORDER, link)
    for done in range(1, 101):
        context.progress(processed=done, total=200, current_item=f"row {done}")
    assert link.told == ["progress"]
    assert context.values == {
        "percent": 50.0,
        "current_item": "row 100",
        "processed_items": 100,
        "total_items": 200,
    }


def test_a_step_of_track_is_a_point_to_pause_and_to_end() -> None:
    link = Link()
    context = Context(ORDER, link)
    link.requests = ["", "pause", "resume", "", "stop"]
    steps = context.track(range(10))
    assert [next(steps), next(steps), next(steps)] == [0, 1, 2]
    with pytest.raises(Terminated):
        next(steps)
    assert [op for op in link.told if op != "progress"] == ["paused", "resumed"]


def test_cancelled_is_set_whether_it_was_looked_at_before_or_not() -> None:
    early, late = Context(ORDER), Context(ORDER)
    event = early.cancelled
    early.stop()
    late.stop()
    assert event.is_set()
    assert late.cancelled.is_set()


def test_a_stream_without_length_is_tracked_without_percent() -> None:
    context = Context(ORDER, Link())
    assert list(context.track(iter("ab"), "letters")) == ["a", "b"]
    assert context.values == {"current_item": "letters", "processed_items": 2}


def test_the_expected_end_does_not_count_the_time_that_it_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(
        "zquant_flow.executors.context.time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    )

    class Slow(Link):
        def wait(self, context: Context) -> None:
            now[0] += 1000
            super().wait(context)

    link = Slow()
    context = Context(ORDER, link)
    link.requests = ["", "pause", "resume"]
    for _ in context.track(range(4)):
        now[0] += 10  # the work of a step; the second one waits before it
        if context.values and context.values["processed_items"] == 1:
            break
    assert context.values is not None
    # ten seconds for the first of four: thirty more, from 1,110
    assert context.values["estimated_end"] == (1110 + 30) * 1_000_000


def kept(folder: Path, **more: Any) -> Context:
    """An attempt that keeps its state in this folder."""
    return Context({**ORDER, "state": str(folder / "logs" / "0" / "5.state.json"), **more})


def test_the_next_attempt_has_the_last_state(tmp_path: Path) -> None:
    first = kept(tmp_path)
    assert first.state is None
    first.checkpoint({"row": 3, "names": ["中", "\ud800"]})
    first.checkpoint()
    first.checkpoint({"row": 4, "names": ["中", "\ud800"]})
    assert kept(tmp_path).state == first.state == {"row": 4, "names": ["中", "?"]}
    assert [path.name for path in (tmp_path / "logs" / "0").iterdir()] == ["5.state.json"]


def test_an_attempt_that_is_to_end_keeps_its_state_first(tmp_path: Path) -> None:
    link = Link()
    link.requests = ["stop"]
    context = Context({"state": str(tmp_path / "1.state.json")}, link)
    with pytest.raises(Terminated):
        context.checkpoint([1])
    assert context.state == [1]


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"rows": [1, {2}]}, r"the state is not JSON: state\.rows\[1\] is of type set"),
        ({"x": float("nan")}, r"state\.x is nan"),
        ({(1, 2): 3}, "a key of state is of type tuple"),
        ("x" * STATE_LIMIT, f"the state has {STATE_LIMIT + 2} bytes as JSON, more than {STATE_LIMIT}"),
    ],
)
def test_what_can_not_be_kept_is_said_and_leaves_what_was(tmp_path: Path, state: Any, fault: str) -> None:
    context = kept(tmp_path)
    context.checkpoint("before")
    with pytest.raises(ValueError, match=fault):
        context.checkpoint(state)
    assert context.state == "before"


def test_a_resumed_execution_goes_on_from_the_latest_of_those_before(tmp_path: Path) -> None:
    older, nearer = tmp_path / "1.state.json", tmp_path / "2.state.json"
    older.write_text('"older"')
    context = kept(tmp_path, state_from=[str(nearer), str(older)])
    assert context.state == "older"
    nearer.write_text('"nearer"')
    assert context.state == "nearer"
    context.checkpoint("own")
    assert context.state == "own"


def test_a_damaged_state_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    older = tmp_path / "1.state.json"
    older.write_text("7")
    context = kept(tmp_path, state_from=[str(older)])
    context.checkpoint(8)
    (tmp_path / "logs" / "0" / "5.state.json").write_bytes(b"\0\0")
    assert context.state == 7
    assert "left out" in caplog.text


def test_a_disk_that_takes_nothing_costs_the_state_and_not_the_attempt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("no folder")
    context = kept(tmp_path)
    context.checkpoint(1)
    assert context.state is None
    assert "could not be kept" in caplog.text
