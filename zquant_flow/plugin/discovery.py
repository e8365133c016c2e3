"""Which plugins are there? Entry points of installed packages, files and packages of the plugins folder, modules that are named."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zquant_flow.plugin.namespace import module_name, open_folder
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import say

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "zquant_flow"
MENTION = b"zquant_flow"
"""What a file of the folder must speak of to be a plugin; others are their helpers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plugin that may be loaded: `load` imports it and may raise anything. `source` says in words where it is from.

    Source and version are asked for when somebody looks: to read them costs as much as to load a small plugin.
    """

    name: str
    source: Callable[[], str]
    load: Callable[[], object]
    version: Callable[[], str | None] = lambda: None


def find_plugins(sources: Sources) -> Iterator[Found]:
    """All that are there, the installed ones first; nothing is imported by looking."""
    if sources.entry_points:
        yield from _installed()
    if sources.folder is not None:
        yield from _of_folder(sources.folder)
    for name in sources.modules:
        yield Found(name=name, source=partial(_module, name), load=_importing(name))


def mark_of(sources: Sources) -> list[Any]:
    """JSON that differs where other plugins would be found: the sources, and the versions of packages. A copied folder has a name for each content."""
    return [sources.to_json(), _versions() if sources.entry_points else []]


@cache
def _versions() -> list[Any]:
    """Of the installed ones; they stay the same as long as a process."""
    return [[found.name, found.version()] for found in _installed()]


def _installed() -> Iterator[Found]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        yield Found(
            name=point.name,
            source=partial(_package, point),
            load=point.load,
            version=partial(_version, point),
        )


def _package(point: EntryPoint) -> str:
    return say("package {name}", name=point.value if point.dist is None else point.dist.name)


def _version(point: EntryPoint) -> str | None:
    return None if point.dist is None else point.dist.version


def _file(name: str) -> str:
    return say("file {name}", name=name)


def _module(name: str) -> str:
    return say("module {name}", name=name)


def _of_folder(folder: Path) -> Iterator[Found]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return  # there is none: that is usual
    for path in paths:
        if path.name.startswith((".", "_")) or not _is_plugin(path):
            continue
        name = path.name.removesuffix(".py")
        yield Found(name=name, source=partial(_file, path.name), load=_importing_from(str(folder), name))


def _is_plugin(path: Path) -> bool:
    try:
        if path.is_dir():
            return (path / "__init__.py").is_file()
        return path.suffix == ".py" and path.is_file() and MENTION in path.read_bytes()
    except OSError:
        return True  # loading it will say what is wrong


def _importing(name: str) -> Callable[[], object]:
    return lambda: importlib.import_module(name)


def _importing_from(folder: str, name: str) -> Callable[[], object]:
    def load() -> object:
        open_folder(folder)
        return importlib.import_module(module_name(name))

    return load
