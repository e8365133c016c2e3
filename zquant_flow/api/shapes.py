"""How do rows become the JSON of tasks and executions? The shapes themselves are `models`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from zquant_flow.api.models import AttemptOut, ExecutionOut
from zquant_flow.core.approval import encode_approval
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import (
    DEFAULT_RETRY_INTERVAL,
    Action,
    After,
    Isolation,
    Node,
    OnFile,
    TaskDef,
    Workflow,
    encode_for_each,
    encode_overrides,
)
from zquant_flow.core.notify import encode_notify
from zquant_flow.core.params import json_schema
from zquant_flow.core.status import Status, schedule_status
from zquant_flow.definitions.json_values import MAX_DEPTH, to_plain
from zquant_flow.definitions.loader import LoadError
from zquant_flow.definitions.registry import Entry
from zquant_flow.engine.explain import Reason
from zquant_flow.engine.registration import ADHOC
from zquant_flow.plugin.plugins import Plugin


def task_out(
    row: Any,
    definition: TaskDef,
    *,
    active: Iterable[Any] = (),
    latest: Any = None,
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """A task from its row, its definition, its active executions and its latest one."""
    active = list(active)
    rules = definition.schedule.rules if definition.schedule else ()
    interval = next((rule.interval for rule in rules if rule.interval is not None), None)
    retry = definition.action.retry if definition.action else definition.retry
    return {
        "id": row.id,
        "name": shown_name(row.name),
        "job_id": f"task_{row.id}",
        "task_type": row.task_type,
        "cron_expression": next((rule.cron for rule in rules if rule.cron is not None), None),
        "interval_seconds": interval.total_seconds() if interval else None,
        "enabled": row.enabled,
        "paused": row.paused,
        "description": row.description,
        "config": config_out(definition),
        "max_retries": retry.max_retries,
        "retry_interval": retry.interval.total_seconds(),
        "created_by": row.created_by,
        "created_time": from_micros(row.created_time),
        "updated_by": row.updated_by,
        "updated_time": from_micros(row.updated_time),
        "latest_execution_id": row.latest_execution_id,
        "latest_execution_time": from_micros(row.latest_time),
        "latest_execution_status": row.latest_status,
        "latest_execution_current_item": latest.current_item if latest else None,
        "latest_execution_progress": latest.progress_percent if latest else None,
        "schedule_status": _schedule_status(row, active),
        "next_run_time": from_micros(row.next_fire) if row.archived_at is None else None,
        "timezone": definition.schedule.timezone if definition.schedule else None,
        "calendar": next((rule.calendar for rule in rules if rule.calendar is not None), None),
        "at": next((str(rule.at) for rule in rules if rule.at is not None), None),
        "tags": list(definition.tags),
        "source": row.source,
        "version": row.version,
        "content_hash": row.content_hash,
        "executor": definition.action.executor if definition.action else None,
        "params": dict(definition.params),
        "params_schema": json_schema(definition.param_specs, definition.params),
        "overlap": definition.overlap.value,
        "after": _after_out(definition.after),
        "produces": list(definition.produces),
        "consumes": list(definition.consumes),
        "webhook": definition.webhook.name if definition.webhook else None,
        "on_file": _on_file_out(definition.on_file),
        "notify": encode_notify(definition.notify) if definition.notify else None,
        "max_active_runs": definition.max_active_runs,
        "pool": definition.action.pool if definition.action else None,
        "jitter": definition.schedule.jitter.total_seconds() if definition.schedule else 0.0,
        "expected_within": definition.expected_within.total_seconds() if definition.expected_within else None,
        "archived_time": from_micros(row.archived_at),
        "warnings": list(warnings),
    }


def _after_out(after: After | None) -> dict[str, Any] | None:
    if after is None:
        return None
    within = None if after.within is None else after.within.total_seconds()
    return {"tasks": list(after.tasks), "on": after.on.value, "within": within}


def _on_file_out(on_file: OnFile | None) -> dict[str, Any] | None:
    if on_file is None:
        return None
    return {
        "glob": on_file.glob,
        "settle": on_file.settle.total_seconds() if on_file.settle is not None else None,
    }


def execution_out(row: Any, *, attempts: Iterable[Any] | None = None) -> dict[str, Any]:
    """An execution from its row."""
    status = Status(row.status)
    out = {
        "id": row.id,
        "task_id": row.task_id,
        "task_name": shown_name(row.task_name) if hasattr(row, "task_name") else None,
        "status": row.status,
        "start_time": from_micros(row.start_time),
        "end_time": from_micros(row.end_time),
        "duration_seconds": row.duration_seconds,
        "result": stored(row.result),
        "result_size": row.result_size,
        "error_code": row.error_code,
        "error_message": row.error_message,
        "retry_count": row.retry_count,
        "progress_percent": row.progress_percent,
        "current_item": row.current_item,
        "total_items": row.total_items,
        "processed_items": row.processed_items,
        "estimated_end_time": from_micros(row.estimated_end_time),
        "message": row.message,
        "is_paused": status is Status.PAUSED,
        "pause_requested": row.pause_requested,
        "terminate_requested": row.terminate_requested,
        "created_by": row.created_by,
        "created_time": from_micros(row.created_time),
        "updated_by": row.created_by,
        "updated_time": from_micros(row.updated_time),
        "logical_time": from_micros(row.logical_time),
        "trigger_type": row.trigger_type,
        "params": stored(row.params) or {},
        "root_execution_id": row.root_id,
        "parent_execution_id": row.parent_execution_id,
        "node": row.node,
        "resume_from_execution_id": row.resume_from_execution_id,
        "reused_from": row.reused_from,
        "backfill_id": row.backfill_id,
        "event": stored(row.event),
        "version": row.version,
        "waiting_for": row.waiting_for,
        "waiting_until": from_micros(row.waiting_until),
        "skip_reason": row.skip_reason,
        "deadline": from_micros(row.deadline),
        "deadline_missed": row.deadline_missed,
        "marked_status": row.marked_status,
        "marked_by": row.marked_by,
        "marked_time": from_micros(row.marked_time),
    }
    if attempts is not None:
        out["attempts"] = [attempt_out(attempt) for attempt in attempts] + _attempt_under_way(row, status)
    return out


def shown_name(name: str) -> str:
    """A task's name without what makes that of a hidden one unique."""
    return name.partition(ADHOC)[0]


