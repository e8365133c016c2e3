"""Which keys do `@task` and `@workflow` take, and of what type?

For editors and type checkers only: nothing imports this while a program runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from typing_extensions import Unpack

__all__ = ["TaskKeys", "Unpack", "WorkflowKeys"]

Duration = float | str | timedelta
Instant = str | datetime


class ScheduleKeys(TypedDict, total=False):
    name: str
    description: str
    tags: Sequence[str]
    cron: str
    interval: Duration
    run_at: Instant
    at: str
    calendar: str
    schedules: Sequence[Mapping[str, Any]]
    timezone: str
    start_at: Instant
    end_at: Instant
    catchup: Literal["none", "latest", "all"]
    catchup_limit: int
    misfire_grace_time: Duration
    jitter: Duration
    expected_within: Duration
    overlap: Literal["skip", "queue", "allow", "replace"]
    after: str | Sequence[str] | Mapping[str, Any]
    produces: str | Sequence[str]
    consumes: str | Sequence[str]
    webhook: str | Mapping[str, Any]
    on_file: str | Mapping[str, Any]
    notify: str | Sequence[str] | Mapping[str, Any]
    max_active_runs: int
    enabled: bool
    params: Mapping[str, Any]
    env: Mapping[str, str]
    working_dir: str
    timeout: Duration
    max_retries: int
    retry_interval: Duration
    retry_backoff: float | Mapping[str, Any]
    priority: int
    pool: str
    isolation: Literal["process", "thread"]


class TaskKeys(ScheduleKeys, total=False):
    trigger_rule: Literal["all_success", "all_done", "any_success", "any_failed", "none_failed"]
    when: str | bool


class WorkflowKeys(ScheduleKeys, total=False):
    workflow_type: Literal["serial", "parallel"]
    on_failure: Literal["stop", "continue"]
    max_parallel: int
    workflow_timeout: Duration
