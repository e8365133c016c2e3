"""How does a change of an execution look as a row? The shapes of `store.batch`, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from zquant_flow.core.status import Status, TriggerType
from zquant_flow.engine.found_files import FileFacts
from zquant_flow.engine.memory import Execution, Filed, Memory, Result, Reused, Task
from zquant_flow.store.batch import Row


def created(memory: Memory, execution: Execution, *, actor: str) -> Row:
    """The first row of an execution that is more than an inline node."""
    parent = execution.parent
    return {
        "id": execution.id,
        "root_id": execution.root_id,
        "parent_execution_id": parent.id if parent else None,
        "task_id": execution.task.id,
        "version": execution.version,
        "node": _node_name(execution),
        "inline": execution.inline,
        "status": execution.status.value,
        "trigger_type": execution.trigger_type.value,
        "logical_time": execution.logical_time,
        "params": json_text(execution.params) if execution.params else None,
        "created_by": actor,
        "created_time": memory.now,
        "start_time": None,
        "attempt_start": None,
        "waiting_for": execution.waiting_for,
        "waiting_until": None,
        "owner": memory.engine_id,
        "resume_from_execution_id": execution.resume_from,
        "backfill_id": execution.backfill,
        "event": json_text(execution.event) if execution.event else None,
        "deadline": execution.deadline,
        "updated_time": memory.now,
    }


def node_started(memory: Memory, execution: Execution) -> Row:
    """The first row of an inline node: it is written when its first attempt starts. No params: those of its root."""
    parent = execution.parent
    assert parent is not None
    return {
        "id": execution.id,
        "root_id": execution.root_id,
        "parent_execution_id": parent.id,
        "task_id": execution.task.id,
        "version": execution.version,
        "node": _node_name(execution),
        "inline": True,
        "status": "running",
        "trigger_type": "workflow",
        "logical_time": execution.logical_time,
        "params": None,
        "created_time": memory.now,
        "start_time": memory.now,
        "attempt_start": memory.now,
        "owner": memory.engine_id,
        "updated_time": memory.now,
    }


def node_waiting(memory: Memory, execution: Execution, until: int | None, message: str) -> Row:
    """The first row of a node that waits for an answer; who answers it makes it run, and end."""
    return {
        **node_started(memory, execution),
        "status": Status.PENDING.value,
        "start_time": None,
        "attempt_start": None,
        "waiting_for": execution.waiting_for,
        "waiting_until": until,
        "message": storable(message) or None,
    }


def node_skipped(memory: Memory, parent: Execution, node: int, reason: str) -> Row:
    """The only row of a node that never ran."""
    assert parent.run is not None
    return {
        "id": memory.new_id(),
        "root_id": parent.root_id,
        "parent_execution_id": parent.id,
        "task_id": parent.task.id,
        "version": parent.version,
        "node": parent.run.plan.names[node],
        "inline": True,
        "status": Status.SKIPPED.value,
        "trigger_type": TriggerType.WORKFLOW.value,
        "skip_reason": reason,
        "created_time": memory.now,
        "end_time": memory.now,
        "updated_time": memory.now,
    }


def node_reused(memory: Memory, parent: Execution, reused: Reused) -> Row:
    """A node of a resumed workflow that stays as it was before. In no list and no statistics: it did not run."""
    assert parent.run is not None
    return {
        "id": memory.new_id(),
        "root_id": parent.root_id,
        "parent_execution_id": parent.id,
        "task_id": reused.task_id,
        "version": reused.version,
        "node": parent.run.plan.names[reused.node],
        "inline": True,
        "status": reused.status.value,
        "trigger_type": TriggerType.WORKFLOW.value,
        "params": reused.params,
        **_result(reused.result),
        "error_code": reused.code,
        "error_message": reused.error,
        "skip_reason": reused.skip_reason,
        "reused_from": reused.execution_id,
        "progress_percent": 100.0 if reused.status is Status.SUCCESS else None,
        "created_time": memory.now,
        "end_time": memory.now,
        "updated_time": memory.now,
    }


def started(memory: Memory, execution: Execution) -> Row:
    return {
        "b_id": execution.id,
        "status": Status.RUNNING.value,
        "owner": memory.engine_id,
        "start_time": execution.start_time,
        "attempt_start": execution.attempt_start,
        "waiting_for": None,
        "waiting_until": None,
        "updated_time": memory.now,
    }


def waiting(memory: Memory, execution: Execution, until: int | None) -> Row:
    return {
        "b_id": execution.id,
        "status": Status.PENDING.value,
        "retry_count": execution.retry_count,
        "waiting_for": execution.waiting_for,
        "waiting_until": until,
        "updated_time": memory.now,
    }


def handed(memory: Memory, execution: Execution, engine: int) -> Row:
    return {"b_id": execution.id, "owner": engine, "updated_time": memory.now}


def paused(memory: Memory, execution: Execution) -> Row:
    return {
        "b_id": execution.id,
        "status": execution.status.value,
        "pause_requested": False,
        "updated_time": memory.now,
    }


def requested(memory: Memory, execution: Execution) -> Row:
    return {
        "b_id": execution.id,
        "pause_requested": execution.pausing,
        "terminate_requested": execution.terminating is not None,
        "updated_time": memory.now,
    }


def ended(
    memory: Memory,
    execution: Execution,
    *,
    seconds: float | None,
    result: Result | None,
    code: str | None,
    error: str | None,
) -> Row:
    return {
        "b_id": execution.id,
        "status": execution.status.value,
        "end_time": memory.now,
        "duration_seconds": seconds,
        **_result(result),
        "error_code": storable(code),
        "error_message": storable(error),
        "progress_percent": execution.percent,
        "updated_time": memory.now,
    }


def _result(result: Result | None) -> Row:
    """What a row has of it: its text, or the size of its file."""
    if isinstance(result, Filed):
        return {"result": None, "result_size": result.size}
    return {"result": storable(result), "result_size": None}


def progressed(memory: Memory, execution: Execution, facts: dict[str, Any]) -> Row:
    """What a task says of itself: anything that is not what it should be is left out, for any task may say anything."""
    get = facts.get
    return {
        "b_id": execution.id,
        "progress_percent": percent(get("percent")),
        "current_item": _words(get("current_item")),
        "total_items": count(get("total_items")),
        "processed_items": count(get("processed_items")),
        "estimated_end_time": count(get("estimated_end")),
        "message": _words(get("message")),
        "updated_time": memory.now,
    }


def handled(memory: Memory, execution: Execution) -> Row:
    """What its attempt has begun elsewhere, and how often it has looked."""
    return {
        "b_id": execution.id,
        "handle": storable(execution.handle),
        "checks": execution.checks,
        "updated_time": memory.now,
    }


def late(memory: Memory, execution: Execution) -> Row:
    """It has missed its deadline."""
    return {"b_id": execution.id, "deadline_missed": True, "updated_time": memory.now}


def marked(memory: Memory, execution_id: int, status: Status | None, actor: str) -> Row:
    """How somebody says that it has ended; None takes back what was said."""
    return {
        "b_id": execution_id,
        "marked_status": status and status.value,
        "marked_by": status and actor,
        "marked_time": status and memory.now,
        "updated_time": memory.now,
    }


def tallied(execution: Execution, seconds: float | None) -> Row:
    """A listed execution that ends, as totals and statistics count it."""
    return {
        "task_id": execution.task.id,
        "created_time": execution.created_time,
        "status": execution.status.value,
        "trigger_type": execution.trigger_type.value,
        "seconds": seconds,
    }


def attempted(execution: Execution, outcome: dict[str, Any]) -> Row:
    """The row of an attempt that has ended, from the runner's outcome."""
    get = outcome.get
    return {
        "execution_id": execution.id,
        "attempt": outcome["attempt"],
        "outcome": outcome["kind"],
        "start_time": outcome["started"],
        "end_time": outcome["ended"],
        "duration_seconds": get("seconds"),
        "exit_code": get("exit_code"),
        "signal": get("signal"),
        "error_code": storable(get("code")),
        "error_message": storable(get("error")),
    }


