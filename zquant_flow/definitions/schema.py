"""What does this mapping, from a file or a REST body, define?

One schema for both (SEMANTICS §3): the raw mapping is freed of other clothes (`clothes`), checked for shape by pydantic
(`forms`), and built into the frozen `TaskDef` of the core, with all faults told at once.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from zquant_flow.core.model import (
    DEFAULT_WITHIN,
    Action,
    After,
    Overlap,
    RetryPolicy,
    Schedule,
    TaskDef,
    TaskType,
    Workflow,
)
from zquant_flow.core.params import Param
from zquant_flow.core.references import references
from zquant_flow.definitions.actions import Executors, build_action, build_retry
from zquant_flow.definitions.arrivals import build_on_file, build_webhook, given_by_arrivals
from zquant_flow.definitions.clothes import Dressed, undress
from zquant_flow.definitions.faults import DefinitionErrors, FieldError, Path
from zquant_flow.definitions.forms import WORKFLOW_KEYS, TaskForm
from zquant_flow.definitions.json_values import is_plain, to_plain
from zquant_flow.definitions.nodes import TaskNames, build_workflow
from zquant_flow.definitions.notifications import build_notify
from zquant_flow.definitions.params import read_params
from zquant_flow.definitions.schedules import SCHEDULE_WORDS, build_schedule
from zquant_flow.definitions.shape import json_schema, validated
from zquant_flow.definitions.templates import Known, check_action
from zquant_flow.wording import say

__all__ = ["DefinitionErrors", "FieldError", "ParsedDefinition", "json_schema", "parse_definition"]

Origin = Literal["file", "rest"]
NOTHING_TO_RUN = "nothing_to_run"
SCHEDULE_MISSING = "schedule_missing"
REST_MAX_RETRIES = 3
EVENT_WORDS = ("after", "consumes", "webhook", "on_file")
"""What starts a task besides a schedule."""
_STARTS = (*SCHEDULE_WORDS, *EVENT_WORDS)


@dataclass(frozen=True, slots=True)
class ParsedDefinition:
    """A definition, and codes for what is accepted although it can't do anything yet."""

    task: TaskDef
    warnings: tuple[str, ...] = ()


def parse_definition(
    raw: Mapping[str, Any],
    *,
    origin: Origin,
    executors: Executors,
    default_name: str | None = None,
    default_zone: ZoneInfo | None = None,
    folder: str = "",
    task_name: TaskNames | None = None,
    required: Collection[str] = (),
    specs: Mapping[str, Param] | None = None,
) -> ParsedDefinition:
    """The definition that `raw` writes down; raises DefinitionErrors with all its faults.

    `executors`: config models by name, None for an executor without one. `default_zone`: of instants without offset,
    where the task names no zone (the machine's if None). `folder`: of the file, below the tasks folder, for `python`.
    `task_name`: finds the name of a registered task by id; without it a `task_id` is refused.
    `required`: params without a default, which only a trigger can give. `specs`: what a function's annotations say.
    """
    errors: list[FieldError] = []
    plain = raw if is_plain(raw) else to_plain(raw, errors)
    dressed = undress(plain, executors, nulls_are_absent=origin == "rest")
    errors += dressed.errors
    words = dressed.words
    if default_name is not None:
        words.setdefault("name", default_name)
    if origin == "rest":
        words.setdefault("max_retries", REST_MAX_RETRIES)
    else:
        errors += _empty_words(plain)
    form = validated(dressed, errors)
    if form is None:
        raise DefinitionErrors(_unique(errors))
    shaped = len(errors)
    build = _Builder(
        form, dressed, origin, executors, folder, default_zone or _machine_zone(), task_name, required
    )
    build.specs = specs or {}
    parsed = build.build(wrong={str(error.path[0]) for error in errors if error.path})
    errors += (_rewritten(error, dressed) for error in build.errors)
    if errors:
        raise DefinitionErrors(_unique(errors[:shaped] + errors[shaped:]))
    return parsed


