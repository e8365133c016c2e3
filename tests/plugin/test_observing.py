"""Observers hear every step, in order, off the engine's thread; and can't hold it up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from zquant_flow.core.model import Action, RetryPolicy
from zquant_flow.engine.observing import MOST_FACTS, MOST_FAILURES, Observer
from zquant_flow.executors import builtin
from zquant_flow.plugin import hookimpl
from zquant_flow.plugin.events import AttemptEnd, DefinitionChange, ExecutionChange, moment
from zquant_flow.plugin.plugins import Plugins, load_plugins
from zquant_flow.plugin.sources import Sources
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

PATIENCE = 10.0


class Listener:
    """Keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self._heard: SimpleQueue[Any] = SimpleQueue()
        self.threads: set[str] = set()

    @hookimpl
    def executions_changed(self, changes: Sequence[ExecutionChange]) -> None:
        self._keep(changes)

    @hookimpl
    def attempts_ended(self, attempts: Sequence[AttemptEnd]) -> None:
        self._keep(attempts)

    @hookimpl
    def definitions_changed(self, changes: Sequence[DefinitionChange]) -> None:
        self._keep(changes)

    def _keep(self, facts: Sequence[Any]) -> None:
        self.threads.add(threading.current_thread().name)
        for fact in facts:
            self._heard.put(fact)

    def until(self, wanted: Any) -> list[Any]:
        """What was heard, up to the first fact that `wanted` is true of."""
        found = []
        while True:
            found.append(self._heard.get(timeout=PATIENCE))
            if wanted(found[-1]):
                return found


def plugins(**made: object) -> Plugins:
    return load_plugins(Sources(entry_points=False), {"builtin": builtin, **made})


def steps(heard: Sequence[Any]) -> list[tuple[str, str, str | None]]:
    """Of each step of an execution: its node or task, what happened, and the status before."""
    return [
        (fact.node or fact.task, fact.what, fact.previous)
        for fact in heard
        if isinstance(fact, ExecutionChange)
    ]


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def h(tmp_path: Path, listener: Listener) -> Iterator[Harness]:
    with Harness(tmp_path) as made:
        made.engine.observing.use(plugins(listener=listener))
        yield made


def ended(execution_id: int) -> Any:
    return lambda fact: (
        isinstance(fact, ExecutionChange) and (fact.execution_id, fact.what) == (execution_id, "ended")
    )


def test_every_step_of_a_task_is_told_in_order_and_in_another_thread(h: Harness, listener: Listener) -> None:
    retry = RetryPolicy(max_retries=1, interval=timedelta(seconds=60))
    action = Action(executor="command", config={"command": "x"}, retry=retry)
    (task_id,) = h.define(command_task("load", action=action))
    number = h.operations.trigger(task_id, actor="me")
    h.end(number, "failed", code="exit_code", error="exit code 3", exit_code=3)
    h.tick(61)
    h.end(number)
    heard = listener.until(ended(number))
    heard += listener.until(lambda fact: isinstance(fact, AttemptEnd) and fact.outcome == "success")
    assert steps(heard) == [
        ("load", "started", None),
        ("load", "retry", "running"),
        ("load", "started", "pending"),
        ("load", "ended", "running"),
    ]
    last = next(fact for fact in heard if ended(number)(fact))
    assert (last.status, last.attempt, last.trigger_type, last.is_root) == ("success", 2, "manual", True)
    failed = next(fact for fact in heard if isinstance(fact, AttemptEnd))
    assert (failed.attempt, failed.outcome, failed.exit_code, failed.error_message) == (
        1,
        "failed",
        3,
        "exit code 3",
    )
    assert listener.threads == {"observer listener"}
    assert moment(last.at) == h.clock.now()


def test_nodes_are_told_with_their_workflow(h: Harness, listener: Listener) -> None:
    (task_id,) = h.define(workflow_task("flow", [command_node("a"), command_node("b", "a")]))
    root = h.operations.trigger(task_id, actor="me")
    h.end(h.backend.node("a"), "failed")
    heard = listener.until(ended(root))
    assert steps(heard) == [
        ("flow", "started", None),
        ("a", "started", None),
        ("b", "skipped", None),
        ("a", "ended", "running"),
        ("flow", "ended", "running"),
    ]
    a = next(fact for fact in heard if getattr(fact, "node", None) == "a")
    assert (a.parent_id, a.root_id, a.inline, a.task) == (root, root, True, "flow")


