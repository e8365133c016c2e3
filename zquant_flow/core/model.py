"""What does a definition say?

Frozen values, free of any file format. `definitions.schema` makes them from what people write; `encode` and `decode`
turn them into the JSON that the database keeps, whose hash is the identity of a version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from zquant_flow.core.approval import Approval, decode_approval, encode_approval
from zquant_flow.core.notify import Notify, decode_notify, encode_notify
from zquant_flow.core.params import Param, decode_specs, encode_specs
from zquant_flow.core.waits import On


class TaskType(StrEnum):
    MANUAL = "manual_task"
    COMMON = "common_task"
    WORKFLOW = "workflow"


class WorkflowType(StrEnum):
    SERIAL = "serial"
    PARALLEL = "parallel"


class OnFailure(StrEnum):
    STOP = "stop"
    CONTINUE = "continue"


class TriggerRule(StrEnum):
    """When does a node start, seen from its dependencies? (SEMANTICS §8.2)"""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ANY_SUCCESS = "any_success"
    ANY_FAILED = "any_failed"
    NONE_FAILED = "none_failed"


class Overlap(StrEnum):
    """What a fire does when an execution of the task is active (SEMANTICS §6.8)."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class Catchup(StrEnum):
    """Which of the fires found too late still run (SEMANTICS §6.6)."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Isolation(StrEnum):
    """Where a Python attempt runs: a process of its own, or a thread of a shared one."""

    PROCESS = "process"
    THREAD = "thread"


DEFAULT_TIMEOUT = timedelta(hours=1)
DEFAULT_RETRY_INTERVAL = timedelta(seconds=60)
DEFAULT_MISFIRE_GRACE = timedelta(seconds=300)
DEFAULT_WITHIN = timedelta(days=1)


class Edge(StrEnum):
    """An end of a trading session."""

    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class At:
    """An instant of every session: so far after (before, where negative) it opens or closes."""

    edge: Edge
    offset: timedelta = timedelta()

    def __str__(self) -> str:
        seconds = abs(self.offset).total_seconds()
        sign = "-" if self.offset < timedelta() else "+"
        for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
            if seconds and seconds % size == 0:
                return f"{self.edge.value}{sign}{seconds / size:g}{unit}"
        return self.edge.value if not seconds else f"{self.edge.value}{sign}{seconds:g}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to be due: exactly one of the first four is set; `calendar` keeps it to the sessions of an exchange."""

    cron: str | None = None
    interval: timedelta | None = None
    run_at: datetime | None = None
    at: At | None = None
    calendar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a task is due; `timezone` None means the default zone of the installation. Instants are aware, in UTC."""

    rules: tuple[Rule, ...]
    timezone: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    catchup: Catchup = Catchup.LATEST
    catchup_limit: int = 100
    misfire_grace: timedelta = DEFAULT_MISFIRE_GRACE
    jitter: timedelta = timedelta()
    """At most so long after its logical time a fire starts; how long is the same every time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How the wait grows: interval x factor^(n-1), at most `cap`, plus or minus a share `jitter` of itself."""

    factor: float = 2.0
    cap: timedelta | None = None
    jitter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    max_retries: int = 0
    interval: timedelta = DEFAULT_RETRY_INTERVAL
    backoff: Backoff | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an attempt does: an executor's name and its validated config, and the bounds around it.

    `timeout` None lifts the bound. `working_dir` None means the folder of the task file.
    """

    executor: str
    config: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    timeout: timedelta | None = DEFAULT_TIMEOUT
    retry: RetryPolicy = RetryPolicy()
    isolation: Isolation = Isolation.PROCESS
    priority: int = 0
    pool: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a node that refers to a task changes of it; None leaves the task's own. `unbounded` lifts the timeout."""

    timeout: timedelta | None = None
    unbounded: bool = False
    max_retries: int | None = None
    retry_interval: timedelta | None = None
    retry_backoff: Backoff | None = None
    priority: int | None = None
    pool: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    isolation: Isolation | None = None