def standing(execution: Execution, delta: int) -> Row:
    """How an execution stands, as its task's row says it of the latest one; and how many are active, more or less."""
    return {
        "b_id": execution.task.id,
        "b_execution_id": execution.id,
        "delta": delta,
        "status": execution.status.value,
    }


def activity(task: Task, delta: int) -> Row:
    """The task's latest execution is another one."""
    return {
        "b_id": task.id,
        "delta": delta,
        "latest_execution_id": task.latest_id,
        "latest_status": task.latest_status,
        "latest_time": task.latest_time,
    }


def cursor(task: Task) -> Row:
    return {"b_id": task.id, "cursor": task.cursor, "next_fire": task.next_fire}


def switched(memory: Memory, task: Task, actor: str) -> Row:
    return {
        "b_id": task.id,
        "enabled": task.enabled,
        "paused": task.paused,
        "idle_since": task.idle_since,
        "cursor": task.cursor,
        "next_fire": task.next_fire,
        "updated_by": actor,
        "updated_time": memory.now,
    }


def fired(memory: Memory, task: Task, logical_time: int, execution_id: int) -> Row:
    return {
        "task_id": task.id,
        "logical_time": logical_time,
        "until": logical_time,
        "outcome": "fired",
        "execution_id": execution_id,
        "recorded_time": memory.now,
    }


