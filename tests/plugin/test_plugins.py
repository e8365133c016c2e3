"""Plugins are found wherever they may be, and what is wrong with one hurts nobody else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zquant_flow.engine.plugged import Plugged
from zquant_flow.executors.installed import built_in, installed
from zquant_flow.plugin.namespace import PACKAGE
from zquant_flow.plugin.plugins import Plugin, Plugins, State
from zquant_flow.plugin.snapshots import KEPT, Snapshots
from zquant_flow.plugin.sources import Sources

GREET = """
from zquant_flow.plugin import Config, Executor

class Greet(Executor):
    name = "greet"

    class Config(Config):
        who: str = "world"

    def run(self, context, config):
        return f"hello {config.who}"
"""


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """What a test imports is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith((PACKAGE, "of_test_")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "plugins"
    made.mkdir()
    return made


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], None]:
    def to(name: str, text: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return to


Write = Callable[[str, str], None]


def of(folder: Path, **more: object) -> Plugins:
    return installed(Sources(folder=folder, entry_points=False, **more))  # type: ignore[arg-type]


def named(plugins: Plugins, name: str) -> Plugin:
    return next(plugin for plugin in plugins.known if plugin.name == name)


def test_the_built_ins_come_first_and_by_the_same_hook() -> None:
    (plugin,) = built_in().known
    assert (plugin.name, plugin.state, plugin.hooks) == (
        "builtin",
        State.ACTIVE,
        ("register_executors", "register_notifiers"),
    )
    assert {"command", "python", "example"} <= built_in().executors.keys()


def test_a_file_brings_the_executors_that_it_defines(folder: Path, write: Write) -> None:
    write("greet.py", GREET)
    plugins = of(folder)
    greet = plugins.executors["greet"]
    assert greet.entry() == "zquant_flow_plugins.greet:Greet"
    assert plugins.folder_of(greet) == str(folder)
    assert plugins.folder_of(plugins.executors["command"]) is None
    assert greet().run(None, greet.Config(who="you")) == "hello you"
    found = named(plugins, "greet")
    assert (found.source, found.version, found.state, found.executors) == (
        "file greet.py",
        None,
        State.ACTIVE,
        ("greet",),
    )


def test_a_package_of_the_folder_is_a_plugin_with_modules_of_its_own(folder: Path, write: Write) -> None:
    write("greeting/__init__.py", "from .work import Greet")
    write("greeting/work.py", GREET)
    assert of(folder).executors["greet"].entry() == "zquant_flow_plugins.greeting.work:Greet"


def test_files_that_speak_of_nothing_of_ours_are_helpers(folder: Path, write: Write) -> None:
    write("words.py", "WORD = 'hello'")
    write("_hidden.py", "import zquant_flow; raise RuntimeError('a helper is not loaded')")
    write("greet.py", "import words\nfrom . import _names" + GREET)
    write("_names.py", "")
    assert [plugin.name for plugin in of(folder).known] == ["builtin", "greet"]


def test_a_plugin_may_have_the_name_of_a_module_of_python(folder: Path, write: Write) -> None:
    write("http.py", GREET)
    assert of(folder).executors["greet"].entry() == "zquant_flow_plugins.http:Greet"
    assert "plugins" not in (sys.modules["http"].__file__ or "")


def test_a_module_is_a_plugin_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_test_module.py").write_text(GREET)
    monkeypatch.syspath_prepend(tmp_path)
    plugins = installed(Sources(modules=("of_test_module",), entry_points=False))
    assert plugins.executors["greet"].entry() == "of_test_module:Greet"
    assert named(plugins, "of_test_module").source == "module of_test_module"


def test_a_package_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_test_package.py").write_text(GREET)
    info = tmp_path / "of_test_greeting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-test-greeting\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[zquant_flow]\nhello = of_test_package\nclass = of_test_package:Greet\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = installed(Sources())
    by_class, by_module = named(plugins, "class"), named(plugins, "hello")
    assert (by_class.source, by_class.version, by_class.executors) == (
        "package of-test-greeting",
        "1.2",
        ("greet",),
    )
    assert by_module.state is State.ACTIVE
    assert by_module.error is None, "the same class twice is no quarrel"


def test_one_that_is_blocked_is_listed_and_not_loaded(folder: Path, write: Write) -> None:
    write("greet.py", "raise RuntimeError('zquant_flow')")
    assert named(of(folder, blocked=frozenset({"greet"})), "greet").state is State.BLOCKED


BROKEN = {
    "raises": (
        "import zquant_flow\nraise RuntimeError('no license')",
        "RuntimeError: no license, at broken.py:2",
    ),
    "exits": ("import zquant_flow, sys\nsys.exit(3)", "SystemExit: 3, at broken.py:2"),
    "syntax": ("import zquant_flow\ndef f(:", "broken.py:2"),
    "missing package": ("import zquant_flow\nimport of_test_nothing", "-m pip install of_test_nothing)"),
    "unknown hook": (
        "from zquant_flow.plugin import hookimpl\n@hookimpl\ndef register_unicorns(): ...",
        "this version knows no hook 'register_unicorns'",
    ),
    "wrong arguments": (
        "from zquant_flow.plugin import hookimpl\n@hookimpl\ndef register_executors(unicorns): ...",
        "unicorns",
    ),
    "hook raises": (
        "from zquant_flow.plugin import hookimpl\n@hookimpl\ndef register_executors(): raise ValueError('x')",
        "ValueError: x, at broken.py:3",
    ),
    "hook gives something else": (
        "from zquant_flow.plugin import hookimpl\n@hookimpl\ndef register_executors(): return ['x']",
        "register_executors gives \"'x'\", which is no Executor class",
    ),
    "no name": (
        "from zquant_flow.plugin import Executor\nclass A(Executor):\n    name = ''",
        "executor A: `name` must be a text",
    ),
    "config": (
        "from zquant_flow.plugin import Executor\nclass A(Executor):\n    name = 'a'\n    Config = dict",
        "executor A: `Config` must be a pydantic model",
    ),
    "run": (
        "from zquant_flow.plugin import Executor\nclass A(Executor):\n    name = 'a'\n    def run(self): ...",
        "executor A: write `def run(self, context, config)`",
    ),
    "isolation": (
        "from zquant_flow.plugin import Executor\nclass A(Executor):\n    name = 'a'\n    isolation = 'moon'",
        "executor A: `isolation` is process or thread",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_a_listed_error_and_the_next_one_loads(
    folder: Path, write: Write, case: str
) -> None:
    text, why = BROKEN[case]
    write("broken.py", text)
    write("greet.py", GREET)
    plugins = of(folder)
    broken = named(plugins, "broken")
    assert broken.state is State.FAILED
    assert why in (broken.error or "")
    assert "greet" in plugins.executors
    assert "a" not in plugins.executors


def test_a_taken_name_stays_with_who_has_it(folder: Path, write: Write) -> None:
    write("first.py", GREET)
    write("second.py", GREET.replace('"greet"', '"command"') + GREET.replace("Greet", "Other"))
    plugins = of(folder)
    assert plugins.executors["command"] is built_in().executors["command"]
    second = named(plugins, "second")
    assert second.state is State.ACTIVE
    assert "executor 'command' is left out: the name is taken by zquant_flow.executors.command" in (
        second.error or ""
    )
    assert "executor 'greet' is left out: the name is taken by zquant_flow_plugins.first:Greet" in (
        second.error or ""
    )


def test_a_second_plugin_of_one_name_is_refused(folder: Path, write: Write) -> None:
    write("builtin.py", GREET)
    names = [(plugin.name, plugin.state) for plugin in of(folder).known]
    assert names == [("builtin", State.ACTIVE), ("builtin", State.FAILED)]


def test_a_hook_that_raises_is_logged_with_its_name_and_the_others_are_asked(
    folder: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    hook = "from zquant_flow.plugin import hookimpl\n@hookimpl\ndef register_executors(): "
    write("good.py", f"{hook}return []")
    plugins = of(folder)
    sys.modules["zquant_flow_plugins.good"].register_executors.__code__ = (lambda: 1 / 0).__code__
    with caplog.at_level(logging.ERROR):
        assert [name for name, _ in plugins.each("register_executors")] == ["builtin"]
    assert [record.__dict__["action"] for record in caplog.records] == ["plugin_failed"]
    assert "plugin good: register_executors failed" in caplog.text


def test_what_is_edited_holds_after_the_next_look_and_the_copy_of_before_stays(
    tmp_path: Path, folder: Path, write: Write
) -> None:
    write("greet.py", GREET)
    snapshots = Snapshots(tmp_path / "data")
    sources = Sources(folder=snapshots.take(folder), entry_points=False)
    plugged = Plugged(sources, folder=folder, data_dir=tmp_path / "data")
    told: list[int] = []
    plugged.on_change.append(lambda: told.append(1))
    before = plugged.current
    plugged.look()
    assert plugged.current is before, "nothing has changed"
    write("greet.py", GREET.replace("hello", "good day"))
    plugged.look()
    greet = plugged.current.executors["greet"]
    assert greet().run(None, greet.Config(who="x")) == "good day x"
    assert told == [1]
    assert before.folder is not None
    assert "hello" in (Path(before.folder) / "greet.py").read_text()
    (folder / "greet.py").unlink()
    plugged.look()
    assert "greet" not in plugged.current.executors
    assert plugged.current.folder is None


def test_only_the_newest_copies_are_kept(tmp_path: Path, folder: Path, write: Write) -> None:
    snapshots = Snapshots(tmp_path / "data")
    for number in range(KEPT + 3):
        write("greet.py", f"{GREET}\n# {number}")
        newest = snapshots.take(folder)
    kept = set((tmp_path / "data" / "plugins").iterdir())
    assert len(kept) == KEPT
    assert newest in kept


def test_there_need_be_no_folder(tmp_path: Path) -> None:
    assert Snapshots(tmp_path / "data").take(tmp_path / "nowhere") is None
    assert [plugin.name for plugin in of(tmp_path / "nowhere").known] == ["builtin"]