def test_definitions_are_told_as_they_come_change_and_go(h: Harness, listener: Listener) -> None:
    h.define(command_task("a"), command_task("b"), path="one.yaml")
    heard = listener.until(lambda fact: fact.task == "b")
    h.define(command_task("a", description="new"), path="one.yaml")
    heard += listener.until(lambda fact: fact.what == "changed")
    assert {(fact.what, fact.task, fact.version) for fact in heard} == {
        ("loaded", "a", 1),
        ("loaded", "b", 1),
        ("removed", "b", 1),
        ("changed", "a", 2),
    }


def test_what_is_there_when_an_observer_begins_is_told_as_loaded(tmp_path: Path, listener: Listener) -> None:
    with Harness(tmp_path) as h:
        h.define(command_task("a"))
        h.engine.observing.use(plugins(listener=listener))
        (fact,) = listener.until(lambda fact: True)
        assert (fact.what, fact.task) == ("loaded", "a")


def test_an_execution_that_began_before_its_observer_is_known_by_its_row(
    tmp_path: Path, listener: Listener
) -> None:
    with Harness(tmp_path) as h:
        (task_id,) = h.define(command_task("a"))
        number = h.operations.trigger(task_id, actor="me")
        h.restart()
        h.engine.observing.use(plugins(listener=listener))
        h.end(number)
        last = listener.until(ended(number))[-1]
        assert (last.task, last.status, last.previous) == ("a", "success", None)


def test_one_that_fails_again_and_again_is_switched_off_and_the_other_hears_on(
    h: Harness, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @hookimpl
        def executions_changed(self, changes: Sequence[ExecutionChange]) -> None:
            raise RuntimeError("no network")

    off: SimpleQueue[tuple[str, str]] = SimpleQueue()
    h.engine.observing.on_off = lambda name, why: off.put((name, why))
    h.engine.observing.use(plugins(broken=Broken(), listener=listener))
    (task_id,) = h.define(command_task("a"))
    with caplog.at_level(logging.ERROR):
        for _ in range(MOST_FAILURES):
            number = h.operations.trigger(task_id, actor="me")
            listener.until(lambda fact: getattr(fact, "what", "") == "started")
            h.end(number)
            listener.until(ended(number))
        assert off.get(timeout=PATIENCE) == ("broken", "RuntimeError: no network")
    actions = [record.__dict__.get("action") for record in caplog.records]
    assert actions.count("plugin_switched_off") == 1


def test_a_slow_observer_loses_the_oldest_facts_and_nothing_waits_for_it() -> None:
    hold, begun, heard = threading.Event(), threading.Event(), SimpleQueue[Sequence[Any]]()

    def slow(facts: Sequence[Any]) -> None:
        begun.set()
        assert hold.wait(PATIENCE)
        heard.put(facts)

    observer = Observer("slow", {"executions_changed": slow}, lambda name, why: None)
    observer.tell("executions_changed", ["first"])
    assert begun.wait(PATIENCE)
    observer.tell("executions_changed", ["lost"])
    observer.tell("executions_changed", range(MOST_FACTS))
    observer.tell("attempts_ended", ["nobody asked for these"])
    observer.stop()
    observer.tell("executions_changed", ["after the end"])
    hold.set()
    observer.wait(PATIENCE)
    assert [len(heard.get_nowait()) for _ in range(2)] == [1, MOST_FACTS]
    assert heard.empty()


def test_without_observers_nothing_is_kept(tmp_path: Path) -> None:
    with Harness(tmp_path) as h:
        (task_id,) = h.define(command_task("a"))
        h.operations.trigger(task_id, actor="me")
        h.engine.observing.use(plugins())
        assert not h.engine.observing.listened
        assert not h.engine.observing._batches
