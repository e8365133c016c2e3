"""What does an attempt do, by the words of a task or node?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from zquant_flow.core.model import (
    DEFAULT_RETRY_INTERVAL,
    DEFAULT_TIMEOUT,
    Action,
    Backoff,
    Isolation,
    RetryPolicy,
)
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.definitions.forms import UNBOUNDED, ActionForm, BackoffForm
from zquant_flow.definitions.messages import explain_config
from zquant_flow.errors import DefinitionError
from zquant_flow.plugin.contract import Configs
from zquant_flow.runner.words import find_operator, split_command
from zquant_flow.wording import joined, say

Executors = Mapping[str, type[BaseModel] | None]
OF_A_COMMAND = ("command", "python", "timeout_seconds", "shell", "env", "working_dir", "task_action")
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_QUOTES = re.compile(r"['\"\\]")
_PARAM = re.compile(r"\{\{\s*params\.(\w+)\s*\}\}")


def build_action(
    form: ActionForm,
    base: Path,
    executors: Executors,
    folder: str,
    errors: list[FieldError],
    outer: ActionForm | None,
) -> Action | None:
    """The action that a form describes, with the bounds of the workflow around it (`outer`) as defaults.

    None where nothing is said about what to run, or where that is wrong (then `errors` has grown).
    """
    executor = _executor_of(form, base, errors)
    if executor is None:
        if form.executor is None and form.command is None and form.python is None:
            _refuse_config(form, base, "task", errors)
        return None
    config = _config_of(executor, form, base, executors, folder, errors, outer)
    if config is None:
        return None
    return Action(
        executor=executor,
        config=config,
        env={**((outer and outer.env) or {}), **(form.env or {})},
        working_dir=_first(form.working_dir, outer and outer.working_dir, None),
        timeout=_timeout(_first(form.timeout, outer and outer.timeout, DEFAULT_TIMEOUT)),
        retry=build_retry(form, outer),
        isolation=_first(form.isolation, outer and outer.isolation, _isolation(executor, executors)),
        priority=_first(form.priority, outer and outer.priority, 0),
        pool=_first(form.pool, outer and outer.pool),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _isolation(executor: str, executors: Executors) -> Isolation:
    """What holds for tasks that don't say: what the executor says."""
    said = executors.isolations if isinstance(executors, Configs) else {}
    return Isolation(said.get(executor, Isolation.PROCESS))


def _timeout(bound: timedelta | str) -> timedelta | None:
    return None if bound == UNBOUNDED else bound  # type: ignore[return-value]


def build_retry(form: ActionForm, outer: ActionForm | None) -> RetryPolicy:
    """What a form says of retries; where it says nothing, what the one around it says."""
    backoff: BackoffForm | None = _first(form.retry_backoff, outer and outer.retry_backoff)
    return RetryPolicy(
        max_retries=_first(form.max_retries, outer and outer.max_retries, 0),
        interval=_first(form.retry_interval, outer and outer.retry_interval, DEFAULT_RETRY_INTERVAL),
        backoff=Backoff(factor=backoff.factor, cap=backoff.cap, jitter=backoff.jitter) if backoff else None,
    )


def _executor_of(form: ActionForm, base: Path, errors: list[FieldError]) -> str | None:
    said = [word for word in ("command", "python") if getattr(form, word) is not None]
    if len(said) == 2:
        errors.append(
            FieldError((*base, "python"), say("command and python: a task runs one of them"), "conflict")
        )
        return None
    executor = form.executor
    if said and executor not in (None, said[0]):
        message = say(
            "{word!r} is what the executor {word!r} runs, and this names {executor!r}: keep one of them",
            word=said[0],
            executor=executor,
        )
        errors.append(FieldError((*base, said[0]), message, "conflict"))
        return None
    if executor in ("command", "python") and not said:
        errors.append(
            FieldError(
                (*base, "executor"),
                say("{executor} is missing: say what to run", executor=executor),
                "missing",
            )
        )
        return None
    return said[0] if said else executor


def _config_of(
    executor: str,
    form: ActionForm,
    base: Path,
    executors: Executors,
    folder: str,
    errors: list[FieldError],
    outer: ActionForm | None,
) -> dict[str, Any] | None:
    if executor in ("command", "python"):
        _refuse_config(form, base, executor, errors)
    if executor == "command":
        assert form.command is not None
        return _command(form.command, _first(form.shell, outer and outer.shell), base, errors)
    if form.shell is not None:
        errors.append(
            FieldError((*base, "shell"), say("shell is for commands only: leave it out"), "conflict")
        )
    if executor == "python":
        assert form.python is not None
        module, _, function = form.python.partition(":")
        return {"module": module, "function": function, "folder": folder}
    return _plugin_config(executor, form.config or {}, base, executors, errors)


def _refuse_config(form: ActionForm, base: Path, what: str, errors: list[FieldError]) -> None:
    """Without an executor of a plugin, what is left in `config` is a misspelt key of ours."""
    for key in form.config or ():
        hint = did_you_mean(key, OF_A_COMMAND)
        message = say("unknown key {key!r} for a {what}{hint}", key=key[:100], what=what, hint=hint)
        errors.append(FieldError((*base, "config", key), message, "unknown_key"))


def _command(
    command: str | list[str], shell: Any, base: Path, errors: list[FieldError]
) -> dict[str, Any] | None:
    """Checks what can be checked before templates are rendered (SEMANTICS §5.1)."""
    path = (*base, "command")
    if isinstance(command, str):
        without = _TEMPLATE.sub("_", command) if "{{" in command else command
        if without is not command and (operator := find_operator(without)) is not None:
            errors.append(FieldError(path, _unsafe_template(command, operator), "template_in_shell"))
            return None
        try:
            if shell is False or _QUOTES.search(without):
                split_command(without, shell)
        except DefinitionError as exc:
            errors.append(FieldError(path, exc.detail))
            return None
    return {"command": command, "shell": shell}


def _unsafe_template(command: str, operator: str) -> str:
    found = _PARAM.search(command)
    name = f"ZQF_PARAM_{re.sub(r'[^0-9A-Za-z]', '_', found[1]).upper()}" if found else "ZQF_PARAM_NAME"
    return say(
        "{operator!r} makes this a shell command, and a template in one could run anything: "
        'use "${name}" in place of {{{{ }}}}',
        operator=operator,
        name=name,
    )


def _plugin_config(
    executor: str, config: dict[str, Any], base: Path, executors: Executors, errors: list[FieldError]
) -> dict[str, Any] | None:
    if executor not in executors:
        hint = did_you_mean(executor, executors) or say(
            ": known are {known}", known=joined(", ", sorted(executors)) or say("none")
        )
        errors.append(
            FieldError(
                (*base, "executor"),
                say("unknown executor {executor!r}{hint}", executor=executor[:100], hint=hint),
                "unknown_executor",
            )
        )
        return None
    model = executors[executor]
    if model is not None:
        try:
            model.model_validate(config)
        except ValidationError as exc:
            faults = explain_config(exc, model, (*base, "config"))
            errors.extend(faults)
            return None if faults else config
        except Exception as exc:
            # A plugin's validator: a fault of the plugin is an error of this task, never of the loader.
            message = say(
                "the executor {executor!r} can't check this: {error}",
                executor=executor,
                error=f"{type(exc).__name__}: {exc}",
            )
            errors.append(FieldError((*base, "config"), message))
            return None
    return config
