"""Which fields have the answers and requests of the API? (CONTRACT: the promised names)

Instants are ISO 8601 with offset. The client (`zquant_flow.client`) is typed by these same models.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from zquant_flow.api.validation import Storable
from zquant_flow.core.status import Status, WaitingFor
from zquant_flow.plugin.panels import Block
from zquant_flow.plugin.plugins import State as PluginState

MAX_ID = 2**63 - 1
Id = Annotated[int, Field(ge=1, le=MAX_ID)]

_TASK: dict[str, JsonValue] = {
    "id": 7,
    "name": "sync-daily",
    "job_id": "task_7",
    "task_type": "common_task",
    "cron_expression": "0 18 * * 1-5",
    "interval_seconds": None,
    "enabled": True,
    "paused": False,
    "description": "daily bars",
    "config": {"command": "python sync_daily.py", "timeout_seconds": 3600},
    "max_retries": 3,
    "retry_interval": 60,
    "created_by": "admin",
    "created_time": "2026-01-05T08:00:00+00:00",
    "updated_by": "admin",
    "updated_time": "2026-01-05T08:00:00+00:00",
    "latest_execution_id": 41,
    "latest_execution_time": "2026-01-05T10:00:00+00:00",
    "latest_execution_status": "success",
    "latest_execution_current_item": None,
    "latest_execution_progress": 100.0,
    "schedule_status": "success",
    "next_run_time": "2026-01-06T10:00:00+00:00",
    "timezone": "Asia/Shanghai",
    "calendar": None,
    "at": None,
    "tags": ["market"],
    "source": "7-sync-daily.yaml",
    "version": 1,
    "content_hash": "9f2c...",
    "executor": "command",
    "params": {},
    "params_schema": {"type": "object"},
    "overlap": "skip",
    "after": None,
    "produces": [],
    "consumes": [],
    "webhook": None,
    "on_file": None,
    "notify": None,
    "max_active_runs": None,
    "pool": None,
    "jitter": 0.0,
    "expected_within": None,
    "archived_time": None,
    "warnings": [],
}
_EXECUTION: dict[str, JsonValue] = {
    "id": 41,
    "task_id": 7,
    "task_name": "sync-daily",
    "status": "success",
    "start_time": "2026-01-05T10:00:00.004+00:00",
    "end_time": "2026-01-05T10:01:30.012+00:00",
    "duration_seconds": 90.008,
    "result": {"rows": 5312},
    "result_size": None,
    "error_code": None,
    "error_message": None,
    "retry_count": 0,
    "progress_percent": 100.0,
    "current_item": None,
    "total_items": 5312,
    "processed_items": 5312,
    "estimated_end_time": None,
    "message": None,
    "is_paused": False,
    "pause_requested": False,
    "terminate_requested": False,
    "created_by": "scheduler",
    "created_time": "2026-01-05T10:00:00.001+00:00",
    "updated_by": "scheduler",
    "updated_time": "2026-01-05T10:01:30.012+00:00",
    "logical_time": "2026-01-05T10:00:00+00:00",
    "trigger_type": "schedule",
    "params": {},
    "root_execution_id": 41,
    "parent_execution_id": None,
    "node": None,
    "resume_from_execution_id": None,
    "reused_from": None,
    "backfill_id": None,
    "event": None,
    "version": 1,
    "waiting_for": None,
    "waiting_until": None,
    "skip_reason": None,
    "deadline": None,
    "deadline_missed": False,
    "marked_status": None,
    "marked_by": None,
    "marked_time": None,
}


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class AfterOut(BaseModel):
    """The tasks after whose ends it runs: which ends, and within how many seconds of each other (null: whenever)."""

    tasks: list[str]
    on: str
    within: float | None


class OnFileOut(BaseModel):
    """The files that start it, and how many seconds they have to stand still (null: until their writers close them)."""

    glob: str
    settle: float | None


class TaskOut(BaseModel):
    """A task as lists and details show it; `progress` is 0 to 100, `schedule_status` as docs/states.md says."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TASK]})

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
    calendar: str | None
    at: str | None
    tags: list[str]
    source: str | None
    version: int
    content_hash: str
    executor: str | None
    params: dict[str, Any]
    params_schema: dict[str, Any]
    overlap: str
    after: AfterOut | None
    produces: list[str]
    consumes: list[str]
    webhook: str | None
    on_file: OnFileOut | None
    notify: dict[str, list[str]] | None
    max_active_runs: int | None
    pool: str | None
    jitter: float
    expected_within: float | None
    archived_time: datetime | None
    warnings: list[str] = Field(default_factory=list)
    nodes: list[NodeOut] | None = None


