"""Which plugins are loaded here, what do they bring, and what is wrong with the others?

A value: a look at the sources at one moment. An edited plugin makes another one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import pluggy
from pydantic import BaseModel

from zquant_flow import __version__
from zquant_flow.plugin import hookspecs
from zquant_flow.plugin.contract import Configs, Executor
from zquant_flow.plugin.discovery import Found, find_plugins
from zquant_flow.plugin.namespace import in_folder
from zquant_flow.plugin.notifiers import Notifier
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import joined, say

log = logging.getLogger(__name__)

T = TypeVar("T")
Brought = TypeVar("Brought", Executor, Notifier)


class State(StrEnum):
    """How a plugin is."""

    ACTIVE = "active"
    FAILED = "failed"
    """It could not be loaded; the rest goes on without it."""
    SWITCHED_OFF = "switched_off"
    """It has failed again and again as an observer, and hears nothing more until it is loaded anew."""
    BLOCKED = "blocked"
    """The operator has named it among `blocked_plugins`."""


class PluginFault(Exception):
    """Why a plugin can't be taken; listed with its name, and never more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What is known of one. `error` of an active one: what of it was left out."""

    found: Found
    state: State
    executors: tuple[str, ...] = ()
    notifiers: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def source(self) -> str:
        """In words, where it is from."""
        return self.found.source()

    @property
    def version(self) -> str | None:
        """That of its package; None of a file or module."""
        return self.found.version()


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """All that is loaded. `folder`: where workers find the plugin files of this moment, None without any."""

    known: tuple[Plugin, ...]
    executors: Mapping[str, type[Executor]]
    folder: str | None
    manager: pluggy.PluginManager
    notifiers: Mapping[str, type[Notifier]] = field(default_factory=dict)

    @property
    def configs(self) -> Configs:
        """The config model of every executor, by the executor's name."""
        return Configs.of(self.executors)

    @cached_property
    def command_lines(self) -> frozenset[str]:
        """The executors that are carried out as commands: `command` itself, and those with a command line of their own."""
        return frozenset(
            name
            for name, cls in self.executors.items()
            if name == "command" or cls.command_line is not Executor.command_line
        )

    @cached_property
    def takers(self) -> frozenset[str]:
        """The executors that get the results of the nodes before them: commands, and those that ask for it."""
        return self.command_lines | {name for name, cls in self.executors.items() if cls.takes_results}

    def folder_of(self, cls: type[Executor]) -> str | None:
        """The folder that a worker must open to import this class; None where it is installed."""
        return self.folder if in_folder(cls.__module__) else None

    def each(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin answers to a hook, by its name. One that raises is logged with its name, and the others go on."""
        for implementation in self.implementations(hook):
            try:
                answer = implementation.function(
                    *(arguments[name] for name in implementation.argnames if name in arguments)
                )
            except Exception:
                log.exception(
                    "plugin %s: %s failed",
                    implementation.plugin_name,
                    hook,
                    extra={"action": "plugin_failed"},
                )
                continue
            if answer is not None:
                yield implementation.plugin_name, answer

    def implementations(self, hook: str) -> Sequence[pluggy.HookImpl]:
        """Who implements a hook, in the order of registration, `tryfirst` before and `trylast` behind."""
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return sorted(caller.get_hookimpls(), key=lambda found: (not found.tryfirst, found.trylast))


def load_plugins(sources: Sources, built_in: Mapping[str, object]) -> Plugins:
    """Load what is there, the built-ins first. Never raises for a plugin: what is wrong with one stands in `known`."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    executors: dict[str, type[Executor]] = {}
    notifiers: dict[str, type[Notifier]] = {}
    known: list[Plugin] = []
    for found in (*_built_in(built_in), *find_plugins(sources)):
        known.append(_taken(found, manager, executors, notifiers, sources.blocked))
    folder = str(sources.folder) if sources.folder is not None else None
    return Plugins(
        known=tuple(known), executors=executors, notifiers=notifiers, folder=folder, manager=manager
    )


def _built_in(modules: Mapping[str, object]) -> Iterator[Found]:
    for name, module in modules.items():
        yield Found(
            name=name,
            source=partial(_itself, say("built in")),
            load=partial(_itself, module),
            version=partial(_itself, __version__),
        )


def _itself(value: T) -> T:
    return value


def _taken(
    found: Found,
    manager: pluggy.PluginManager,
    executors: dict[str, type[Executor]],
    notifiers: dict[str, type[Notifier]],
    blocked: frozenset[str],
) -> Plugin:
    plugin = Plugin(found=found, state=State.ACTIVE)
    if found.name in blocked:
        return replace(plugin, state=State.BLOCKED)
    try:
        return _register(plugin, found.load(), manager, executors, notifiers)
    except KeyboardInterrupt:
        raise
    except PluginFault as fault:
        return _failed(plugin, fault.args[0])
    except BaseException as exc:
        log.debug("plugin %s", found.name, exc_info=exc)
        return _failed(plugin, _why(exc))


def _failed(plugin: Plugin, why: str) -> Plugin:
    return replace(plugin, state=State.FAILED, error=why)


def _register(
    plugin: Plugin,
    module: object,
    manager: pluggy.PluginManager,
    executors: dict[str, type[Executor]],
    notifiers: dict[str, type[Notifier]],
) -> Plugin:
    if manager.has_plugin(plugin.name):
        raise PluginFault(say("another plugin has the name {name!r} already: rename one", name=plugin.name))
    try:
        manager.register(module, name=plugin.name)
    except pluggy.PluginValidationError as exc:
        raise PluginFault(str(exc).replace("\n", " ")) from exc
    except ValueError as exc:
        raise PluginFault(say("it is loaded already, under another name")) from exc
    try:
        hooks = _hooks_of(module, manager)
        classes = list(_classes_of(module, Executor, "register_executors"))
        for cls in classes:
            _check(cls)
        ways = list(_classes_of(module, Notifier, "register_notifiers"))
        for way in ways:
            _check_notifier(way)
    except BaseException:
        manager.unregister(name=plugin.name)
        raise
    taken = [cls for cls in classes if executors.setdefault(cls.name, cls) is not cls]
    doubled = [way for way in ways if notifiers.setdefault(way.name, way) is not way]
    return replace(
        plugin,
        hooks=hooks,
        executors=tuple(sorted(cls.name for cls in classes if cls not in taken)),
        notifiers=tuple(sorted(way.name for way in ways if way not in doubled)),
        error=_left_out(taken, executors, doubled, notifiers) if taken or doubled else None,
    )


def _hooks_of(module: object, manager: pluggy.PluginManager) -> tuple[str, ...]:
    """The hooks that it implements. Raises PluginFault for one that this version does not know."""
    callers = manager.get_hookcallers(module) or []
    for caller in callers:
        optional = all(impl.optionalhook for impl in caller.get_hookimpls() if impl.plugin is module)
        if not caller.has_spec() and not optional:
            raise PluginFault(
                say(
                    "this version knows no hook {hook!r}; its hooks are {known}",
                    hook=caller.name,
                    known=joined(", ", _known_hooks()),
                )
            )
    return tuple(sorted(caller.name for caller in callers if caller.has_spec()))


def _known_hooks() -> list[str]:
    mark = f"{hookspecs.PROJECT}_spec"
    return sorted(name for name, value in vars(hookspecs).items() if hasattr(value, mark))


def _classes_of(module: Any, kind: type[Brought], hook: str) -> Iterable[type[Brought]]:
    """What the hook answers; without it the classes of that kind that the plugin itself defines."""
    if isinstance(module, type) and issubclass(module, kind):
        return [module]
    register = getattr(module, hook, None)
    if register is not None and hasattr(register, f"{hookspecs.PROJECT}_impl"):
        classes = list(register())
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, kind)):
                raise PluginFault(
                    say(
                        "{hook} gives {what!r}, which is no {kind} class",
                        hook=hook,
                        what=repr(cls)[:100],
                        kind=kind.__name__,
                    )
                )
        return classes
    return _defined_in(module, kind) if isinstance(module, ModuleType) else ()


