"""What does the OpenAPI document say?

What the routes know, and what they can't: the errors of each operation, the words of definitions (one schema with task
files), which values a word can have, and a sentence for every parameter.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from zquant_flow.api import definition_words, models
from zquant_flow.core.status import ScheduleStatus, Status, TriggerType
from zquant_flow.store import tasklist

Json = dict[str, Any]

_ABOUT = (
    "Instants are ISO 8601 with offset; one without offset in a request is in the server's zone. Names that end in "
    "`_seconds` are seconds, percentages are 0 to 100. Every error is an `ErrorOut`: a `code` for machines, `detail` for "
    "people in the language that `Accept-Language` prefers."
)
_TAGS = {
    "operations": "What tasks can be told to do.",
    "tasks": "Definitions of work, with their versions.",
    "workflows": "Graphs of nodes, and whether a definition is sound.",
    "schedule": "What fired, what will, and why a task is or is not running.",
    "executions": "What has run, runs, or waits to.",
    "logs": "What executions wrote.",
    "events": "What changes, as it changes.",
    "statistics": "Counts, rates and durations.",
    "pools": "Limits that tasks share.",
    "notifications": "By which ways people are told, and whether they work.",
    "tokens": "Who may ask.",
    "system": "What is installed here, and what could not be loaded.",
    "webhooks": "Where other systems start tasks; what comes there is signed.",
    "health": "For machines; from this machine no token is needed.",
}
_ERRORS = {
    400: (
        "Meaningless",
        "Well-formed, and nothing that can be done; `errors` has the fields.",
        "bad_request",
    ),
    401: (
        "Unauthorized",
        "No token, or not one of ours; to a webhook, no signature by its secret.",
        "unauthorized",
    ),
    403: ("Forbidden", "For others to do.", "not_approver"),
    404: ("NotFound", "Nothing has that id or name.", "task_not_found"),
    409: ("Conflict", "The state of the thing does not allow this now.", "wrong_state"),
    412: ("Outdated", "`If-Match` names another state than it has by now.", "precondition_failed"),
    413: ("TooLarge", "The body is over 4 MiB; to a webhook, over 256 KiB.", "too_large"),
    422: ("Malformed", "Of the wrong shape; `errors` has the fields.", "invalid_request"),
    429: ("Busy", "One of these is under way, and there is room for no other.", "busy"),
    503: ("Unavailable", "Starting, stopping, or the database is away: try again.", "unavailable"),
}
_HEADERS = {
    401: {"WWW-Authenticate": "`Bearer`; not where only the place of the caller is wrong."},
    503: {"Retry-After": "Seconds."},
}
_HEADERS_OF_ANSWERS = {"ETag": "For `If-Match`.", "X-Next-Offset": "The `offset` to go on with."}
_ALSO: Mapping[str, tuple[int, ...]] = {
    "trigger_task": (409,),
    "put_pool": (409,),
    "delete_pool": (409,),
    "create_task": (409,),
    "change_task": (409,),
    "delete_task": (409,),
    "backfill_task": (409,),
    "cancel_backfill": (409,),
    "call_hook": (400, 404, 409, 413, 422, 503),
    "create_token": (409,),
    "get_workflow": (409,),
    "terminate_execution": (409,),
    "pause_execution": (409,),
    "resume_execution": (409,),
    "mark_execution": (409,),
    "rerun_node": (409,),
    "approve_execution": (403, 409),
    "reject_execution": (403, 409),
    "list_tasks": (400,),
    "list_executions": (400,),
    "list_task_executions": (400,),
    "get_execution": (400,),
    "get_task_execution": (400,),
    "list_fires": (400,),
    "list_upcoming": (400,),
    "simulate": (400, 404, 429),
    "get_stats": (400, 404),
    "get_stats_series": (400, 404),
    "list_task_stats": (400,),
    "stream_events": (400,),
}
"""Errors that the shape of an operation does not tell."""
_PARAMETERS = {
    "task_id": "The id of a task.",
    "execution_id": "The id of an execution.",
    "root_execution_id": "Only this execution and what belongs to it.",
    "token_id": "The id of a token.",
    "backfill_id": "The id of a backfill: that of its first execution.",
    "version": "The number of a version, from 1.",
    "skip": "So many of the first ones are left out; `cursor` is quicker and stays right.",
    "limit": "At most so many.",
    "cursor": "`next_cursor` of the page before, as it is.",
    "name": "Exactly this name.",
    "task_type": "Only of this type.",
    "enabled": "Only those that are, or are not.",
    "paused": "Only those that are, or are not.",
    "status": "Only with one of these.",
    "trigger_type": "Only with one of these: " + ", ".join(TriggerType) + ".",
    "waiting_for": "Only that waits for this.",
    "order_by": "What they are sorted by.",
    "order": "In which direction.",
    "q": "Only with this text in name or description.",
    "tag": "Only with this tag.",
    "source": "Only of this file or folder of tasks.",
    "archived": "Archived ones too.",
    "include_nodes": "Nodes of workflows too, under their tasks.",
    "include": "What to show beside.",
    "new_id": "Start afresh under the name of an archived task.",
    "force": "Although workflows refer to it.",
    "terminate": "End what runs of it.",
    "since": "From this instant on.",
    "until": "Up to this instant.",
    "from": "From this instant on.",
    "to": "Up to this instant.",
    "step_seconds": "How long a step is.",
    "attempt": "From 1; the latest without.",
    "offset": "From this byte on.",
    "node": "The name of a node of the workflow.",
    "types": "Kinds with commas between; all without.",
}
_CHOICES = {
    ("TaskOut", "task_type"): "TaskType",
    ("TaskOut", "schedule_status"): "ScheduleStatus",
    ("TaskOut", "latest_execution_status"): "Status",
    ("TaskOut", "overlap"): "Overlap",
    ("NodeOut", "trigger_rule"): "TriggerRule",
    ("WorkflowNodeOut", "trigger_rule"): "TriggerRule",
    ("WorkflowNodeOut", "status"): "Status",
    ("WorkflowOut", "workflow_type"): "WorkflowType",
    ("WorkflowOut", "on_failure"): "OnFailure",
    ("ExecutionOut", "status"): "Status",
    ("ExecutionOut", "trigger_type"): "TriggerType",
    ("RunIn", "definition"): "TaskDefinition",
    ("BulkIn", "action"): "BulkAction",
    ("ApprovalOut", "on_timeout"): "OnTimeout",
    ("ExecutionOut", "marked_status"): "MarkStatus",
    ("MarkIn", "status"): "MarkStatus",
    ("RerunIn", "version"): "ResumeVersion",
}
"""Fields whose schema has a name."""
_OF_PARAMETERS = {
    ("list_tasks", "order_by"): "TaskOrder",
    ("list_task_stats", "order_by"): "TaskStatsOrder",
    ("resume_execution", "version"): "ResumeVersion",
    ("list_tasks", "order"): "Order",
    ("list_task_stats", "order"): "Order",
}
"""The same for parameters; the schema with that name is that of the parameter, where nothing else says it."""
_BODIES = {
    "create_task": "TaskDefinition",
    "change_task": "TaskDraft",
    "validate_workflow": "TaskDraft",
    "validate_task_workflow": "TaskDraft",
    "trigger_task": "TriggerIn",
    "call_hook": "HookBody",
    "approve_execution": "CommentIn",
    "reject_execution": "CommentIn",
}
_TAGGED = frozenset({"create_task", "get_task", "change_task"}) | {
    f"{action}_task" for action in ("enable", "disable", "pause", "resume")
}
"""Operations whose answer has an `ETag`."""


def described(app: FastAPI) -> Json:
    """The OpenAPI 3.1 document of this application; made when it is asked for the first time."""
    known: Json | None = getattr(app.state, "description", None)
    if known is None:
        known = app.state.description = _document(copy.deepcopy(FastAPI.openapi(app)))
    return known


def _document(document: Json) -> Json:
    document["info"] |= {
        "description": _ABOUT,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    document["servers"] = [{"url": "/"}]
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    components = document["components"]
    components["responses"] = {name: _error(status) for status, (name, *_) in _ERRORS.items()}
    _name_schemas(components["schemas"])
    for operation in _operations(document):
        _tell(operation, components["schemas"])
    return document


def _operations(document: Json) -> Iterator[Json]:
    for methods in document["paths"].values():
        yield from methods.values()


def _name_schemas(schemas: Json) -> None:
    """The schemas of definitions and choices, and references to them where the models have only text or mappings."""
    for name, schema in schemas.items():
        if "examples" in schema:  # the framework leaves out what is null
            schema["examples"] = getattr(models, name).model_config["json_schema_extra"]["examples"]
    schemas |= definition_words.schemas()
    schemas["TaskOrder"] = {"title": "TaskOrder", "type": "string", "enum": list(tasklist.ORDER)}
    schemas["BulkAction"] = {**schemas["BulkIn"]["properties"]["action"], "title": "BulkAction"}
    schemas["MarkStatus"] = {**schemas["MarkIn"]["properties"]["status"]["anyOf"][0], "title": "MarkStatus"}
    schemas |= {kind.__name__: _choice(kind) for kind in (Status, ScheduleStatus, TriggerType)}
    _share(list(schemas.values()))
    schemas["Params"] = {
        "title": "Params",
        "description": "Values by name, any JSON.",
        "type": "object",
        "additionalProperties": True,
    }
    schemas["HookBody"] = {
        "title": "HookBody",
        "description": "Whatever the sender says, as JSON; or text.",
        "examples": [{"ref": "refs/heads/main"}],
    }
    schemas["Environment"] = {
        "title": "Environment",
        "description": "Environment variables by name.",
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }
    for (model, field), name in _CHOICES.items():
        properties, reference = schemas[model]["properties"], _reference(name)
        optional = "anyOf" in properties[field]
        properties[field] = {"anyOf": [reference, {"type": "null"}]} if optional else reference


def _share(schema: Any) -> None:
    """References to `Params` and `Environment` wherever there are such values."""
    if isinstance(schema, list):
        for item in schema:
            _share(item)
    if not isinstance(schema, dict):
        return
    for key, name in (("params", "Params"), ("env", "Environment")):
        field = schema.get("properties", {}).get(key)
        if field is None:
            continue
        if field.get("type") == "object":
            schema["properties"][key] = _reference(name)
        else:
            field["anyOf"] = [
                _reference(name) if "object" in str(item.get("type")) else item for item in field["anyOf"]
            ]
    for value in schema.values():
        _share(value)


def _choice(kind: Any) -> Json:
    return {
        "title": kind.__name__,
        "type": "string",
        "enum": [item.value for item in kind],
        "description": kind.__doc__.partition(" (SEMANTICS")[0].rstrip("."),
    }


def _tell(operation: Json, schemas: Json) -> None:
    """What the operation does, takes and answers."""
    name, parameters = operation["operationId"], operation.get("parameters", [])
    first = operation["description"].partition("\n")[0]
    operation["summary"] = first.split(". ")[0].rstrip(".")
    for parameter in parameters:
        if "description" not in parameter:
            parameter["description"] = _PARAMETERS[parameter["name"]]
        schema = _of_parameter(parameter["schema"])
        parameter["schema"] = _named(schema, _OF_PARAMETERS.get((name, parameter["name"])), schemas)
    body = operation.get("requestBody")
    if body is not None and name in _BODIES:
        body["content"]["application/json"]["schema"] = _reference(_BODIES[name])
    operation["responses"] = _responses(operation)


def _of_parameter(schema: Json) -> Json:
    """What may stand in a query: no null there, it is left out; the description is the parameter's."""
    bare = {key: value for key, value in schema.items() if key not in ("title", "description")}
    options = [option for option in bare.pop("anyOf", []) if option != {"type": "null"}]
    return (
        {**bare, **options[0]} if len(options) == 1 else {**bare, **({"anyOf": options} if options else {})}
    )


