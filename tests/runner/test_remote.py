"""Work that lives elsewhere, in the real runner: started once, looked after, ended with its attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runner.client import Client, Frame, Runner

JOBS = """
import json, pathlib
from zquant_flow.plugin import Config, Done, JobFailed, RemoteExecutor

class Job(RemoteExecutor):
    name = "job"

    class Config(Config):
        book: pathlib.Path
        poll_seconds: float = 5.0

    def _note(self, config, word):
        with config.book.open("a") as book:
            book.write(word + "\\n")

    def start(self, context, config):
        self._note(config, f"start {context.execution_id}")
        return {"job": context.execution_id}

    def poll(self, context, config, handle):
        said = config.book.with_suffix(".state").read_text()
        self._note(config, f"poll {handle['job']} {said}")
        if said == "away":
            raise ConnectionError("no network")
        if said == "failed":
            raise JobFailed("the job has failed")
        return Done({"rows": 3}) if said == "done" else None

    def cancel(self, context, config, handle):
        self._note(config, f"cancel {handle['job']}")

class Slow(Job):
    name = "slow"

    def poll(self, context, config, handle):
        context.cancelled.wait(30)
        context.checkpoint()
"""


class World:
    """A runner whose workers know the executors, and the other side: what it was asked for, and what it answers."""

    def __init__(self, folder: Path) -> None:
        (folder / "jobs.py").write_text(JOBS)
        (folder / "data").mkdir()
        self._runner = Runner(folder / "data", env={"PYTHONPATH": str(folder)})
        self.client: Client = self._runner.client()
        self._book = folder / "book"
        self.config = {"book": str(self._book)}
        self.says("going")

    def says(self, word: str) -> None:
        self._book.with_suffix(".state").write_text(word)

    def run(self, number: int, name: str = "job", **said: Any) -> Frame:
        """The outcome of one look; the runner may forget it then."""
        client = self.client
        client.outcomes.pop((number, 1), None)
        outcome = client.run(number, **{**self.order(name), **said})
        client.send(op="ack", items=[[number, 1]])
        return outcome

    def order(self, name: str) -> dict[str, Any]:
        return {"executor": name, "entry": f"jobs:{name.capitalize()}", "config": self.config}

    @property
    def book(self) -> list[str]:
        return self._book.read_text().splitlines()

    def end(self) -> None:
        self.client.close()
        self._runner.end()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_it_is_started_once_and_polled_until_it_is_done(world: World, isolation: str) -> None:
    first = world.run(1, isolation=isolation)
    assert (first["kind"], first["after"]) == ("deferred", 5.0)
    world.says("done")
    last = world.run(1, isolation=isolation, handle=first["progress"]["handle"])
    assert json.loads(last["result"]) == {"rows": 3}
    assert world.book == ["start 1", "poll 1 going", "poll 1 done"]


def test_a_poll_may_fail_some_times_and_a_failed_job_at_once(world: World) -> None:
    outcome, number = world.run(1), 0
    world.says("away")
    while outcome["kind"] == "deferred":
        outcome, number = world.run(1, handle=outcome["progress"]["handle"]), number + 1
    assert (number, outcome["kind"], outcome["error"]) == (5, "failed", "ConnectionError: no network")
    world.says("failed")
    failed = world.run(2)
    assert (failed["kind"], failed["error"]) == ("failed", "JobFailed: the job has failed")


@pytest.mark.parametrize("isolation", ["process", "thread"])
@pytest.mark.parametrize(("kind", "ends"), [("terminated", True), ("timeout", True), ("shutdown", False)])
def test_an_end_in_the_middle_of_a_look_ends_the_job_but_not_when_the_server_stops(
    world: World, isolation: str, kind: str, ends: bool
) -> None:
    world.client.start(3, **world.order("slow"), isolation=isolation, timeout=60)
    world.client.wait_for("progress")
    world.client.send(op="terminate", id=3, attempt=1, kind=kind)
    outcome = world.client.wait(3)
    assert outcome["kind"] == kind
    assert world.book == ["start 3", "cancel 3"] if ends else ["start 3"]


def test_an_order_to_end_only_cancels(world: World) -> None:
    handle = '{"handle": {"job": 9}, "failures": 0}'
    outcome = world.run(4, handle=handle, ending=True)
    assert outcome["kind"] == "success"
    assert world.book == ["cancel 9"]