def stored(text: str | None) -> Any:
    """A value that was stored as JSON, in a form that every client can read.

    Halves of UTF-16 pairs become question marks; what is nested too deeply is left out.
    """
    if not text:
        return None
    if "\\ud" in text.lower():
        text = json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace").decode()
    value = json.loads(text)
    return to_plain(value, []) if _is_deep(value) else value


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        inside = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
        level = [child for child in inside if isinstance(child, (dict, list))]
    return bool(level)


def reason_out(reason: Reason) -> dict[str, Any]:
    """One reason of an explanation."""
    return {
        "code": reason.code,
        "detail": reason.detail,
        "execution_id": reason.execution_id,
        "until": from_micros(reason.until),
    }


def version_out(row: Any, current: int) -> dict[str, Any]:
    """A version of a definition, without what it says."""
    return {
        "version": row.version,
        "content_hash": row.content_hash,
        "created_time": from_micros(row.created_time),
        "current": row.version == current,
    }


def execution_event(row: Any) -> dict[str, Any]:
    """An execution as the event stream tells of it: without params and result, which may be large."""
    return {
        "id": row.id,
        "task_id": row.task_id,
        "task_name": shown_name(row.task_name),
        "status": row.status,
        "node": row.node,
        "parent_execution_id": row.parent_execution_id,
        "root_execution_id": row.root_id,
        "trigger_type": row.trigger_type,
        "logical_time": from_micros(row.logical_time),
        "version": row.version,
        "retry_count": row.retry_count,
        "progress_percent": row.progress_percent,
        "current_item": row.current_item,
        "start_time": from_micros(row.start_time),
        "end_time": from_micros(row.end_time),
        "duration_seconds": row.duration_seconds,
        "error_code": row.error_code,
        "error_message": row.error_message,
        "waiting_for": row.waiting_for,
        "marked_status": row.marked_status,
        "pause_requested": row.pause_requested,
        "terminate_requested": row.terminate_requested,
        "change": row.change_seq,
    }


def task_event(row: Any) -> dict[str, Any]:
    """A task as the event stream tells of it."""
    return {
        "id": row.id,
        "name": row.name,
        "enabled": row.enabled,
        "paused": row.paused,
        "archived": row.archived_at is not None,
        "version": row.version,
        "source": row.source,
        "next_run_time": from_micros(row.next_fire) if row.archived_at is None else None,
        "change": row.change_seq,
    }


def attempt_out(row: Any) -> dict[str, Any]:
    """One attempt that has ended."""
    return {
        "attempt": row.attempt,
        "outcome": row.outcome,
        "start_time": from_micros(row.start_time),
        "end_time": from_micros(row.end_time),
        "duration_seconds": row.duration_seconds,
        "exit_code": row.exit_code,
        "signal": row.signal,
        "error_code": row.error_code,
        "error_message": row.error_message,
    }


def node_out(node: Node, entry: Entry | None) -> dict[str, Any]:
    """A node of a workflow; `entry` is the task that it refers to."""
    return {
        "id": entry.id if entry else None,
        "name": node.name,
        "task": node.task,
        "executor": node.action.executor if node.action else None,
        "dependencies": list(node.dependencies),
        "trigger_rule": node.trigger_rule.value,
    }


def planned_out(parent: Any, name: str) -> dict[str, Any]:
    """A node of the plan that has no row yet: `pending`, with no id (SEMANTICS §8.5)."""
    empty = dict.fromkeys(ExecutionOut.model_fields)
    return {
        **empty,
        "task_id": parent.task_id,
        "status": Status.PENDING.value,
        "node": name,
        "retry_count": 0,
        "is_paused": False,
        "pause_requested": False,
        "deadline_missed": False,
        "marked_status": None,
        "marked_by": None,
        "marked_time": None,
        "terminate_requested": False,
        "created_by": parent.created_by,
        "created_time": from_micros(parent.created_time),
        "updated_by": parent.created_by,
        "updated_time": from_micros(parent.created_time),
        "trigger_type": "workflow",
        "params": {},
        "root_execution_id": parent.root_id,
        "parent_execution_id": parent.id,
        "version": parent.version,
    }