class NodeOut(BaseModel):
    """A node of a workflow, as `include_nodes` lists it: no task of its own, so `id` is null, unless it refers to one."""

    id: int | None
    name: str
    task: str | None
    executor: str | None
    dependencies: list[str]
    trigger_rule: str


class TaskPage(BaseModel):
    """A page of tasks; `total` counts all that match, `next_cursor` asks for the page after this one."""

    tasks: list[TaskOut]
    total: int
    next_cursor: str | None = None


class VersionOut(BaseModel):
    """One version of a task's definition; `definition` in the normal form that `content_hash` is taken of."""

    version: int
    content_hash: str
    created_time: datetime
    current: bool
    definition: dict[str, Any] | None = None


class VersionPage(BaseModel):
    versions: list[VersionOut]
    total: int


class TriggerIn(BaseModel):
    """`logical_time` names the instant that this execution stands for; `rerun` allows one that has fired."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"params": {"symbol": "600519"}, "logical_time": None}]},
    )

    params: dict[str, Any] | None = None
    logical_time: datetime | None = None
    rerun: bool = False


class TriggeredOut(BaseModel):
    """An execution was made, and will be found under this id."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "task triggered", "execution_id": 42}]}
    )

    message: str
    execution_id: int


BulkAction = Literal["enable", "disable", "pause", "resume", "trigger", "delete"]


class BulkIn(BaseModel):
    """One action on many tasks; `params` for `trigger`, `force` for `delete`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"action": "disable", "task_ids": [7, 8]}]}
    )

    action: BulkAction
    task_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]
    params: dict[str, Any] | None = None
    force: bool = False


class BulkItem(BaseModel):
    """What became of one task: `ok`, else the code and words of its error."""

    task_id: int
    ok: bool
    execution_id: int | None = None
    code: str | None = None
    detail: str | None = None


class BulkOut(BaseModel):
    results: list[BulkItem]
    succeeded: int
    failed: int


class PruneOut(BaseModel):
    """The files that are gone, and whose tasks are archived now."""

    files: list[str]


class HookOut(BaseModel):
    """A webhook: where requests go, and the secret whose HMAC-SHA256 of the body stands in `header`."""

    name: str
    path: str
    header: str
    secret: str


class BackfillIn(BaseModel):
    """One execution for each logical time of the schedule in [from, to], none twice; at most `parallel` at once."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {"from": "2026-01-01T00:00:00+08:00", "to": "2026-01-31T23:59:59+08:00", "parallel": 2}
            ]
        },
    )

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    parallel: Annotated[int, Field(ge=1, le=1000)] = 1
    params: dict[str, Any] | None = None
    dry_run: bool = False


class BackfillOut(BaseModel):
    """What was made: executions by logical time; `fired_before` had one already. Nothing is made by a `dry_run`."""

    backfill_id: int | None
    executions: list[BackfillItem]
    fired_before: list[datetime]
    dry_run: bool = False


class BackfillItem(BaseModel):
    logical_time: datetime
    execution_id: int | None


class BackfillStateOut(BaseModel):
    """A backfill: what was asked for, and how many of its executions are in each status."""

    model_config = ConfigDict(populate_by_name=True)

    id: int
    task_id: int
    task_name: str
    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    parallel: int
    counts: dict[str, int]
    created_by: str
    created_time: datetime
    cancelled_by: str | None
    cancelled_time: datetime | None


class BackfillPage(BaseModel):
    backfills: list[BackfillStateOut]
    total: int


class CancelledOut(BaseModel):
    """The executions of a backfill that will not run, because it was cancelled."""

    backfill_id: int
    cancelled: list[int]


class FireOut(BaseModel):
    """An entry of the ledger: an instant that fired, or an instant or span that was skipped, with the reason."""

    logical_time: datetime
    until: datetime
    outcome: str
    execution_id: int | None
    recorded_time: datetime


class FirePage(BaseModel):
    fires: list[FireOut]


