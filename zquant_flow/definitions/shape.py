"""Has this the shape of a definition?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from zquant_flow.definitions.clothes import Dressed
from zquant_flow.definitions.faults import FieldError, Path
from zquant_flow.definitions.forms import TaskForm
from zquant_flow.definitions.messages import MAX_FAULTS, explain
from zquant_flow.wording import say

MAX_KEYS = 200


def validated(dressed: Dressed, errors: list[FieldError]) -> TaskForm | None:
    """The form of these words; where parts have faults, of what remains without them, so that meaning is checked too.

    None where too little remains.
    """
    words = dressed.words
    if (crowded := _too_many_keys(words)) is not None:
        errors.append(
            FieldError(
                crowded,
                say("more than {count} keys: this can't be a task", count=MAX_KEYS),
                "too_many_keys",
            )
        )
        return None
    for _ in range(5):
        try:
            return TaskForm.model_validate(words)
        except ValidationError as exc:
            errors += explain(exc, dressed)
            if exc.error_count() > MAX_FAULTS:
                return None
            words = _pruned(
                words, [error["loc"] for error in exc.errors(include_url=False, include_input=False)]
            )
    return None


def _too_many_keys(words: Mapping[str, Any]) -> Path | None:
    """Where a mapping has more keys than anyone writes; each would cost an error of its own."""
    if len(words) > MAX_KEYS:
        return ()
    nodes = words.get("tasks")
    for index, node in enumerate(nodes if isinstance(nodes, (list, tuple)) else ()):
        if isinstance(node, Mapping) and len(node) > MAX_KEYS:
            return ("tasks", index)
    return None


def _pruned(words: dict[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A copy without the parts at `paths`; what is needed gets a stand-in, and nodes keep their places."""
    out = dict(words)
    for path in paths:
        if path == ("name",):
            out["name"] = "?"
        elif len(path) == 1 or path[0] != "tasks":
            out.pop(str(path[0]), None)
        elif "tasks" in out:
            out["tasks"] = [
                _pruned_node(node, path) if index == path[1] else node
                for index, node in enumerate(out["tasks"])
            ]
    return out


def _pruned_node(node: Any, path: Path) -> dict[str, Any]:
    stand_in = {"name": f"?{path[1]}", "command": "true"}
    if len(path) == 2 or not isinstance(node, Mapping):
        return stand_in
    out = {key: value for key, value in node.items() if key != path[2]}
    if path[2] in stand_in:
        out[path[2]] = stand_in[path[2]]
    elif path[2] in ("task", "task_id", "python", "executor", "approval") and not out.keys() & _RUNS:
        out["command"] = "true"
    return out


_RUNS = frozenset({"command", "python", "executor", "task", "task_id", "approval"})


def json_schema(configs: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file form, for editors. `configs`: of executors, whose `config` it describes too."""
    schema = _without_sources(TaskForm.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "zquant-flow task or workflow"
    told = [
        _told(name, model, schema["$defs"])
        for name, model in (configs or {}).items()
        if name not in _OWN_WORDS
    ]
    if told:
        for form in (schema, schema["$defs"]["NodeForm"]):
            form["allOf"] = told
    return _without_nulls(schema)  # type: ignore[no-any-return]


_OWN_WORDS = ("command", "python")
"""Executors whose config stands in words of their own."""
_TEMPLATE = {"type": "string", "pattern": r"\{\{"}


def _told(executor: str, model: type[BaseModel], defs: dict[str, Any]) -> dict[str, Any]:
    """What `config` is where a task names this executor; a template may stand for any value. Its own parts go into `defs`."""
    config = _without_sources(model.model_json_schema(ref_template=f"#/$defs/{executor}.{{model}}"))
    defs |= {f"{executor}.{name}": part for name, part in config.pop("$defs", {}).items()}
    for name, field in config.get("properties", {}).items():
        config["properties"][name] = {"anyOf": [field, _TEMPLATE]}
    return {
        "if": {"properties": {"executor": {"const": executor}}, "required": ["executor"]},
        "then": {"properties": {"config": config}},
    }


def _without_sources(schema: Any) -> Any:
    """The schema without the pointers to our design that docstrings carry."""
    if isinstance(schema, dict):
        return {key: _without_sources(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_without_sources(item) for item in schema]
    return _SOURCE.sub("", schema) if isinstance(schema, str) else schema


_SOURCE = re.compile(r" \((?:SEMANTICS|CONTRACT|DESIGN)[^)]*\)")


def _without_nulls(schema: Any) -> Any:
    """pydantic's `X | null` for what may be absent is, in a file, only X."""
    if isinstance(schema, list):
        return [_without_nulls(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {
        key: _without_nulls(value)
        for key, value in schema.items()
        if not (key == "default" and value is None)
    }
    options = out.get("anyOf")
    if isinstance(options, list):
        rest = [option for option in options if option != {"type": "null"}]
        if len(rest) == 1:
            del out["anyOf"]
            out = {
                **rest[0],
                **{key: value for key, value in out.items() if key != "title" or "title" not in rest[0]},
            }
        else:
            out["anyOf"] = rest
    return out