def released(execution: Execution) -> Row:
    """Its logical time has not fired after all, and may."""
    return {"b_task_id": execution.task.id, "b_logical_time": execution.logical_time}


def cancelled(memory: Memory, backfill: int, actor: str) -> Row:
    """Nothing more of a backfill begins, because of somebody."""
    return {"b_id": backfill, "cancelled_by": actor, "cancelled_time": memory.now}


def rotated(memory: Memory, task: Task, generation: int, actor: str) -> Row:
    """The webhook of the task has another secret."""
    return {
        "b_id": task.id,
        "hook_generation": generation,
        "updated_by": actor,
        "updated_time": memory.now,
    }


def seen(memory: Memory, task: Task, file: FileFacts, execution_id: int | None) -> Row:
    """The task has run for this file, or need not."""
    return {
        "task_id": task.id,
        "path": file.path,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "execution_id": execution_id,
        "seen_time": memory.now,
    }


def skipped(memory: Memory, task: Task, from_time: int, to_time: int, reason: str) -> Row:
    return {
        "task_id": task.id,
        "logical_time": from_time,
        "until": to_time,
        "outcome": reason,
        "execution_id": None,
        "recorded_time": memory.now,
    }


def noted(
    memory: Memory,
    action: str,
    actor: str,
    *,
    task_id: int | None = None,
    execution_id: int | None = None,
    detail: str = "",
) -> Row:
    """An entry of the audit."""
    return {
        "time": memory.now,
        "actor": actor,
        "action": action,
        "task_id": task_id,
        "execution_id": execution_id,
        "detail": detail,
    }


def json_text(value: Any) -> str:
    """JSON as the database keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)


def percent(value: Any) -> float | None:
    """A share from 0 to 100; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return None
    return float(value)


def storable(text: str | None) -> str | None:
    """Text that every database takes: lone surrogates and NUL are replaced."""
    if text is None or text.isascii():
        return text.replace("\0", "\ufffd") if text and "\0" in text else text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _words(value: Any) -> str | None:
    return storable(value[:1000]) if isinstance(value, str) else None


def count(value: Any) -> int | None:
    """A whole number that every database takes; None for what is none."""
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
    return value if fits else None


def _node_name(execution: Execution) -> str | None:
    parent = execution.parent
    if parent is None or parent.run is None:
        return None
    return parent.run.plan.names[execution.node]
