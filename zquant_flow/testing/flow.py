"""What does a definition do? It is run for real: loader, database, runner and workers are those of a server.

Nothing is shared with a server of this machine: neither its data folder nor its settings.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic_settings import SettingsConfigDict

from zquant_flow.cli.runs import choose, fault_at
from zquant_flow.cli.starters import slug
from zquant_flow.config import Settings
from zquant_flow.core.schedule import zone_of
from zquant_flow.engine.assembly import Scheduler, assemble
from zquant_flow.errors import BadRequest
from zquant_flow.executors.installed import built_in, installed
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.sources import Sources
from zquant_flow.testing.outcomes import Run, run_of
from zquant_flow.wording import joined, say

if TYPE_CHECKING:
    from zquant_flow.definitions.registry import Entry

What = Mapping[str, Any] | str | Path
"""A definition: a mapping, YAML text, or the path of a file."""

WAIT_SECONDS = 60.0
_TICK = timedelta(microseconds=1)


class Given(Settings):
    """Settings that are given, and no others: neither the environment nor a file is asked."""

    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any) -> Any:
        return (init_settings,)


class Flow:
    """A scheduler in a folder that is thrown away. No schedule fires; it starts when it is first used. `with Flow(tmp_path) as flow:`

    Threads: those of a scheduler; `close` ends it with all that it runs. Its methods are for one thread at a time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        executors: Iterable[type[Executor]] = (),
        plugins_dir: Path | None = None,
        tasks_dir: Path | None = None,
        root: Path | None = None,
        **settings: Any,
    ) -> None:
        """`executors`: classes that no installed package brings. `root`: where paths begin; the working directory without.

        `plugins_dir`: of plugin files. `settings` as `zquant_flow.config.Settings` has them; the zone is UTC without.
        """
        self.folder = folder
        self.root = root or Path.cwd()
        self._classes = tuple(_not_installed(executors))
        modules = (cls.__module__ for cls in self._classes)
        named = [*settings.pop("plugins", ()), *dict.fromkeys(modules)]
        self._given = {"timezone": "UTC", "shutdown_grace": 0.0, "plugins": named, **settings}
        self.settings = Given(
            tasks_dir=tasks_dir or folder / "tasks",
            plugins_dir=plugins_dir or folder / "plugins",
            calendars_dir=(tasks_dir or folder / "tasks").parent / "calendars",
            data_dir=folder / "data",
            **self._given,
        )
        self._scheduler: Scheduler | None = None
        self._path_before: tuple[str | None] | None = None
        self._elsewhere: dict[Path, Flow] = {}
        self._folder_read = False

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tasks(self) -> Path:
        """The folder for files that definitions need: modules, scripts, SQL."""
        self.settings.tasks_dir.mkdir(parents=True, exist_ok=True)
        return self.settings.tasks_dir

    def run(
        self,
        what: What,
        *,
        params: Mapping[str, Any] | None = None,
        task: str | None = None,
        seconds: float = WAIT_SECONDS,
    ) -> Run:
        """Run it to its end, and say what came of it. `task`: which one, where a file has several.

        Raises BadRequest for what can't be loaded, with line and column; AssertionError where it takes longer than `seconds`.
        """
        flow, entry = self._loaded(what, task)
        return flow.wait(flow._started(entry, params), seconds)

    def start(self, what: What, *, params: Mapping[str, Any] | None = None) -> int:
        """Start it; the execution's id, for `wait` and what a running one can be told. Of a file in its own folder: `run`."""
        _, entry = self._loaded(what, None, here=True)
        return self._started(entry, params)

    def seen(self, execution_id: int) -> Run:
        """An execution as it stands now."""
        scheduler = self.scheduler
        return run_of(scheduler.database, self.settings.data_dir, execution_id)

    def wait(self, execution_id: int, seconds: float = WAIT_SECONDS) -> Run:
        """An execution once it is over."""
        return self.until(execution_id, lambda run: run.ended, "its end", seconds)

    def until(
        self, execution_id: int, condition: Callable[[Run], object], what: str, seconds: float = WAIT_SECONDS
    ) -> Run:
        """An execution as soon as this holds of it; AssertionError names `what` was waited for."""
        deadline = time.monotonic() + seconds
        while not condition(run := self.seen(execution_id)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{run}")
            self.scheduler.engine.wait_for_commit(0.05)
        return run

    def terminate(self, execution_id: int) -> None:
        self.scheduler.operations.terminate(execution_id, actor="test")

    def pause(self, execution_id: int) -> None:
        self.scheduler.operations.pause_execution(execution_id, actor="test")

    def resume(self, execution_id: int) -> None:
        self.scheduler.operations.resume_execution(execution_id, actor="test")

    def fires(
        self, what: What, start: datetime | str, end: datetime | str, *, task: str | None = None
    ) -> list[datetime]:
        """When it fires from `start` on and before `end`, in its own zone; instants without offset are in that zone too.

        An interval without `start_at` counts from `start`. Raises BadRequest as `run` does.
        """
        flow, entry = self._loaded(what, task)
        schedule = entry.definition.schedule
        if schedule is None:
            return []
        zone = zone_of(schedule, self.settings.zone)
        first, last = (
            _instant(given).replace(tzinfo=_instant(given).tzinfo or zone) for given in (start, end)
        )
        times = flow.scheduler.engine.times_for([entry.definition])
        table = times.table(schedule, first)
        return [fire.astimezone(zone) for fire in table.between(first - _TICK, last - _TICK)]

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, started."""
        if self._scheduler is None:
            self.tasks  # noqa: B018  (it has to be there)
            self._open_path()
            try:
                self._scheduler = assemble(self.settings, watch=False, fires=False)
                self._scheduler.start_engine()
            except BaseException:
                self.close()
                raise
        return self._scheduler

    def close(self) -> None:
        """End what runs, and the scheduler; safe to call twice."""
        for flow in self._elsewhere.values():
            flow.close()
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.stop()
        before, self._path_before = self._path_before, None
        if before is not None:
            _set_path(before[0])

    def python_path(self) -> str | None:
        """PYTHONPATH of what is started: workers import the executors from where they were imported here."""
        folders = [*dict.fromkeys(map(_folder_of, self._classes))]
        before = os.environ.get("PYTHONPATH")
        return os.pathsep.join([*folders, *([before] if before else [])]) if folders else before

    def _open_path(self) -> None:
        self._path_before = (os.environ.get("PYTHONPATH"),)
        _set_path(self.python_path())

    def _started(self, entry: Entry, params: Mapping[str, Any] | None) -> int:
        return self.scheduler.operations.trigger(entry.id, actor="test", params=params)

    def _loaded(self, what: What, task: str | None, *, here: bool = False) -> tuple[Flow, Entry]:
        """The scheduler that has read it, and what it has read."""
        if isinstance(what, Path) or (isinstance(what, str) and "\n" not in what and ": " not in what):
            path = self.root / what
            if not path.is_file():
                raise BadRequest(say("there is no file {path}", path=str(path)))
            flow = self if here or path.is_relative_to(self.settings.tasks_dir) else self._at(_tasks_of(path))
            return flow, flow._of_file(path, task)
        text = what if isinstance(what, str) else _yaml({"name": "task", **what})
        path = self.tasks / _file_name(text)
        path.write_text(text, encoding="utf-8")
        return self, self._of_file(path, task)

    def _at(self, tasks_dir: Path) -> Flow:
        """A scheduler over the folder of a project's task files, which are read and never written."""
        if tasks_dir not in self._elsewhere:
            self._elsewhere[tasks_dir] = Flow(
                self.folder / f"of-{len(self._elsewhere)}",
                executors=self._classes,
                plugins_dir=self.settings.plugins_dir,
                tasks_dir=tasks_dir,
                root=self.root,
                **self._given,
            )
        flow = self._elsewhere[tasks_dir]
        if not flow._folder_read:
            flow.scheduler.folder.load_all()
            flow._folder_read = True
        return flow

    def _of_file(self, path: Path, task: str | None) -> Entry:
        operations = self.scheduler.operations
        relative = path.relative_to(self.settings.tasks_dir).as_posix()
        self.scheduler.folder.load_now([relative])
        registry = operations.registry
        if errors := registry.errors.get(relative):
            faults = [fault_at(relative, fault.line, fault.column, fault.message) for fault in errors]
            raise BadRequest(joined("; ", faults))
        names = registry.names_of.get(relative, ())
        if task is None:
            workflows = [name for name in names if registry.by_name[name].definition.workflow is not None]
            task = choose(path, names, workflows)
        elif task not in names:
            has = joined(", ", names) or say("none")
            raise BadRequest(
                say("{file} has no task {name!r}; it has {names}", file=relative, name=task, names=has)
            )
        return registry.by_name[task]


def _not_installed(executors: Iterable[type[Executor]]) -> Iterator[type[Executor]]:
    """Those that no package brings, so that their modules have to be named as plugins."""
    left = [cls for cls in executors if built_in().executors.get(cls.name) is not cls]
    if left:
        known = installed(Sources()).executors
        yield from (cls for cls in left if known.get(cls.name) is not cls)


def _folder_of(cls: type[Executor]) -> str:
    """The folder of `sys.path` that a class was imported from."""
    module = sys.modules[cls.__module__]
    file = Path(module.__file__ or ".").resolve()
    depth = cls.__module__.count(".") + (file.name == "__init__.py")
    return str(file.parents[depth])


def _tasks_of(path: Path) -> Path:
    """The tasks folder that a file is in: the nearest one of that name, else its own folder."""
    folders = [folder for folder in path.resolve().parents if folder.name == "tasks"]
    return folders[0] if folders else path.resolve().parent


def _file_name(text: str) -> str:
    """One for each name, so that a definition replaces the one of before."""
    with contextlib.suppress(yaml.YAMLError):
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and isinstance(document.get("name"), str):
                name = document["name"]
                return f"{slug(name)[:50]}-{zlib.crc32(name.encode()):08x}.yaml"
    return "unnamed.yaml"


def _yaml(definition: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(definition), allow_unicode=True, sort_keys=False)


def _instant(given: datetime | str) -> datetime:
    return datetime.fromisoformat(given) if isinstance(given, str) else given


def _set_path(value: str | None) -> None:
    if value is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = value