def _named(schema: Json, name: str | None, schemas: Json) -> Json:
    """A reference to the schema of that name, which is made of this one where there is none."""
    if name is None:
        return schema
    default = {"default": schema["default"]} if "default" in schema else {}
    schemas.setdefault(
        name, {"title": name, **{key: value for key, value in schema.items() if key != "default"}}
    )
    return {**_reference(name), **default}


def _responses(operation: Json) -> Json:
    """The answers, with an error for each status that this operation can have."""
    found = {
        status: answer for status, answer in operation["responses"].items() if status not in ("4XX", "503")
    }
    header = "X-Next-Offset" if operation["operationId"] == "get_log" else ""
    if operation["operationId"] in _TAGGED:
        header = "ETag"
    if header:
        about = {"description": _HEADERS_OF_ANSWERS[header], "required": True, "schema": {"type": "string"}}
        next(iter(found.values()))["headers"] = {header: about}
    found.update({str(status): _response(status) for status in sorted(_statuses(operation))})
    if operation["operationId"] == "readyz":
        found["503"] = {**found["200"], "description": "Stopped."}
    return found


def _statuses(operation: Json) -> set[int]:
    if "security" not in operation:
        return {401, *_ALSO.get(operation["operationId"], ())}
    parameters = operation.get("parameters", [])
    places, names = {item["in"] for item in parameters}, {item["name"] for item in parameters}
    found = {401, 503, *_ALSO.get(operation["operationId"], ())}
    found |= {404} if "path" in places else set()
    found |= {422} if parameters else set()
    found |= {412} if "If-Match" in names else set()
    found |= {400, 413, 422} if "requestBody" in operation else set()
    return found


def _error(status: int) -> Json:
    _, text, code = _ERRORS[status]
    content = {"schema": _reference("ErrorOut"), "example": {"code": code, "detail": "..."}}
    answer: Json = {"description": text, "content": {"application/json": content}}
    if status in _HEADERS:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS[status].items()
        }
    return answer


def _response(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_ERRORS[status][0]}"}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