class _Builder:
    """Builds one definition from a form that has the right shape; gathers the faults of meaning."""

    def __init__(
        self,
        form: TaskForm,
        dressed: Dressed,
        origin: Origin,
        executors: Executors,
        folder: str,
        zone: ZoneInfo,
        task_name: TaskNames | None,
        required: Collection[str],
    ) -> None:
        self._form, self._dressed, self._origin = form, dressed, origin
        self._executors, self._folder, self._zone, self._task_name = executors, folder, zone, task_name
        self._required = required
        self.specs: Mapping[str, Param] = {}
        self._warnings: list[str] = []
        self.errors: list[FieldError] = []

    def build(self, *, wrong: set[str]) -> ParsedDefinition:
        """`wrong`: top words with faults of shape, which must not lead to further complaints."""
        form = self._form
        schedule = build_schedule(form, self._zone, self.errors)
        is_workflow = form.tasks is not None
        action = workflow = None
        if is_workflow:
            workflow = self._workflow()
        else:
            action = self._action(wrong)
        task_type = self._task_type(schedule, wrong, runs=action is not None)
        params, specs = read_params(form.params or {}, self.specs, self.errors)
        required = {name for name, spec in specs.items() if spec.required}
        required |= set(self._required)
        self._check_params(
            params, required, scheduled=schedule is not None or bool(form.after or form.consumes)
        )
        webhook = build_webhook(form.webhook, {*params, *specs}, self.errors, typed=bool(specs))
        on_file = build_on_file(form.on_file, specs, self.errors)
        self.errors += given_by_arrivals(webhook, on_file, required - params.keys())
        if form.overlap is Overlap.ALLOW and form.max_active_runs is not None:
            message = say("`overlap: allow` has no limit: use queue or skip with max_active_runs")
            self._fault(("max_active_runs",), message, "conflict")
        task = TaskDef(
            name=form.name,
            task_type=task_type,
            description=form.description,
            tags=tuple(dict.fromkeys(form.tags or ())),
            schedule=schedule,
            enabled=form.enabled,
            params=params,
            param_specs=specs,
            overlap=form.overlap or Overlap.SKIP,
            after=self._after(),
            produces=tuple(dict.fromkeys(form.produces or ())),
            consumes=tuple(dict.fromkeys(form.consumes or ())),
            webhook=webhook,
            on_file=on_file,
            notify=build_notify(form.notify),
            max_active_runs=form.max_active_runs,
            expected_within=form.expected_within,
            action=action,
            workflow=workflow,
            retry=RetryPolicy() if action is not None else build_retry(form, None),
        )
        return ParsedDefinition(task, tuple(self._warnings))

    def _after(self) -> After | None:
        form = self._form.after
        if form is None:
            return None
        if self._form.name in form.tasks:
            message = say("a task can't run after itself: it would run for ever")
            self._fault(("after",), message, "event_cycle")
        within = DEFAULT_WITHIN if form.within is None else form.within
        return After(
            tasks=tuple(dict.fromkeys(form.tasks)),
            on=form.on,
            within=within if isinstance(within, timedelta) else None,
        )

    def _workflow(self) -> Workflow | None:
        form = self._form
        for word in ("command", "python", "executor", "config"):
            if getattr(form, word):
                message = say(
                    "a workflow has nodes in `tasks`, and no {word} of its own: move it into a node",
                    word=word,
                )
                self._fault((word,), message, "conflict")
        if not form.tasks:
            self._nothing_to_run("tasks", say("a workflow needs at least one node in `tasks`"))
            return None
        params = {*(form.params or ()), *self._required}
        return build_workflow(form, self._executors, self._folder, self._task_name, params, self.errors)

    def _action(self, wrong: set[str]) -> Action | None:
        form, before = self._form, len(self.errors)
        for word in WORKFLOW_KEYS:
            if (
                getattr(form, word) is not None
                and not wrong & {"tasks", "config"}
                and form.task_type is not TaskType.WORKFLOW
            ):
                self._fault(
                    (word,),
                    say("{word} is for workflows: add `tasks`, or leave it out", word=word),
                    "conflict",
                )
        action = build_action(form, (), self._executors, self._folder, self.errors, None)
        if action is not None:
            check_action(action, (), Known({*(form.params or ()), *self._required}), self.errors)
        if action is not None or len(self.errors) > before:
            return action
        if not wrong & {"command", "python", "executor", "config", "tasks"}:
            if form.task_type is TaskType.WORKFLOW:
                self._nothing_to_run("tasks", say("a workflow needs at least one node in `tasks`"))
            else:
                self._nothing_to_run(
                    "", say("nothing to run: add command, python, tasks, or executor and config")
                )
        return None

    def _nothing_to_run(self, word: str, message: str) -> None:
        """REST accepts it with a warning, and so does the file that REST writes of it (`config: {}`)."""
        if self._origin == "rest" or (self._dressed.empty_config and self._form.task_type):
            self._warnings.append(NOTHING_TO_RUN)
        else:
            self._fault((word,) if word else (), message, NOTHING_TO_RUN)

    def _task_type(self, schedule: Schedule | None, wrong: set[str], *, runs: bool) -> TaskType:
        form = self._form
        said = form.task_type
        has_schedule = schedule is not None or bool(wrong & set(_STARTS)) or self._is_told()
        inferred = TaskType.COMMON if has_schedule else TaskType.MANUAL
        inferred = TaskType.WORKFLOW if form.tasks is not None else inferred
        if said is None:
            return inferred
        if form.tasks is not None and said is not TaskType.WORKFLOW:
            self._fault(
                ("task_type",),
                say("a task with `tasks` is a workflow, not a {task_type}", task_type=said.value),
                "conflict",
            )
        if said is TaskType.WORKFLOW and form.tasks is None and runs:
            self._fault(
                ("task_type",), say("a workflow has its nodes in `tasks`, and this has none"), "conflict"
            )
        if said is TaskType.MANUAL:
            for word in _STARTS:
                if getattr(form, word) is not None:
                    message = say(
                        "a manual_task has no schedule: leave out {word}, or make it a common_task", word=word
                    )
                    self._fault((word,), message, "conflict")
        if said is TaskType.COMMON and not has_schedule and not self.errors:
            self._warnings.append(SCHEDULE_MISSING)
        return said

    def _is_told(self) -> bool:
        """Whether events start it."""
        return any(getattr(self._form, word) is not None for word in EVENT_WORDS)

    def _check_params(self, params: Mapping[str, Any], required: Collection[str], *, scheduled: bool) -> None:
        for name in sorted(required):
            if scheduled and name not in params:
                message = say(
                    "the parameter {name!r} has no default, and a schedule gives none: add one, or `params`",
                    name=name,
                )
                self._fault(("params",), message, "missing_default")
        for name in self._form.params or {}:
            if not 1 <= len(name) <= 100:
                self._fault(("params", name), say("the name of a param has 1 to 100 characters"))
        for path in references(self._form.params):
            self._fault(
                ("params",),
                say("a reference ({path:.80}) has a meaning only in a node's params", path=repr(path)),
                "invalid_reference",
            )

    def _fault(self, path: Path, message: str, code: str = "invalid_value") -> None:
        self.errors.append(FieldError(path, message, code))