class ApprovalOut(BaseModel):
    """What a node asks, and whom; nobody by name: everybody. After `timeout_seconds`, if there is one, `on_timeout` is the answer."""

    message: str
    who: list[str]
    timeout_seconds: float | None
    on_timeout: str


class WorkflowNodeOut(BaseModel):
    """A node of a workflow in the order of its plan; `status` and `execution_id` with `execution_id=` of an execution."""

    name: str
    task: str | None
    task_id: int | None
    executor: str | None
    dependencies: list[str]
    trigger_rule: str
    when: str | None
    for_each: Any = None
    max_parallel: int | None
    group: str
    approval: ApprovalOut | None = None
    execution_id: int | None = None
    status: str | None = None


class EdgeOut(BaseModel):
    """`to` waits for `from`."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[str, Field(alias="from")]
    to: str


class WorkflowOut(BaseModel):
    """The graph of a workflow: nodes, edges, and the names in an order in which they can run."""

    task_id: int
    version: int
    workflow_type: str
    on_failure: str
    max_parallel: int | None
    nodes: list[WorkflowNodeOut]
    edges: list[EdgeOut]
    order: list[str]


class ValidationOut(BaseModel):
    """Whether a definition could be registered, and what stands against it."""

    valid: bool
    errors: list[FieldErrorOut]
    warnings: list[str] = Field(default_factory=list)


class ReasonOut(BaseModel):
    """One fact that answers why: a code for machines, words for people, and what it is about."""

    code: str
    detail: str
    execution_id: int | None = None
    until: datetime | None = None


class ExplainOut(BaseModel):
    """Why a task is, or is not, running now; when it will next."""

    task_id: int
    name: str
    running: bool
    summary: str
    reasons: list[ReasonOut]
    next_run_time: datetime | None
    next_runs: list[datetime]
    schedule: str | None


class ExecutionExplainOut(BaseModel):
    """Why an execution runs, waits, or ended so; or a node of it, which need not have begun."""

    execution_id: int
    task_id: int
    task_name: str
    node: str | None
    status: str
    summary: str
    reasons: list[ReasonOut]


class UpcomingOut(BaseModel):
    """A fire that is ahead."""

    task_id: int
    name: str
    logical_time: datetime


class UpcomingPage(BaseModel):
    """The fires of a span, by time; `complete` is false where there were more than `limit`."""

    upcoming: list[UpcomingOut]
    complete: bool


class SimulatedTaskOut(BaseModel):
    """A task in the span: its fires, the executions that come of them, and how long each takes.

    `assumed`: it never succeeded, so that its durations are a guess; `steady`: it fires so often that it counts as an even
    load.
    """

    task_id: int
    name: str
    fires: int
    executions: int
    usual_seconds: float
    slow_seconds: float
    assumed: bool
    steady: bool


class FindingOut(BaseModel):
    """Something that will happen to a task: `count` times, `first` and `last` when; `worst_seconds`: how long it waits, or is late.

    `by`: the tasks that hold what it waits for; `slow_only`: only where executions take as long as their slowest do.
    """

    kind: str
    task_id: int
    task: str
    pool: str | None
    by: list[str]
    first: datetime
    last: datetime
    count: int
    worst_seconds: float
    slow_only: bool
    detail: str


class BusyOut(BaseModel):
    """An hour, and the share of all slots that is in use in it."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    share: float


class PeakOut(BaseModel):
    """The most slots in use at once, and the first instant at which they are."""

    slots: int
    time: datetime | None


class HorizonOut(BaseModel):
    """A task whose calendar is known until then only: what fires later is not in the answer."""

    task: str
    until: datetime | None


class SimulationOut(BaseModel):
    """What would fire and run in a span. Nothing was written for it.

    `hours`: the share of all slots in use by the hour of the day, 24 of them, in `timezone`; `busiest`: single hours, the
    busiest first. `idle` tasks are disabled or paused, of `unknown` ones nobody can say when they will be started.
    """

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    timezone: str
    slots: int
    fires: int
    executions: int
    tasks: list[SimulatedTaskOut]
    findings: list[FindingOut]
    peak: PeakOut
    hours: list[float]
    busiest: list[BusyOut]
    idle: list[str]
    unknown: list[str]
    horizon: list[HorizonOut]


# ── executions ──────────────────────────────────────────────────────────────────────────────────────────────────────


