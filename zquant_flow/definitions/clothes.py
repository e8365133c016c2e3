"""Which of our words does a definition mean that comes in other clothes?

The origin's REST bodies say `cron_expression`, `interval_seconds`, and put what runs inside `config`. They become the
words of a file here, with a note of where each was written, so that errors speak of the user's own text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.wording import say

_RENAMED = {"cron_expression": "cron", "interval_seconds": "interval"}
_RENAMED_IN_CONFIG = {"timeout_seconds": "timeout", "task_action": "executor"}
_FROM_CONFIG = frozenset(
    {
        *("command", "python", "shell", "env", "working_dir", "timeout", "timeout_seconds", "task_action"),
        *("workflow_type", "tasks", "on_failure", "max_parallel", "workflow_timeout", "isolation", "params"),
    }
)
_ALWAYS_OURS = frozenset({"task_action", "timeout_seconds"})
_OURS_IN_BODIES = _ALWAYS_OURS | {"timeout", "env", "working_dir", "isolation"}
"""What an answer has in the `config` of a task of any executor, so that it can be sent back."""
_BUILT_IN = (None, "command", "python", "workflow")


@dataclass(slots=True)
class Dressed:
    """A definition in our words; `written` tells where a word stood, if not under its own name."""

    words: dict[str, Any]
    executors: Mapping[str, type[BaseModel] | None]
    nulls_are_absent: bool
    written: dict[Path, Path] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)
    empty_config: bool = False

    def path_of(self, path: Path) -> Path:
        """The path in the user's own text."""
        for length in range(len(path), 0, -1):
            found = self.written.get(path[:length])
            if found is not None:
                return found + path[length:]
        return path


def undress(
    raw: Mapping[str, Any], executors: Mapping[str, type[BaseModel] | None], *, nulls_are_absent: bool
) -> Dressed:
    """The words of a file for what `raw` says in any of the accepted forms."""
    dressed = Dressed(dict(raw), executors, nulls_are_absent)
    if nulls_are_absent:
        dressed.words = _without_nulls(raw)
    words = dressed.words
    for old, new in _RENAMED.items():
        if old in words:
            _move(dressed, (old,), words.pop(old), new)
    if "config" in words:
        _open_config(dressed, words, ())
    nodes = words.get("tasks")
    if isinstance(nodes, (list, tuple)) and (
        nulls_are_absent or any(isinstance(node, dict) and "config" in node for node in nodes)
    ):
        _open_nodes(dressed, nodes)
    return dressed


def _open_nodes(dressed: Dressed, nodes: Any) -> None:
    opened = []
    for index, node in enumerate(nodes):
        if isinstance(node, dict):
            node = _without_nulls(node) if dressed.nulls_are_absent else dict(node)
            if "config" in node:
                _open_config(dressed, node, ("tasks", index))
        opened.append(node)
    dressed.words["tasks"] = opened


def _without_nulls(words: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in words.items() if value is not None}


def _open_config(dressed: Dressed, words: dict[str, Any], base: Path) -> None:
    config = words["config"]
    if not isinstance(config, dict):
        return
    del words["config"]
    if not base:
        dressed.empty_config = not config
    executor = words.get("executor") or config.get("task_action")
    lifted = _lifted_from(executor, dressed)
    kept = {}
    for key, value in config.items():
        if dressed.nulls_are_absent and value is None and key in _FROM_CONFIG:
            continue
        if key in lifted:
            new = _RENAMED_IN_CONFIG.get(str(key), str(key))
            _move(dressed, (*base, "config", key), value, new, words, base)
        else:
            kept[key] = value
    if kept or executor not in _BUILT_IN:
        words["config"] = kept


def _lifted_from(executor: Any, dressed: Dressed) -> frozenset[str]:
    """The keys of `config` that are ours; a plugin's own fields stay the plugin's."""
    if executor in _BUILT_IN:
        return _FROM_CONFIG
    model = dressed.executors.get(executor) if isinstance(executor, str) else None
    ours = _OURS_IN_BODIES if dressed.nulls_are_absent and model else _ALWAYS_OURS
    return ours.difference(model.model_fields if model else ())


def _move(
    dressed: Dressed, source: Path, value: Any, key: str, words: dict[str, Any] | None = None, base: Path = ()
) -> None:
    words = dressed.words if words is None else words
    here = dressed.path_of(source)
    if key in words:
        there = ".".join(map(str, dressed.path_of((*base, key))))
        message = say(
            "{first!r} and {second!r} say the same thing: keep one of them", first=source[-1], second=there
        )
        dressed.errors.append(FieldError(here, message, "conflict"))
        return
    words[key] = value
    dressed.written[(*base, key)] = here
