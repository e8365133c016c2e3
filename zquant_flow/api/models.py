"""Which fields have tasks, executions and errors in JSON? (CONTRACT: the promised names)"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TaskOut(BaseModel):
    """A task as lists and details show it. Instants are ISO 8601 with offset; `progress` is 0 to 100."""

    model_config = ConfigDict(extra="allow")

    id: int
    name: str
    job_id: str
    task_type: str
    cron_expression: str | None
    interval_seconds: float | None
    enabled: bool
    paused: bool
    description: str
    config: dict[str, Any]
    max_retries: int
    retry_interval: float
    created_by: str
    created_time: datetime
    updated_by: str
    updated_time: datetime
    latest_execution_id: int | None
    latest_execution_time: datetime | None
    latest_execution_status: str | None
    latest_execution_current_item: str | None
    latest_execution_progress: float | None
    schedule_status: str
    next_run_time: datetime | None
    timezone: str | None
    tags: list[str]
    source: str | None
    version: int
    content_hash: str
    executor: str | None
    params: dict[str, Any]
    overlap: str
    archived_time: datetime | None
    warnings: list[str] = Field(default_factory=list)


class TaskPage(BaseModel):
    tasks: list[TaskOut]
    total: int


class ExecutionOut(BaseModel):
    """An execution. `duration_seconds` by the monotonic clock; `result` is what the work returned."""

    id: int | None
    task_id: int
    status: str
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    result: Any
    error_code: str | None
    error_message: str | None
    retry_count: int
    progress_percent: float | None
    current_item: str | None
    total_items: int | None
    processed_items: int | None
    estimated_end_time: datetime | None
    message: str | None
    is_paused: bool
    pause_requested: bool
    terminate_requested: bool
    created_by: str
    created_time: datetime
    updated_by: str
    updated_time: datetime
    logical_time: datetime | None
    trigger_type: str
    params: dict[str, Any]
    root_execution_id: int | None
    parent_execution_id: int | None
    node: str | None
    resume_from_execution_id: int | None
    reused_from: int | None
    version: int
    waiting_for: str | None
    waiting_until: datetime | None
    skip_reason: str | None
    attempts: list[AttemptOut] | None = None
    children: list[ExecutionOut] | None = None


class AttemptOut(BaseModel):
    """One try, from 1; `outcome` is `running` for the one under way."""

    attempt: int
    outcome: str
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    exit_code: int | None
    signal: int | None
    error_code: str | None
    error_message: str | None


class ExecutionPage(BaseModel):
    executions: list[ExecutionOut]
    total: int


class ErrorOut(BaseModel):
    """Every error's shape: a code for machines, words for people, and where there is one the field."""

    code: str
    detail: str


class LoadErrorOut(BaseModel):
    path: str
    line: int
    column: int
    field: str
    code: str
    message: str


class LoadErrorPage(BaseModel):
    load_errors: list[LoadErrorOut]
    total: int


ExecutionOut.model_rebuild()
