"""Executors come by hooks: the built-ins like anyone's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest
from pydantic import BaseModel

from zquant_flow.executors.command import CommandExecutor
from zquant_flow.executors.installed import executor_classes, load_executors, plugin_manager
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.hookspecs import hookimpl


class Greeting(BaseModel):
    who: str


class Greet(Executor):
    name = "greet"
    Config = Greeting

    def run(self, context: object, config: Greeting) -> str:
        return f"hello {config.who}"


class Impostor(Executor):
    name = "command"
    Config = Greeting


class Plugin:
    @hookimpl
    def register_executors(self) -> Sequence[type[Executor]]:
        return [Greet, Impostor]


@pytest.fixture
def plugin() -> Iterator[None]:
    made = Plugin()
    plugin_manager().register(made)
    yield
    plugin_manager().unregister(made)


def test_the_built_ins_are_there() -> None:
    assert set(load_executors()) == {"command", "python", "example", "docker", "http", "script", "sql", "ssh"}


@pytest.mark.usefixtures("plugin")
def test_a_plugin_brings_its_executor_with_its_config() -> None:
    assert executor_classes()["greet"] is Greet
    assert load_executors()["greet"] is Greeting


@pytest.mark.usefixtures("plugin")
def test_a_taken_name_stays_with_who_has_it_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert executor_classes()["command"] is CommandExecutor
    assert [record.__dict__["action"] for record in caplog.records] == ["executor_name_taken"]


def test_an_executor_says_where_a_worker_finds_it() -> None:
    assert Greet.entry() == "tests.plugin.test_executors:Greet"