def plugin_out(plugin: Plugin) -> dict[str, Any]:
    """A plugin, what it brings, and what is wrong with it."""
    return {
        "name": plugin.name,
        "version": plugin.version,
        "source": plugin.source,
        "state": plugin.state.value,
        "error": plugin.error,
        "executors": plugin.executors,
        "notifiers": plugin.notifiers,
        "hooks": plugin.hooks,
    }


def load_errors_out(errors: Mapping[str, Iterable[LoadError]]) -> list[dict[str, Any]]:
    """All load errors, by path."""
    return [
        {
            "path": path,
            "line": error.line,
            "column": error.column,
            "field": error.field,
            "code": error.code,
            "message": error.message,
        }
        for path in sorted(errors)
        for error in errors[path]
    ]


def config_out(definition: TaskDef) -> dict[str, Any]:
    """What runs, in the shape of the origin's `config`: all that a PUT of it replaces, where it is not the default."""
    if definition.workflow is not None:
        return _workflow_config(definition.workflow)
    return _action_config(definition.action) if definition.action else {}


def _action_config(action: Action) -> dict[str, Any]:
    config = dict(action.config)
    if action.executor == "python":
        config = {"python": f"{config['module']}:{config['function']}"}
    elif action.executor != "command":
        config = {"task_action": action.executor, **config}
    if action.timeout is None:
        config["timeout"] = "none"
    else:
        config["timeout_seconds"] = action.timeout.total_seconds()
    if action.env:
        config["env"] = dict(action.env)
    config["working_dir"] = action.working_dir
    config["isolation"] = action.isolation.value if action.isolation is not Isolation.PROCESS else None
    return {key: value for key, value in config.items() if value is not None}


def _workflow_config(workflow: Workflow) -> dict[str, Any]:
    nodes = []
    for node in workflow.nodes:
        out: dict[str, Any] = {"name": node.name, "dependencies": list(node.dependencies)}
        if node.task is not None:
            out["task"] = node.task
        if node.action is not None:
            out["executor"] = node.action.executor
            out["config"] = _action_config(node.action)
            out |= _retries(node.action)
        if node.arguments:
            out["params"] = dict(node.arguments)
        if node.trigger_rule.value != "all_success":
            out["trigger_rule"] = node.trigger_rule.value
        if node.when is not None:
            out["when"] = node.when
        if node.for_each is not None:
            out["for_each"] = encode_for_each(node.for_each)
        if node.max_parallel is not None:
            out["max_parallel"] = node.max_parallel
        if node.overrides is not None:
            out |= encode_overrides(node.overrides)
        if node.fail_on_partial:
            out["fail_on_partial"] = True
        if node.group:
            out["group"] = node.group
        if node.approval is not None:
            out["approval"] = encode_approval(node.approval) or True
        nodes.append(out)
    return {
        "workflow_type": workflow.workflow_type.value,
        "on_failure": workflow.on_failure.value,
        "max_parallel": workflow.max_parallel,
        "workflow_timeout": workflow.timeout.total_seconds() if workflow.timeout else None,
        "tasks": nodes,
    }


def _retries(action: Action) -> dict[str, Any]:
    """A node's own retries and priority, where they are not the default."""
    retry, backoff = action.retry, action.retry.backoff
    found: dict[str, Any] = {
        "max_retries": retry.max_retries or None,
        "retry_interval": retry.interval.total_seconds()
        if retry.interval != DEFAULT_RETRY_INTERVAL
        else None,
        "priority": action.priority or None,
        "pool": action.pool,
    }
    if backoff is not None:
        cap = backoff.cap.total_seconds() if backoff.cap else None
        found["retry_backoff"] = {"factor": backoff.factor, "cap": cap, "jitter": backoff.jitter}
    return {key: value for key, value in found.items() if value is not None}


def _schedule_status(row: Any, active: list[Any]) -> str:
    return schedule_status(
        enabled=row.enabled,
        paused=row.paused,
        running=any(item.status in ("running", "paused") for item in active),
        retrying=any(
            item.status == "pending" and item.waiting_for in ("retry", "shutdown") for item in active
        ),
        waiting=bool(active),
        latest=Status(row.latest_status) if row.latest_status else None,
    ).value


def _attempt_under_way(row: Any, status: Status) -> list[dict[str, Any]]:
    if status not in (Status.RUNNING, Status.PAUSED) or row.attempt_start is None:
        return []
    empty = dict.fromkeys(AttemptOut.model_fields)
    return [
        {
            **empty,
            "attempt": row.retry_count + 1,
            "outcome": status.value,
            "start_time": from_micros(row.attempt_start),
        }
    ]
