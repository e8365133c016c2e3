"""Which words does a file get for what a REST body says?

A body may be in the origin's clothes, names tasks by id, and a change says only what is to differ. A file has our words,
names tasks by name, and says a `task_type` only where nobody would guess it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from zquant_flow.core.model import TaskType
from zquant_flow.definitions.actions import Executors
from zquant_flow.definitions.clothes import Dressed, undress
from zquant_flow.definitions.faults import DefinitionErrors, FieldError, did_you_mean
from zquant_flow.definitions.forms import TaskForm
from zquant_flow.definitions.nodes import TaskNames
from zquant_flow.definitions.schedules import SCHEDULE_WORDS
from zquant_flow.definitions.schema import EVENT_WORDS, REST_MAX_RETRIES
from zquant_flow.wording import say

_RUNNABLE = ("command", "python", "executor", "tasks")
_OF_CONFIG = (
    *(*_RUNNABLE, "config", "shell", "env", "working_dir", "timeout", "isolation"),
    *("workflow_type", "on_failure", "max_parallel", "workflow_timeout"),
)
"""What a body says in `config`, which is replaced whole (SEMANTICS §2.6)."""
_RENAMED = {"cron_expression": "cron", "interval_seconds": "interval"}


def created(raw: Mapping[str, Any], name: str, executors: Executors, task_name: TaskNames) -> dict[str, Any]:
    """The words of a new file for a body that has been parsed; `name` is the parsed one."""
    words = {**undress(raw, executors, nulls_are_absent=True).words, "name": name}
    words.setdefault("max_retries", REST_MAX_RETRIES)
    if not _runs(words):
        words["config"] = {}
        words.setdefault("task_type", _inferred_type(words))
    elif words.get("task_type") == _inferred_type(words):
        del words["task_type"]
    return named(words, task_name)


def changed(
    raw: Mapping[str, Any], document: Mapping[str, Any], task_type: TaskType, executors: Executors
) -> Dressed:
    """What a change replaces in a document's words, None for what it removes; nodes stay as they were sent.

    The type is what the body says, else what it was. Raises DefinitionErrors for a body that contradicts itself.
    """
    dressed = undress(raw, executors, nulls_are_absent=True)
    cleared = [key for key, value in raw.items() if value is None]
    errors = [*dressed.errors, *_not_clearable(cleared)]
    if errors:
        raise DefinitionErrors(errors)
    words: dict[str, Any] = {_RENAMED.get(key, key): None for key in cleared}
    if "config" in raw:
        words |= dict.fromkeys(_OF_CONFIG)
    if any(dressed.words.get(key) is not None for key in SCHEDULE_WORDS):
        words |= dict.fromkeys(SCHEDULE_WORDS)
    words |= dressed.words
    _settle_config(words, document)
    _settle_type(words, document, task_type)
    dressed.words = words
    return dressed


def _not_clearable(cleared: Iterable[str]) -> Iterator[FieldError]:
    for key in cleared:
        if key == "name":
            yield FieldError((key,), say("a task has a name: give it another, or leave this out"), "missing")
        elif _RENAMED.get(key, key) not in TaskForm.model_fields:
            message = say(
                "unknown key {word!r}{hint}", word=key[:100], hint=did_you_mean(key, TaskForm.model_fields)
            )
            yield FieldError((key,), message, "unknown_key")


def merged(document: Mapping[str, Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """The document with each word in place of its own, without those that are None."""
    after = {**document, **words}
    return {key: value for key, value in after.items() if key not in words or value is not None}


def named(words: Mapping[str, Any], task_name: TaskNames) -> dict[str, Any]:
    """The words with node ids and the numbers among dependencies as names; they have been parsed."""
    nodes = words.get("tasks")
    if not nodes:
        return dict(words)
    names = {node["task_id"]: node.get("name") or task_name(node["task_id"]) for node in _with_id(nodes)}
    return {**words, "tasks": [_named_node(node, names, task_name) for node in nodes]}


def _with_id(nodes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [node for node in nodes if node.get("task_id") is not None]


def _named_node(
    node: Mapping[str, Any], names: Mapping[int, str | None], task_name: TaskNames
) -> dict[str, Any]:
    out = dict(node)
    task_id, waits_for = out.pop("task_id", None), out.pop("dependencies", None)
    if task_id is not None:
        out = {"name": names[task_id], "task": task_name(task_id), **out}
    if waits_for:
        out["dependencies"] = [names[item] if isinstance(item, int) else item for item in waits_for]
    return out


def _settle_config(words: dict[str, Any], document: Mapping[str, Any]) -> None:
    """A file with nothing to run says so with an empty `config`."""
    after = merged(document, words)
    if not _runs(after):
        words["config"] = after.get("config") or {}
    elif after.get("config") == {} and not after.get("executor"):
        words["config"] = None


def _settle_type(words: dict[str, Any], document: Mapping[str, Any], before: TaskType) -> None:
    """A change that does not name the type does not change it; it is written where it would not be inferred."""
    after = merged(document, words)
    inferred = _inferred_type(after)
    said = words.pop("task_type", before.value) or inferred
    if "task_type" in document or said != inferred or not _runs(after):
        words["task_type"] = said


def _runs(words: Mapping[str, Any]) -> bool:
    return any(words.get(key) for key in _RUNNABLE)


def _inferred_type(words: Mapping[str, Any]) -> str:
    """What a file with these words would be without saying it (SEMANTICS §3)."""
    if words.get("tasks"):
        return TaskType.WORKFLOW.value
    scheduled = any(words.get(key) for key in (*SCHEDULE_WORDS, *EVENT_WORDS))
    return TaskType.COMMON.value if scheduled else TaskType.MANUAL.value