def overridden(action: Action, by: Overrides | None) -> Action:
    """The action as a node that refers to its task has it: what the node says wins (SEMANTICS §8.4)."""
    if by is None:
        return action
    retry = action.retry
    return replace(
        action,
        timeout=None if by.unbounded else by.timeout or action.timeout,
        retry=RetryPolicy(
            max_retries=retry.max_retries if by.max_retries is None else by.max_retries,
            interval=retry.interval if by.retry_interval is None else by.retry_interval,
            backoff=by.retry_backoff or retry.backoff,
        ),
        priority=action.priority if by.priority is None else by.priority,
        pool=by.pool or action.pool,
        env={**action.env, **by.env},
        working_dir=by.working_dir or action.working_dir,
        isolation=by.isolation or action.isolation,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """What a node runs for: items that are written down, a range, or what an expression gives. One of the three is set."""

    items: tuple[Any, ...] | None = None
    range: tuple[int, int, int] | None = None
    """start, stop, step: as Python's."""
    expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in a workflow: inline (`action`), a reference to a registered task (`task`, by name), or an `approval`.

    `arguments`: the params that this node gets, as values or references (`core.references`).
    """

    name: str
    dependencies: tuple[str, ...] = ()
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    action: Action | None = None
    task: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    when: str | None = None
    """An expression: the node is skipped where it is false once its rule is met."""
    for_each: ForEach | None = None
    """It runs once for each of these; its result is the list of theirs."""
    max_parallel: int | None = None
    """How many items run at a time; None: as many as nodes of the workflow."""
    overrides: Overrides | None = None
    fail_on_partial: bool = False
    """Whether a nested workflow that ends `completed` has failed, as this one sees it."""
    group: str = ""
    """For people: nodes of one group are shown together; `/` nests."""
    approval: Approval | None = None
    """It runs nothing, and waits for an answer."""
    notify: Notify | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    workflow_type: WorkflowType = WorkflowType.SERIAL
    on_failure: OnFailure = OnFailure.STOP
    max_parallel: int | None = None
    timeout: timedelta | None = None
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """It runs when all of these tasks have ended so, each within a time of the others (None: whenever)."""

    tasks: tuple[str, ...]
    on: On = On.SUCCESS
    within: timedelta | None = DEFAULT_WITHIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """It runs when a signed request comes to `/hooks/{name}`; `params` are computed from what came (`core.references`)."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFile:
    """It runs for each file that comes to be where `glob` says (`core.globs`), seen from the folder of the task file.

    `settle`: so long the file has to stand still; None: until its writer closes it, where the kernel tells.
    """

    glob: str
    settle: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDef:
    """All that a file, or the API, says about a task. Of `action` and `workflow` at most one is set."""

    name: str
    task_type: TaskType
    description: str = ""
    tags: tuple[str, ...] = ()
    schedule: Schedule | None = None
    enabled: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)
    param_specs: Mapping[str, Param] = field(default_factory=dict)
    overlap: Overlap = Overlap.SKIP
    max_active_runs: int | None = None
    """How many executions may be active before `overlap` decides; None is 1, and without limit for `allow`."""
    action: Action | None = None
    workflow: Workflow | None = None
    retry: RetryPolicy = RetryPolicy()
    """What it says of retries where it has no action of its own to say it of: the default of a workflow's inline nodes."""
    expected_within: timedelta | None = None
    """So long after its logical time an execution should have ended; one that has not has missed its deadline."""
    bundle: str | None = None
    """Hash of the Python sources this definition runs from, if it has any."""
    after: After | None = None
    produces: tuple[str, ...] = ()
    """Names of data that a success of it makes."""
    consumes: tuple[str, ...] = ()
    """Names of data; it runs when all of them are new."""
    webhook: Webhook | None = None
    on_file: OnFile | None = None
    notify: Notify | None = None


def content_hash(encoded: Mapping[str, Any]) -> str:
    """The identity of a definition: SHA-256 over its canonical JSON, 32 hex digits."""
    return hashlib.sha256(canonical(encoded).encode()).hexdigest()[:32]


