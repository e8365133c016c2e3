"""Plugins may change a definition before it counts, or refuse it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from zquant_flow.core.model import TaskDef
from zquant_flow.definitions.loader import LoadedFile, Loader
from zquant_flow.executors import builtin
from zquant_flow.plugin import Refused, hookimpl
from zquant_flow.plugin.plugins import load_plugins
from zquant_flow.plugin.policy import altered
from zquant_flow.plugin.sources import Sources
from zquant_flow.testing import command_task

Alter = Callable[[TaskDef, str], TaskDef | None]


def judged(definition: TaskDef, *hooks: Alter) -> TaskDef:
    """What these hooks, in this order, make of it."""

    def plugin(hook: Alter) -> object:
        class Judge:
            @hookimpl
            def alter_definition(self, definition: TaskDef, source: str) -> TaskDef | None:
                return hook(definition, source)

        return Judge()

    made = {f"judge-{number}": plugin(hook) for number, hook in enumerate(hooks)}
    plugins = load_plugins(Sources(entry_points=False), {"builtin": builtin, **made})
    return altered(plugins, definition, "a.yaml")


def tagged(definition: TaskDef, source: str) -> TaskDef:
    return replace(definition, tags=(*definition.tags, source))


def refused(definition: TaskDef, source: str) -> None:
    raise Refused("no tasks on Mondays")


def test_each_plugin_gets_what_the_one_before_has_left() -> None:
    def twice(definition: TaskDef, source: str) -> TaskDef:
        return replace(definition, tags=definition.tags * 2)

    assert judged(command_task("a"), tagged, lambda definition, source: None, twice).tags == (
        "a.yaml",
        "a.yaml",
    )


def test_one_refusal_is_enough_and_names_its_plugin() -> None:
    with pytest.raises(Refused, match="plugin judge-1 refuses it: no tasks on Mondays"):
        judged(command_task("a"), tagged, refused)


WRONG = {
    "raises": (lambda definition, source: 1 / 0, "plugin judge-0 can't judge it: ZeroDivisionError"),
    "gives something else": (lambda definition, source: "yes", "it gives a str, not a TaskDef"),
    "renames": (lambda definition, source: replace(definition, name="b"), "may not rename it to 'b'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_policy_that_fails_is_not_met(case: str) -> None:
    hook, why = WRONG[case]
    with pytest.raises(Refused, match=why):
        judged(command_task("a"), hook)  # type: ignore[arg-type]


POLICY = """
from dataclasses import replace
from datetime import timedelta
from zquant_flow.plugin import Refused, hookimpl

@hookimpl
def alter_definition(definition):
    if definition.name == "forbidden":
        raise Refused("this name is not allowed here")
    if definition.action is not None and definition.action.timeout is None:
        return replace(definition, action=replace(definition.action, timeout=timedelta(hours=2)))
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str, str], LoadedFile]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "plugins" / "policy.py").write_text(POLICY)

    def loaded(name: str, text: str) -> LoadedFile:
        (tmp_path / "tasks" / name).write_text(text)
        loader = Loader(tmp_path / "tasks", plugins=Sources(folder=tmp_path / "plugins", entry_points=False))
        try:
            [file] = loader.load([name])
        finally:
            loader.stop()
        return file

    return loaded


def test_files_are_judged_where_they_are_read(load: Callable[[str, str], LoadedFile]) -> None:
    capped = load("a.yaml", "name: a\ncommand: 'true'\ntimeout: none\n")
    action = capped.definitions[0].task.action
    assert action is not None and action.timeout == timedelta(hours=2)
    python = load("b.py", "from zquant_flow import task\n\n@task(timeout='none')\ndef b(): ...\n")
    action = python.definitions[0].task.action
    assert action is not None and action.timeout == timedelta(hours=2)
    assert action.executor == "python"


def test_a_refusal_is_a_load_error_at_the_line_of_the_task(load: Callable[[str, str], LoadedFile]) -> None:
    file = load("a.yaml", "name: fine\ncommand: 'true'\n---\nname: forbidden\ncommand: 'true'\n")
    assert file.definitions == ()
    [error] = file.errors
    assert (error.line, error.code) == (4, "refused")
    assert error.message == "plugin policy refuses it: this name is not allowed here"