def _defined_in(module: ModuleType, kind: type[Brought]) -> Iterator[type[Brought]]:
    home = module.__name__
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, kind)
            and hasattr(value, "name")
            and (value.__module__ == home or value.__module__.startswith(f"{home}."))
        ):
            yield value


def _check(cls: type[Executor]) -> None:
    """Raises PluginFault where an executor keeps not to its contract."""
    where = cls.__qualname__
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
        raise PluginFault(say("executor {cls}: `name` must be a text of at most 100 characters", cls=where))
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel)):
        raise PluginFault(say("executor {cls}: `Config` must be a pydantic model", cls=where))
    if cls.isolation not in ("process", "thread"):
        raise PluginFault(say("executor {cls}: `isolation` is process or thread", cls=where))
    if "<locals>" in where:
        raise PluginFault(say("executor {cls}: a worker can't import a class made in a function", cls=where))
    if cls.run is not Executor.run and _takes(cls.run) != 3:
        raise PluginFault(say("executor {cls}: write `def run(self, context, config)`", cls=where))


def _takes(function: Callable[..., Any]) -> int:
    """How many arguments it has; of a plain function without `inspect`, which takes its time."""
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        return function.__code__.co_argcount
    return len(inspect.signature(function).parameters)


def _check_notifier(cls: type[Notifier]) -> None:
    """The same of a notifier."""
    where = cls.__qualname__
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
        raise PluginFault(say("notifier {cls}: `name` must be a text of at most 100 characters", cls=where))
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel)):
        raise PluginFault(say("notifier {cls}: `Config` must be a pydantic model", cls=where))
    if cls.send is Notifier.send or _takes(cls.send) != 3:
        raise PluginFault(say("notifier {cls}: write `def send(self, message, config)`", cls=where))


def _left_out(
    taken: list[type[Executor]],
    executors: Mapping[str, type[Executor]],
    doubled: list[type[Notifier]],
    notifiers: Mapping[str, type[Notifier]],
) -> str:
    of_executors = [
        say(
            "executor {name!r} is left out: the name is taken by {other}",
            name=cls.name,
            other=executors[cls.name].entry(),
        )
        for cls in taken
    ]
    of_notifiers = [
        say(
            "notifier {name!r} is left out: the name is taken by {other}",
            name=cls.name,
            other=notifiers[cls.name].__qualname__,
        )
        for cls in doubled
    ]
    return joined("; ", of_executors + of_notifiers)


def _why(exc: BaseException) -> str:
    import sys

    text = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        package = exc.name.partition(".")[0]
        return say(
            "{error} (install it: {python} -m pip install {package})",
            error=text,
            python=sys.executable,
            package=package,
        )
    where = _line_of(exc)
    return say("{error}, at {where}", error=text, where=where) if where else text


def _line_of(exc: BaseException) -> str | None:
    """The last line of the plugin's own that it came through: `greet.py:12`."""
    from pathlib import Path

    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{Path(exc.filename).name}:{exc.lineno}"
    trace, found = exc.__traceback__, None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<") and "/zquant_flow/" not in name and "importlib" not in name:
            found = f"{Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