class ExecutionOut(BaseModel):
    """An execution. `duration_seconds` by the monotonic clock; `result` is what the work returned.

    A result over 256 KiB is asked for by itself: `result_size` says how many bytes it has.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXECUTION]})

    id: int | None
    task_id: int
    task_name: str | None
    status: str
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    result: Any
    result_size: int | None
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
    backfill_id: int | None
    event: dict[str, Any] | None
    version: int
    waiting_for: str | None
    waiting_until: datetime | None
    skip_reason: str | None
    deadline: datetime | None
    deadline_missed: bool
    marked_status: str | None
    marked_by: str | None
    marked_time: datetime | None
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
    """A page of executions, newest first; `total` counts all that match, `next_cursor` asks for the next page."""

    executions: list[ExecutionOut]
    total: int
    next_cursor: str | None = None


class ExecutionQuery(BaseModel):
    """Which executions, and which page of them. `status` and `trigger_type` may be named several times.

    `tag`, `source` and `q` are of their tasks; inline nodes come only with `include=nodes`, and where `approval` is waited for.
    """

    model_config = ConfigDict(extra="forbid")

    skip: Annotated[int, Field(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(max_length=500)] = None
    status: list[Status] = Field(default_factory=list)
    trigger_type: list[str] = Field(default_factory=list)
    waiting_for: WaitingFor | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: Annotated[Storable | None, Field(max_length=200)] = None
    tag: Annotated[Storable | None, Field(max_length=200)] = None
    source: Annotated[Storable | None, Field(max_length=1000)] = None
    include: Literal["nodes"] | None = None


class CommentIn(BaseModel):
    """What one says to it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"comment": "the rows are complete"}]}
    )

    comment: Annotated[Storable, Field(max_length=1000)] = ""


class RerunIn(BaseModel):
    """Which node is to run again; with `descendants` what waits for it too. `version` as for a resume."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"node": "load", "descendants": True}]}
    )

    node: Annotated[Storable, Field(min_length=1, max_length=100)]
    descendants: Annotated[bool, Field(strict=True)] = False
    version: Literal["current", "original"] = "current"


class MarkIn(CommentIn):
    """How it is to be taken; null takes back what was said."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"status": "success", "comment": "loaded by hand"}]},
    )

    status: Literal["success", "failed"] | None


class RunIn(BaseModel):
    """A definition as a task file has it, to be run once without being registered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"definition": {"name": "probe", "command": "date"}, "params": {}}]},
    )

    definition: dict[str, Any]
    params: dict[str, Any] | None = None


class StatsOut(BaseModel):
    """Statistics of executions made in a span; `success_rate` (0 to 1) is of those that have ended."""

    total_executions: int
    success_count: int
    failed_count: int
    running_count: int
    terminated_count: int
    completed_count: int
    success_rate: float | None
    avg_duration_seconds: float | None
    latest_execution_time: datetime | None
    duration_percentiles: dict[str, float]
    """Seconds by percentile: `p50`, `p90`, `p95`, `p99` of successful executions; empty without any."""


class TaskStatsOut(BaseModel):
    """One task's part of the statistics."""

    task_id: int
    name: str
    total_executions: int
    success_count: int
    failed_count: int
    terminated_count: int
    completed_count: int
    success_rate: float | None
    avg_duration_seconds: float | None
    latest_execution_time: datetime | None


class TaskStatsPage(BaseModel):
    tasks: list[TaskStatsOut]
    total: int


class PointOut(BaseModel):
    """One step of a time series: what was made in [start, start + step)."""

    start: datetime
    success: int
    failed: int
    terminated: int
    completed: int
    avg_duration_seconds: float | None


class SeriesOut(BaseModel):
    """Counts and mean durations by step of `step_seconds`; steps without executions are there, with zeros."""

    step_seconds: int
    points: list[PointOut]


# ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────────


class FieldErrorOut(BaseModel):
    """What is wrong with one field: its path such as `tasks.1.dependencies.0`, empty for the whole."""

    field: str
    code: str
    message: str