def _empty_words(raw: Mapping[str, Any]) -> list[FieldError]:
    """A key without a value in a file is half a thought: better asked than guessed."""
    found: list[FieldError] = []
    if None in raw.values():
        found += (_empty((key,)) for key, value in raw.items() if value is None)
    nodes = raw.get("tasks")
    if isinstance(nodes, (list, tuple)):
        for index, node in enumerate(nodes):
            if isinstance(node, Mapping) and None in node.values():
                found += (_empty(("tasks", index, key)) for key, value in node.items() if value is None)
    return found


def _empty(path: Path) -> FieldError:
    hint = say("; `none` lifts it") if str(path[-1]).endswith("timeout") else ""
    return FieldError(
        path,
        say("{path!r} has no value: give it one, or leave it out{hint}", path=path[-1], hint=hint),
        "empty",
    )


def _rewritten(error: FieldError, dressed: Dressed) -> FieldError:
    path = dressed.path_of(error.path)
    return error if path == error.path else FieldError(path, error.message, error.code)


def _unique(errors: Iterable[FieldError]) -> list[FieldError]:
    """One fault for each place, in order: the first says it best."""
    found: dict[tuple[Path, str], FieldError] = {}
    for error in errors:
        found.setdefault((error.path, error.message), error)
    empty = {error.path for error in found.values() if error.code == "empty"}
    return [error for error in found.values() if error.code == "empty" or error.path not in empty]


@functools.cache
def _machine_zone() -> ZoneInfo:
    import tzlocal

    try:
        return tzlocal.get_localzone()
    except (OSError, ValueError):
        return ZoneInfo("UTC")
