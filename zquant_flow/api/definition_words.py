"""Which schemas do the bodies have that hold a definition? Those of task files, and the origin's words beside them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_NAMES = {
    "NodeForm": "NodeDefinition",
    "RuleForm": "ScheduleRule",
    "BackoffForm": "RetryBackoff",
    "AfterForm": "RunAfter",
    "ApprovalForm": "Approval",
    "RangeForm": "ItemRange",
    "On": "AwaitedEnd",
    "WebhookForm": "Webhook",
    "OnFileForm": "OnFile",
    "NotifyForm": "Notify",
}
_IN_CONFIG = (
    *("command", "python", "shell", "env", "working_dir", "timeout", "isolation", "params"),
    *("workflow_type", "tasks", "on_failure", "max_parallel", "workflow_timeout"),
)
"""Words of a task file that the origin's `config` holds."""


def schemas() -> Json:
    """Component schemas by name: `TaskDefinition`, `TaskDraft` with any part of it, and those that they are made of."""
    # Imported late: 0.1 s that a start without such requests never pays.
    from zquant_flow.definitions.schema import json_schema

    form = json_schema()
    parts = {_NAMES.get(name, name): part for name, part in form["$defs"].items()}
    words = form["properties"]
    parts["NodeDefinition"]["properties"]["config"] = {"$ref": "#/$defs/TaskConfig"}
    named: Json = {}
    made = {
        **parts,
        "TaskConfig": _config(words),
        "TaskDefinition": _definition(words),
        "TaskDraft": _draft(words),
    }
    found = {name: _referring(schema, named) for name, schema in made.items()}
    found["NodeDefinition"]["description"] = "A node of a workflow: its own work, or a task by name or id."
    return {**found, **named}


def _definition(words: Json) -> Json:
    return {
        "title": "TaskDefinition",
        "description": "A task or workflow in the words of task files, or in the origin's: `cron_expression` for `cron`, "
        "`interval_seconds` for `interval`, `config` for what runs. `null` is as good as absent.",
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": words["name"], **_optional(_dressed(words))},
    }


def _draft(words: Json) -> Json:
    return {
        "title": "TaskDraft",
        "description": "Any of the words of `TaskDefinition`. In a change: those that are to differ; `null` clears one.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"name": words["name"], **_optional(_dressed(words))},
        "examples": [{"cron_expression": "0 19 * * 1-5", "description": "an hour later"}],
    }


def _config(words: Json) -> Json:
    return {
        "title": "TaskConfig",
        "description": "What runs, in the origin's words: a command, a function, a workflow's nodes; or `task_action` with "
        "the name of an executor and that executor's own fields (`/executors/{name}/schema`).",
        "type": "object",
        "additionalProperties": True,
        "properties": _optional(
            {
                **{key: words[key] for key in _IN_CONFIG},
                "timeout_seconds": {**words["timeout"], "title": "Timeout Seconds"},
                "task_action": {**words["executor"], "title": "Task Action"},
            }
        ),
    }


def _dressed(words: Json) -> Json:
    """The words of a file without the name, and those of the origin."""
    return {
        **{key: schema for key, schema in words.items() if key != "name"},
        "cron_expression": {**words["cron"], "title": "Cron Expression"},
        "interval_seconds": {**words["interval"], "title": "Interval Seconds"},
        "config": {"$ref": "#/$defs/TaskConfig"},
    }


def _optional(words: Json) -> Json:
    """The same, each of them or null."""
    return {key: _or_null(schema) for key, schema in words.items()}


def _or_null(schema: Json) -> Json:
    about: Json = {key: schema[key] for key in ("title", "description") if key in schema}
    bare = {key: value for key, value in schema.items() if key not in (*about, "default")}
    options = bare.get("anyOf", [bare])
    return {**about, "anyOf": [*options, {"type": "null"}]}


def _referring(schema: Any, named: Json) -> Any:
    """The schema with references among components; what is spelled out again and again gets a name in `named`."""
    if isinstance(schema, list):
        return [_referring(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _referring(value, named) for key, value in schema.items()}
    if isinstance(reference := out.get("$ref"), str):
        word = reference.rpartition("/")[2]
        out["$ref"] = f"#/components/schemas/{_NAMES.get(word, word)}"
    if (title := out.get("title")) in _NAMES:
        out["title"] = name = _NAMES[title]
        if title == "BackoffForm":
            named[name] = out
            return {"$ref": f"#/components/schemas/{name}"}
    return out
