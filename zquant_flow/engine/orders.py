"""What does the backend need to know of an attempt? (docs/architecture.md: the wire)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from zquant_flow.core.expressions import compute, is_template, render
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import Action
from zquant_flow.core.references import resolve
from zquant_flow.core.sessions import Sessions, follows_sessions
from zquant_flow.definitions.templates import with_templates
from zquant_flow.engine.awaited import EXECUTOR as WAIT
from zquant_flow.engine.large_results import LargeResults
from zquant_flow.engine.memory import Execution, Filed
from zquant_flow.engine.passing import arguments_of, from_files, passed
from zquant_flow.engine.scope import event_of, scope_of, session_days
from zquant_flow.errors import DefinitionError
from zquant_flow.logs import log_path, state_path
from zquant_flow.plugin.contract import Executor
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.runner.words import needs_shell, split_command
from zquant_flow.wording import say

Order = dict[str, Any]


class Orders:
    """Makes orders. `plugins`: whose executors hold now; `bundle_folder`: where sources are unpacked.

    `calendars`: what is known of exchanges. `earlier`: from whose kept state an execution may go on.
    `awaited`: what an attempt of `wait` is told.
    """

    def __init__(
        self,
        *,
        tasks_dir: Path,
        data_dir: Path,
        plugins: Callable[[], Plugins],
        bundle_folder: Callable[[str], str],
        calendars: Callable[[], Mapping[str, Sessions]] = dict,
        earlier: Callable[[Execution], Sequence[int]] = lambda execution: (),
        awaited: Callable[[Execution, Mapping[str, Any]], Order] = lambda execution, config: {},
    ) -> None:
        self._large = LargeResults(data_dir)
        self._tasks_dir = tasks_dir
        self._data_dir = str(data_dir)
        self._plugins = plugins
        self._bundle_folder = bundle_folder
        self._calendars = calendars
        self._earlier = earlier
        self._awaited = awaited
        self._folders: dict[tuple[str, str | None], str] = {}

    def order(self, execution: Execution) -> Order:
        """The order for the execution's next attempt.

        Raises ExpressionError where a template leads nowhere, DefinitionError where nobody can carry the action out.
        """
        action, attempt, plugins = execution.action, execution.retry_count + 1, self._plugins()
        assert action is not None
        order: Order = {
            "id": execution.id,
            "attempt": attempt,
            "executor": action.executor,
            "config": action.config,
            "cwd": self._cwd(execution, action.working_dir),
            "timeout": _timeout(execution, action),
            "isolation": action.isolation.value,
            "log": log_path(self._data_dir, execution.id, attempt),
            "task": execution.task.name,
        }
        sessions = self._sessions(execution)
        if env := {
            **{f"ZQUANT_FLOW_{name.upper()}": day for name, day in sessions.items()},
            **{name: self._filled(value, execution) for name, value in action.env.items()},
        }:
            order["env"] = env
        if execution.params:
            order["params"] = execution.params
        if execution.logical_time is not None:
            order["logical_time"] = from_micros(execution.logical_time).isoformat()
        if execution.parent is not None and execution.parent.run is not None:
            order["node"] = execution.parent.run.plan.names[execution.node]
        elif execution.called is not None:
            order["node"] = execution.called
        if execution.under is not None and execution.called is not None:
            order["in_row"] = True  # the engine that goes on with the result may be on another machine
        if execution.definition.bundle is not None:
            order["bundle"] = self._bundle_folder(execution.definition.bundle)
        if action.executor in plugins.command_lines:
            order["executor"] = "command"
            order["config"] = self._command(action, execution)
            self._pass_results(order, execution, "filed")
        else:
            if sessions:
                order["sessions"] = sessions
            if (event := event_of(execution))["kind"] is not None:
                order["event"] = event
            if filed := from_files(execution):
                order["filed"] = self._paths(filed)
                order["taken"] = arguments_of(execution, filed)
            if execution.handle is not None:
                order["handle"] = execution.handle
            if execution.ending is not None:
                order["ending"] = True
            order["state"] = state_path(self._data_dir, execution.id)
            if earlier := self._earlier(execution):
                order["state_from"] = [state_path(self._data_dir, id_) for id_ in earlier]
            if action.executor != "python":
                order["config"] = self._config(action, execution)
                self._name_class(order, action)
            if action.executor in plugins.takers:
                self._pass_results(order, execution, "result_files")
            if action.executor == WAIT:
                order |= self._awaited(execution, order["config"])
        return order

    def _pass_results(self, order: Order, execution: Execution, files: str) -> None:
        """What the nodes before it have given: as JSON, and the paths of large ones under `files`."""
        results, filed, left_out = passed(execution)
        if results:
            order["results"] = results
        if filed:
            order[files] = self._paths(filed)
        if left_out:
            order["left_out"] = left_out

    def _paths(self, filed: Mapping[str, Filed]) -> dict[str, list[str]]:
        return {name: self._large.paths(result) for name, result in filed.items()}

    def _sessions(self, execution: Execution) -> dict[str, str]:
        """The trading sessions that the execution stands for and between, as far as they are known."""
        return {
            name: day.isoformat() for name, day in self.session_days(execution).items() if day is not None
        }

    def session_days(self, execution: Execution) -> Mapping[str, date | None]:
        """The same as dates, None for what is not known; empty for most, at no cost."""
        if not (follows_sessions(execution.definition) or follows_sessions(execution.root.definition)):
            return {}
        return session_days(execution, self._calendars())

    def _filled(self, text: str, execution: Execution) -> str:
        return render(text, scope_of(execution, self.session_days)) if is_template(text) else text

    def _command(self, action: Action, execution: Execution) -> Mapping[str, Any]:
        if action.executor == "command":
            return self._rendered(action.config, execution)
        executor = self._plugins().executors[action.executor]
        try:
            return {"command": command_line(executor, self._config(action, execution))}
        except Exception as exc:  # a plugin's code
            message = say(
                "the executor {name!r} has no command line for this config: {error}",
                name=action.executor,
                error=f"{type(exc).__name__}: {exc}",
            )
            raise DefinitionError(message) from exc

    def _config(self, action: Action, execution: Execution) -> Mapping[str, Any]:
        """What a plugin's executor is told, its templates replaced; a value that is one expression keeps its type."""
        if "{{" not in str(action.config):
            return action.config
        scope = scope_of(execution, self.session_days)
        filled: Mapping[str, Any] = resolve(with_templates(action.config), scope, compute)
        return filled

    def _rendered(self, config: Mapping[str, Any], execution: Execution) -> Mapping[str, Any]:
        """The command with its templates replaced. It is split first, so that a value stays one argument."""
        words, shell = config.get("command"), config.get("shell")
        if isinstance(words, str):
            if not is_template(words) or needs_shell(words):
                return config
            words = split_command(words, shell)
        if not isinstance(words, list) or not any(map(is_template, words)):
            return config
        return {"command": [self._filled(word, execution) for word in words]}

    def _cwd(self, execution: Execution, working_dir: str | None) -> str:
        if working_dir is None or not is_template(working_dir):
            return self._folder(execution.task.folder, working_dir)
        return str(self._tasks_dir / execution.task.folder / self._filled(working_dir, execution))

    def _folder(self, folder: str, working_dir: str | None) -> str:
        """Where an attempt runs: the folder of the task file, or `working_dir` from there."""
        found = self._folders.get((folder, working_dir))
        if found is None:
            found = self._folders[folder, working_dir] = str(self._tasks_dir / folder / (working_dir or ""))
        return found

    def _name_class(self, order: Order, action: Action) -> None:
        """Say where a worker finds the executor's class: `entry`, and the folder of plugin files that it opens for it."""
        plugins = self._plugins()
        cls = plugins.executors.get(action.executor)
        if cls is None:
            raise DefinitionError(say("executor {name!r} is not installed here", name=action.executor))
        order["entry"] = cls.entry()
        if folder := plugins.folder_of(cls):
            order["bundle"] = folder


def _timeout(execution: Execution, action: Action) -> float | None:
    if execution.time_left is not None:
        return execution.time_left
    return action.timeout.total_seconds() if action.timeout is not None else None


def command_line(executor: type[Executor], config: Mapping[str, Any]) -> list[str]:
    """The words of an executor that is a command, for a config; raises what the executor raises, TypeError for what are no words."""
    words = executor.command_line(executor.Config.model_validate(config))
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise TypeError("a command line is a list of texts")
    return list(words)