class ErrorOut(BaseModel):
    """Every error's shape: a code for machines (docs/errors.md), words for people, and where there are some the fields."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"code": "task_not_found", "detail": "no task has the id 7"}]},
    )

    code: str
    detail: str
    errors: list[FieldErrorOut] | None = None


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


class ExecutorOut(BaseModel):
    """A kind of work that tasks can name, and the place of its code."""

    name: str
    entry: str


class ExecutorPage(BaseModel):
    executors: list[ExecutorOut]


class PluginOut(BaseModel):
    """A plugin: where it is from, its version where it is a package, its executors and notifiers, the hooks it takes part in.

    `state`: `active`, `failed` (it could not be loaded; `error` says why), `switched_off` (it failed again and again as an observer) or
    `blocked` (by the settings).
    """

    name: str
    version: str | None
    source: str
    state: PluginState
    error: str | None
    executors: list[str]
    notifiers: list[str]
    hooks: list[str]


class PluginPage(BaseModel):
    plugins: list[PluginOut]


class PanelRef(BaseModel):
    """A panel of a plugin: where it is, and its title."""

    plugin: str
    name: str
    title: str


class PanelPage(BaseModel):
    panels: list[PanelRef]


class PanelOut(PanelRef):
    """A panel, and the blocks that it shows now."""

    blocks: list[Block]


class ChannelOut(BaseModel):
    """A channel of the settings, and what became of its messages since this server has started.

    `ready`: whether it can send; `error` says why not, or which template it does without. `waiting`: what it has not looked at yet.
    """

    name: str
    type: str
    ready: bool
    error: str | None
    waiting: int
    sent: int
    failed: int
    dropped: int
    last_success_time: datetime | None
    last_failure_time: datetime | None
    last_error: str | None


class ChannelPage(BaseModel):
    channels: list[ChannelOut]
    total: int


class TrialOut(BaseModel):
    """Whether a test got there; `error` says why not."""

    name: str
    sent: bool
    error: str | None


class TokenIn(BaseModel):
    """A new token's name, and when it ends; never, without `expires_time`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "grafana"}]})

    name: Annotated[str, Field(min_length=1, max_length=100)]
    expires_time: datetime | None = None


class TokenOut(BaseModel):
    """A bearer token; `token` itself is shown once, in the answer that makes it."""

    id: int
    name: str
    created_by: str
    created_time: datetime
    expires_time: datetime | None
    token: str | None = None


class TokenPage(BaseModel):
    tokens: list[TokenOut]


class PoolIn(BaseModel):
    """How many attempts may hold the pool at once; 0 stops what uses it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"slots": 4}]})

    slots: Annotated[int, Field(strict=True, ge=0, le=100_000)]
    description: Annotated[Storable, Field(max_length=1000)] | None = None


class PoolSource(StrEnum):
    """Where a pool is made."""

    SETTINGS = "settings"
    API = "api"


class PoolOut(BaseModel):
    """A limit that tasks share. `executions` hold its places; `source` is `settings` for one of `zquant-flow.toml`."""

    name: str
    slots: int
    used: int
    waiting: int
    description: str
    source: PoolSource
    executions: list[int]


class PoolPage(BaseModel):
    pools: list[PoolOut]
    total: int


class EventKind(StrEnum):
    """What the event stream tells of."""

    EXECUTION = "execution"
    TASK = "task"
    LOAD_ERRORS = "load_errors"


class JsonSchemaOut(RootModel[dict[str, JsonValue]]):
    """A JSON Schema, draft 2020-12."""


class EngineOut(BaseModel):
    """A scheduler on this database. `slots`: the places it offers to what others have created; `drift`: how many files of its
    tasks folder are not as they are registered (-1: it can't be read)."""

    id: int
    host: str
    pid: int
    leads: bool
    alive: bool
    slots: int
    drift: int
    heartbeat: datetime | None
    started_time: datetime | None


class EnginePage(BaseModel):
    """All of them, by id."""

    engines: list[EngineOut]


class HealthOut(BaseModel):
    """How it is: `ok`, `degraded` with the reason, or `stopped`; `tasks` are those that are registered."""

    status: Literal["ok", "degraded", "stopped"]
    reason: str | None = None
    tasks: int | None = None


class ServerOut(BaseModel):
    """What serves here."""

    version: str
    timezone: str
    tasks: int
    load_errors: int
    started_time: datetime
    locale: str


TaskOut.model_rebuild()
TaskPage.model_rebuild()
BackfillOut.model_rebuild()
ExecutionOut.model_rebuild()
ValidationOut.model_rebuild()