def canonical(encoded: Mapping[str, Any]) -> str:
    """JSON text with sorted keys and no blanks; equal values give equal text."""
    return json.dumps(encoded, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def encode(task: TaskDef) -> dict[str, Any]:
    """A definition as plain JSON values; defaults are left out, so that new fields change no hash."""
    out: dict[str, Any] = {"name": task.name, "task_type": task.task_type.value}
    _put(out, "description", task.description, "")
    _put(out, "tags", list(task.tags), [])
    _put(out, "enabled", task.enabled, True)
    _put(out, "params", dict(task.params), {})
    _put(out, "param_specs", encode_specs(task.param_specs), {})
    _put(out, "overlap", task.overlap.value, Overlap.SKIP.value)
    _put(out, "max_active_runs", task.max_active_runs, None)
    _put(out, "expected_within", _seconds(task.expected_within), None)
    _put(out, "bundle", task.bundle, None)
    _put(out, "produces", list(task.produces), [])
    _put(out, "consumes", list(task.consumes), [])
    if task.after:
        out["after"] = {
            "tasks": list(task.after.tasks),
            "on": task.after.on.value,
            "within": _seconds(task.after.within),
        }
    if task.webhook:
        out["webhook"] = {"name": task.webhook.name}
        _put(out["webhook"], "params", dict(task.webhook.params), {})
    if task.on_file:
        out["on_file"] = {"glob": task.on_file.glob}
        _put(out["on_file"], "settle", _seconds(task.on_file.settle), None)
    if task.notify:
        out["notify"] = encode_notify(task.notify)
    out |= _encode_retry(task.retry)
    if task.schedule:
        out["schedule"] = _encode_schedule(task.schedule)
    if task.action:
        out["action"] = _encode_action(task.action)
    if task.workflow:
        out["workflow"] = _encode_workflow(task.workflow)
    return out


def decode(encoded: Mapping[str, Any]) -> TaskDef:
    """The inverse of `encode`."""
    get = encoded.get
    schedule, action, workflow = get("schedule"), get("action"), get("workflow")
    return TaskDef(
        name=encoded["name"],
        task_type=TaskType(encoded["task_type"]),
        description=get("description", ""),
        tags=tuple(get("tags", ())),
        schedule=_decode_schedule(schedule) if schedule else None,
        enabled=get("enabled", True),
        params=get("params", {}),
        param_specs=decode_specs(get("param_specs", {})),
        overlap=Overlap(get("overlap", "skip")),
        max_active_runs=get("max_active_runs"),
        action=_decode_action(action) if action else None,
        workflow=_decode_workflow(workflow) if workflow else None,
        expected_within=_delta(get("expected_within")),
        bundle=get("bundle"),
        after=_decode_after(get("after")),
        produces=tuple(get("produces", ())),
        consumes=tuple(get("consumes", ())),
        webhook=Webhook(**encoded["webhook"]) if "webhook" in encoded else None,
        on_file=_decode_on_file(get("on_file")),
        notify=decode_notify(encoded["notify"]) if "notify" in encoded else None,
        retry=_decode_retry(encoded),
    )


def _decode_after(encoded: Mapping[str, Any] | None) -> After | None:
    if encoded is None:
        return None
    return After(tasks=tuple(encoded["tasks"]), on=On(encoded["on"]), within=_delta(encoded["within"]))


def _decode_on_file(encoded: Mapping[str, Any] | None) -> OnFile | None:
    return None if encoded is None else OnFile(glob=encoded["glob"], settle=_delta(encoded.get("settle")))


def _put(out: dict[str, Any], key: str, value: Any, default: Any) -> None:
    if value != default:
        out[key] = value


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()


def _delta(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _encode_schedule(schedule: Schedule) -> dict[str, Any]:
    out: dict[str, Any] = {"rules": [_encode_rule(rule) for rule in schedule.rules]}
    _put(out, "timezone", schedule.timezone, None)
    _put(out, "start_at", schedule.start_at and schedule.start_at.isoformat(), None)
    _put(out, "end_at", schedule.end_at and schedule.end_at.isoformat(), None)
    _put(out, "catchup", schedule.catchup.value, Catchup.LATEST.value)
    _put(out, "catchup_limit", schedule.catchup_limit, 100)
    _put(out, "misfire_grace", _seconds(schedule.misfire_grace), _seconds(DEFAULT_MISFIRE_GRACE))
    _put(out, "jitter", _seconds(schedule.jitter), 0.0)
    return out


def _decode_schedule(encoded: Mapping[str, Any]) -> Schedule:
    get = encoded.get
    return Schedule(
        rules=tuple(
            Rule(
                cron=rule.get("cron"),
                interval=_delta(rule.get("interval")),
                run_at=_instant(rule.get("run_at")),
                at=_decode_at(rule.get("at")),
                calendar=rule.get("calendar"),
            )
            for rule in encoded["rules"]
        ),
        timezone=get("timezone"),
        start_at=_instant(get("start_at")),
        end_at=_instant(get("end_at")),
        catchup=Catchup(get("catchup", "latest")),
        catchup_limit=get("catchup_limit", 100),
        misfire_grace=timedelta(seconds=get("misfire_grace", 300)),
        jitter=timedelta(seconds=get("jitter", 0)),
    )


def _encode_rule(rule: Rule) -> dict[str, Any]:
    out = _encode_kind(rule)
    _put(out, "calendar", rule.calendar, None)
    return out


def _encode_kind(rule: Rule) -> dict[str, Any]:
    if rule.cron is not None:
        return {"cron": rule.cron}
    if rule.interval is not None:
        return {"interval": rule.interval.total_seconds()}
    if rule.at is not None:
        return {"at": [rule.at.edge.value, rule.at.offset.total_seconds()]}
    assert rule.run_at is not None
    return {"run_at": rule.run_at.isoformat()}


def _decode_at(encoded: Sequence[Any] | None) -> At | None:
    return None if encoded is None else At(Edge(encoded[0]), timedelta(seconds=encoded[1]))


def _encode_action(action: Action) -> dict[str, Any]:
    out: dict[str, Any] = {"executor": action.executor, "config": dict(action.config)}
    _put(out, "env", dict(action.env), {})
    _put(out, "working_dir", action.working_dir, None)
    _put(out, "timeout", _seconds(action.timeout), _seconds(DEFAULT_TIMEOUT))
    _put(out, "isolation", action.isolation.value, Isolation.PROCESS.value)
    _put(out, "priority", action.priority, 0)
    _put(out, "pool", action.pool, None)
    return out | _encode_retry(action.retry)


def _encode_retry(retry: RetryPolicy) -> dict[str, Any]:
    out: dict[str, Any] = {}
    _put(out, "max_retries", retry.max_retries, 0)
    _put(out, "retry_interval", _seconds(retry.interval), _seconds(DEFAULT_RETRY_INTERVAL))
    if retry.backoff:
        out["retry_backoff"] = _encode_backoff(retry.backoff)
    return out


def _decode_retry(encoded: Mapping[str, Any]) -> RetryPolicy:
    get = encoded.get
    backoff = get("retry_backoff")
    return RetryPolicy(
        max_retries=get("max_retries", 0),
        interval=timedelta(seconds=get("retry_interval", 60)),
        backoff=_decode_backoff(backoff) if backoff else None,
    )


def _decode_action(encoded: Mapping[str, Any]) -> Action:
    get = encoded.get
    return Action(
        executor=encoded["executor"],
        config=encoded["config"],
        env=get("env", {}),
        working_dir=get("working_dir"),
        timeout=_delta(encoded["timeout"]) if "timeout" in encoded else DEFAULT_TIMEOUT,
        isolation=Isolation(get("isolation", "process")),
        priority=get("priority", 0),
        pool=get("pool"),
        retry=_decode_retry(encoded),
    )


def _encode_workflow(workflow: Workflow) -> dict[str, Any]:
    out: dict[str, Any] = {
        "workflow_type": workflow.workflow_type.value,
        "nodes": [_encode_node(node) for node in workflow.nodes],
    }
    _put(out, "on_failure", workflow.on_failure.value, OnFailure.STOP.value)
    _put(out, "max_parallel", workflow.max_parallel, None)
    _put(out, "timeout", _seconds(workflow.timeout), None)
    return out


def _decode_workflow(encoded: Mapping[str, Any]) -> Workflow:
    get = encoded.get
    return Workflow(
        workflow_type=WorkflowType(encoded["workflow_type"]),
        on_failure=OnFailure(get("on_failure", "stop")),
        max_parallel=get("max_parallel"),
        timeout=_delta(get("timeout")),
        nodes=tuple(_decode_node(node) for node in encoded["nodes"]),
    )


def _encode_node(node: Node) -> dict[str, Any]:
    out: dict[str, Any] = {"name": node.name}
    _put(out, "dependencies", list(node.dependencies), [])
    _put(out, "trigger_rule", node.trigger_rule.value, TriggerRule.ALL_SUCCESS.value)
    _put(out, "task", node.task, None)
    _put(out, "arguments", dict(node.arguments), {})
    _put(out, "when", node.when, None)
    _put(out, "for_each", encode_for_each(node.for_each), None)
    _put(out, "max_parallel", node.max_parallel, None)
    _put(out, "fail_on_partial", node.fail_on_partial, False)
    _put(out, "group", node.group, "")
    if node.approval:
        out["approval"] = encode_approval(node.approval)
    if node.notify:
        out["notify"] = encode_notify(node.notify)
    if node.overrides:
        out["overrides"] = encode_overrides(node.overrides)
    if node.action:
        out["action"] = _encode_action(node.action)
    return out


def encode_for_each(each: ForEach | None) -> Any:
    """The source of items in the words of files: a list, `{"range": [...]}` or the text of an expression."""
    if each is None or each.expression is not None:
        return each and each.expression
    return {"range": list(each.range)} if each.range is not None else list(each.items or ())


def _decode_for_each(encoded: Any) -> ForEach | None:
    if encoded is None or isinstance(encoded, str):
        return ForEach(expression=encoded) if encoded else None
    if isinstance(encoded, Mapping):
        start, stop, step = encoded["range"]
        return ForEach(range=(start, stop, step))
    return ForEach(items=tuple(encoded))


def encode_overrides(by: Overrides) -> dict[str, Any]:
    """Overrides as plain JSON values, in the words of files; those that are not set are left out."""
    out: dict[str, Any] = {}
    _put(out, "timeout", "none" if by.unbounded else _seconds(by.timeout), None)
    _put(out, "max_retries", by.max_retries, None)
    _put(out, "retry_interval", _seconds(by.retry_interval), None)
    if by.retry_backoff:
        out["retry_backoff"] = _encode_backoff(by.retry_backoff)
    _put(out, "priority", by.priority, None)
    _put(out, "pool", by.pool, None)
    _put(out, "env", dict(by.env), {})
    _put(out, "working_dir", by.working_dir, None)
    _put(out, "isolation", by.isolation and by.isolation.value, None)
    return out


def _decode_overrides(encoded: Mapping[str, Any]) -> Overrides:
    get = encoded.get
    timeout, isolation, backoff = get("timeout"), get("isolation"), get("retry_backoff")
    return Overrides(
        timeout=None if timeout == "none" else _delta(timeout),
        unbounded=timeout == "none",
        max_retries=get("max_retries"),
        retry_interval=_delta(get("retry_interval")),
        retry_backoff=_decode_backoff(backoff) if backoff else None,
        priority=get("priority"),
        pool=get("pool"),
        env=get("env", {}),
        working_dir=get("working_dir"),
        isolation=Isolation(isolation) if isolation else None,
    )


def _encode_backoff(backoff: Backoff) -> dict[str, Any]:
    return {"factor": backoff.factor, "cap": _seconds(backoff.cap), "jitter": backoff.jitter}


def _decode_backoff(encoded: Mapping[str, Any]) -> Backoff:
    return Backoff(factor=encoded["factor"], cap=_delta(encoded["cap"]), jitter=encoded["jitter"])


def _decode_node(encoded: Mapping[str, Any]) -> Node:
    get = encoded.get
    action = get("action")
    return Node(
        name=encoded["name"],
        dependencies=tuple(get("dependencies", ())),
        trigger_rule=TriggerRule(get("trigger_rule", "all_success")),
        action=_decode_action(action) if action else None,
        task=get("task"),
        arguments=get("arguments", {}),
        when=get("when"),
        for_each=_decode_for_each(get("for_each")),
        max_parallel=get("max_parallel"),
        overrides=_decode_overrides(encoded["overrides"]) if "overrides" in encoded else None,
        fail_on_partial=get("fail_on_partial", False),
        group=get("group", ""),
        approval=decode_approval(encoded["approval"]) if "approval" in encoded else None,
        notify=decode_notify(encoded["notify"]) if "notify" in encoded else None,
    )
