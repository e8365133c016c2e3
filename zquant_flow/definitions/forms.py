"""How may a definition be written?

The pydantic models of the border: the words of SEMANTICS §3 and the shape of their values, nothing about what they mean
together. `schema` turns a valid form into a frozen definition.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zoneinfo
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from zquant_flow.core.approval import OnTimeout
from zquant_flow.core.expressions import bare
from zquant_flow.core.globs import fault_of as fault_of_glob
from zquant_flow.core.model import (
    At,
    Catchup,
    Edge,
    ForEach,
    Isolation,
    OnFailure,
    Overlap,
    TaskType,
    TriggerRule,
    WorkflowType,
)
from zquant_flow.core.params import ParamType
from zquant_flow.core.waits import On
from zquant_flow.definitions.durations import parse_duration
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.wording import say

UNBOUNDED = "none"
_CALENDAR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,49}")
_AT = re.compile(r"(?P<edge>open|close)(?:\s*(?P<sign>[+-])\s*(?P<offset>\S.*))?")
_HOOK = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONGEST_OFFSET = timedelta(days=7) - timedelta.resolution
_LARGEST = 2**53
"""Of a range: larger numbers are not the same in every JSON."""
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[dhms]?.*$"},
    ],
    "description": "seconds, or 30s, 5m, 2h, 1d, 1h30m",
}


def check_name(value: Any) -> str:
    """A name in NFC: 1-100 characters, none of them a control character (SEMANTICS §2.1)."""
    if not isinstance(value, str):
        raise ValueError(say("a name is text: write '{value}' in quotes", value=str(value)))
    name = value if value.isascii() else unicodedata.normalize("NFC", value)
    if not 1 <= len(name) <= 100:
        raise ValueError(say("a name has 1 to 100 characters, this one {count}", count=len(name)))
    if not name.isprintable():
        bad = next((char for char in name if unicodedata.category(char) in ("Cc", "Cs")), None)
        if bad is not None:
            raise ValueError(say("a name can't hold control characters, such as {bad!a}", bad=bad))
    return name


@functools.lru_cache(maxsize=1_000)
def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that name; raises ValueError with the nearest known one."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        hint = did_you_mean(name, zoneinfo.available_timezones())
        raise ValueError(
            say(
                "unknown time zone {name!r}{hint}: write one such as Asia/Shanghai or UTC",
                name=name[:100],
                hint=hint,
            )
        ) from None


def _timezone(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(say("a time zone is a name such as Asia/Shanghai or UTC"))
    zone_of(value)
    return value


def _calendar(value: Any) -> str:
    if isinstance(value, str) and _CALENDAR.fullmatch(value) and ".." not in value:
        return value
    raise ValueError(
        say(
            "a calendar is the name of an exchange such as XSHG or XNYS, or of a file in the calendars folder"
        )
    )


def _at(value: Any) -> At:
    found = _AT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(say("at is open or close with an offset, such as close+30m or open-15m"))
    offset = parse_duration(found["offset"]) if found["offset"] else timedelta()
    if offset > _LONGEST_OFFSET:
        raise ValueError(say("an offset of {days} days or more is no time of a session", days=7))
    return At(Edge(found["edge"]), -offset if found["sign"] == "-" else offset)


def _positive(value: Any) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise ValueError(say("must be longer than 0"))
    return duration


def _interval(value: Any) -> timedelta:
    duration = parse_duration(value)
    if duration < timedelta(seconds=1):
        raise ValueError(say("an interval is at least 1 second"))
    return duration


def _bound(value: Any) -> timedelta | str:
    """A positive duration, or `none` which lifts the bound."""
    return UNBOUNDED if isinstance(value, str) and value.strip().lower() == UNBOUNDED else _positive(value)


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    raise ValueError(
        say(
            "{value:.60} is no instant: write 2026-01-31 18:30, or 2026-01-31T18:30:00+08:00",
            value=repr(value),
        )
    )


def _command(value: Any) -> str | list[str]:
    if isinstance(value, str) and value.strip():
        return value
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(word, (str, int, float)) for word in value)
    ):
        words = [_scalar_text(word) for word in value]
        if words[0]:
            return words
    raise ValueError(say("a command is text, or a list of words of which the first is the program"))


def _shell(value: Any) -> str | bool:
    if value is False or (isinstance(value, str) and value.startswith("/")):
        return bool(value) and value
    raise ValueError(say("shell is the full path of a shell such as /bin/bash, or false"))


def _python(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    module, _, function = text.partition(":")
    dotted = all(word.isidentifier() for word in module.split("."))
    if function.isidentifier() and (dotted or (module and not set("./\\\0") & set(module))):
        return text
    raise ValueError(
        say("python is module:function, a function in a file beside this one, such as reports:daily")
    )


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(say("env is a mapping of names to values"))
    for name, item in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(say("{name:.60} can't be the name of an environment variable", name=repr(name)))
        if not isinstance(item, (str, int, float)):
            raise ValueError(say("the value of {name} must be text", name=name))
    return {name: _scalar_text(item) for name, item in value.items()}


def _scalar_text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _working_dir(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(say("working_dir is the path of a folder"))
    return value


def _dependency(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(say("a dependency is the name of a node, or a node's task_id"))
    return value if isinstance(value, int) else check_name(value)


def _condition(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError(say("when is an expression, such as params.full or nodes.load.result.rows > 0"))


def _each(value: Any) -> ForEach:
    """A list, an expression, or `{range: N}`, `{range: [start, stop]}`, `{range: [start, stop, step]}`."""
    if isinstance(value, (list, tuple)):
        return ForEach(items=tuple(value))
    if isinstance(value, str) and value.strip():
        return ForEach(expression=bare(value))
    if isinstance(value, Mapping) and set(value) == {"range"}:
        return ForEach(range=_span(value["range"]))
    raise ValueError(
        say(
            "for_each is a list, an expression such as nodes.codes.result, or {example}",
            example="{range: 10}",
        )
    )


def _span(value: Any) -> tuple[int, int, int]:
    words = value if isinstance(value, (list, tuple)) else [0, value]
    if not 2 <= len(words) <= 3 or any(isinstance(word, bool) or not isinstance(word, int) for word in words):
        raise ValueError(say("a range is a number, or [start, stop] or [start, stop, step]"))
    start, stop, step = (*words, 1)[:3]
    if step == 0:
        raise ValueError(say("a range can't step by 0"))
    if max(abs(start), abs(stop), abs(step)) > _LARGEST:
        raise ValueError(say("a range ends at {largest}", largest=_LARGEST))
    return start, stop, step


def _typed(check: Any, **schema: Any) -> Any:
    return (PlainValidator(check), WithJsonSchema(schema))


Name = Annotated[str, *_typed(check_name, type="string", minLength=1, maxLength=100)]
Zone = Annotated[str, *_typed(_timezone, type="string", examples=["Asia/Shanghai", "UTC"])]
CalendarName = Annotated[str, *_typed(_calendar, type="string", examples=["XSHG", "XNYS"])]
SessionTime = Annotated[
    At, *_typed(_at, type="string", pattern=r"^(open|close)", examples=["close+30m", "open-15m"])
]
Duration = Annotated[timedelta, *_typed(parse_duration, **_DURATION_SCHEMA)]
Interval = Annotated[timedelta, *_typed(_interval, **_DURATION_SCHEMA)]
Positive = Annotated[timedelta, *_typed(_positive, **_DURATION_SCHEMA)]
Bound = Annotated[timedelta | str, *_typed(_bound, anyOf=[*_DURATION_SCHEMA["anyOf"], {"const": UNBOUNDED}])]
Instant = Annotated[datetime, *_typed(_instant, type="string", examples=["2026-01-31 18:30"])]
Command = Annotated[
    str | list[str],
    *_typed(
        _command, anyOf=[{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]
    ),
]
Shell = Annotated[str | bool, *_typed(_shell, anyOf=[{"type": "string", "pattern": "^/"}, {"const": False}])]
Python = Annotated[str, *_typed(_python, type="string", pattern="^[^:]+:[^:]+$")]
Environment = Annotated[
    dict[str, str],
    *_typed(_environment, type="object", additionalProperties={"type": ["string", "number", "boolean"]}),
]
Folder = Annotated[str, *_typed(_working_dir, type="string", minLength=1)]
Dependency = Annotated[str | int, *_typed(_dependency, type=["string", "integer"])]
Condition = Annotated[str, *_typed(_condition, type=["string", "boolean"])]
Count = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Size = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Factor = Annotated[float, Field(strict=True, ge=1, le=1_000)]
Params = dict[str, Any]
_ParamSchema = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {
                "type": "object",
                "description": "what is said about a param",
                "properties": {
                    "type": {"enum": [kind.value for kind in ParamType]},
                    "default": {},
                    "enum": {"type": "array", "minItems": 1},
                    "required": {"type": "boolean"},
                    "description": {"type": "string"},
                    "minimum": {"type": "number"},
                    "maximum": {"type": "number"},
                },
                "additionalProperties": False,
                "anyOf": [{"required": ["type"]}, {"required": ["required"]}],
            },
            {"description": "its default"},
        ]
    },
}
TaskParams = Annotated[dict[str, Any], WithJsonSchema(_ParamSchema)]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RangeForm(Form):
    """Whole numbers: up to one, or from `start` to `stop` by `step`."""

    range: int | Annotated[list[int], Field(min_length=2, max_length=3)]


Each = Annotated[ForEach, PlainValidator(_each, json_schema_input_type=list[Any] | str | RangeForm)]


class RuleForm(Form):
    """One of several schedules."""

    cron: str | None = None
    interval: Interval | None = None
    run_at: Instant | None = None
    at: SessionTime | None = None
    calendar: CalendarName | None = None


class BackoffForm(Form):
    factor: Factor = 2.0
    cap: Positive | None = None
    jitter: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0


def _factor_alone(value: Any) -> Any:
    return {"factor": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


_BackoffSchema = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": 1},
            {**BackoffForm.model_json_schema(), "description": "how the wait grows"},
        ]
    }
)
GrowingWait = Annotated[BackoffForm, BeforeValidator(_factor_alone), _BackoffSchema]


def _list_of_one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[Name],
    BeforeValidator(_list_of_one, json_schema_input_type=Name | list[Name]),
    Field(min_length=1, max_length=100),
]


class NotifyForm(Form):
    """Which channels are told of what."""

    on_failure: Names | None = None
    on_success: Names | None = None
    on_retry: Names | None = None
    on_deadline: Names | None = None
    on_recovery: Names | None = None


def _channels_alone(value: Any) -> Any:
    """Channels without more are told when it fails, and when it succeeds again."""
    return {"on_failure": value, "on_recovery": value} if isinstance(value, (str, list, tuple)) else value


Told = Annotated[
    NotifyForm, BeforeValidator(_channels_alone, json_schema_input_type=Name | list[Name] | NotifyForm)
]


class ActionForm(Form):
    """What an attempt does, and the bounds around it; shared by tasks and nodes."""

    executor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    command: Command | None = None
    python: Python | None = None
    config: Params | None = None
    shell: Shell | None = None
    env: Environment | None = None
    working_dir: Folder | None = None
    timeout: Bound | None = None
    max_retries: Count | None = None
    retry_interval: Duration | None = None
    retry_backoff: GrowingWait | None = None
    priority: Annotated[int, Field(strict=True, ge=-1_000_000, le=1_000_000)] | None = None
    pool: Name | None = None
    isolation: Isolation | None = None
    notify: Told | None = None
    params: Params | None = None


def _question_alone(value: Any) -> Any:
    if value is True:
        return {}
    if not isinstance(value, (str, Mapping)):
        raise ValueError(
            say("approval is true, a question, or a mapping with message, who, timeout and on_timeout")
        )
    return {"message": value} if isinstance(value, str) else value


class ApprovalForm(Form):
    """A node that waits for somebody's answer."""

    message: Annotated[str, Field(max_length=1_000)] = ""
    who: Annotated[list[Name], BeforeValidator(_list_of_one), Field(max_length=100)] = []
    timeout: Bound | None = None
    on_timeout: OnTimeout = OnTimeout.REJECT


Question = Annotated[
    ApprovalForm,
    BeforeValidator(_question_alone, json_schema_input_type=Literal[True] | str | ApprovalForm),
]


class NodeForm(ActionForm):
    name: Name | None = None
    task: Name | None = None
    task_id: Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)] | None = None
    dependencies: list[Dependency] | None = None
    trigger_rule: TriggerRule | None = None
    when: Condition | None = None
    for_each: Each | None = None
    max_parallel: Size | None = None
    fail_on_partial: bool = False
    group: Name | None = None
    approval: Question | None = None


def _tasks_alone(value: Any) -> Any:
    return {"tasks": value} if isinstance(value, (str, list, tuple)) else value


class AfterForm(Form):
    """The tasks whose ends are waited for."""

    tasks: Names
    on: On = On.SUCCESS
    within: Bound | None = None


AfterTasks = Annotated[
    AfterForm, BeforeValidator(_tasks_alone, json_schema_input_type=Name | list[Name] | AfterForm)
]


def _name_alone(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _hook_name(value: Any) -> str:
    if isinstance(value, str) and _HOOK.fullmatch(value):
        return value
    raise ValueError(
        say("the name of a webhook has 1 to 64 small letters, digits and dashes, and begins with no dash")
    )


HookName = Annotated[str, *_typed(_hook_name, type="string", pattern=f"^{_HOOK.pattern}$")]


class WebhookForm(Form):
    """The address of a webhook, and the params that are made of what comes there."""

    name: HookName
    params: Params | None = None


Hook = Annotated[WebhookForm, BeforeValidator(_name_alone, json_schema_input_type=HookName | WebhookForm)]


def _glob_alone(value: Any) -> Any:
    return {"glob": value} if isinstance(value, str) else value


def _glob(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(say("a glob is text, such as inbox/*.csv"))
    if (fault := fault_of_glob(value)) is not None:
        raise ValueError(fault)
    return value


GlobText = Annotated[str, *_typed(_glob, type="string", minLength=1, examples=["inbox/*.csv"])]


class OnFileForm(Form):
    """The files whose coming is waited for, and how long they have to stand still."""

    glob: GlobText
    settle: Duration | None = None


OnFileWords = Annotated[
    OnFileForm, BeforeValidator(_glob_alone, json_schema_input_type=GlobText | OnFileForm)
]


class TaskForm(ActionForm):
    name: Name
    task_type: TaskType | None = None
    description: Annotated[str, Field(max_length=10_000)] = ""
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = None
    cron: str | None = None
    interval: Interval | None = None
    run_at: Instant | None = None
    at: SessionTime | None = None
    calendar: CalendarName | None = None
    schedules: Annotated[list[RuleForm], Field(min_length=1, max_length=100)] | None = None
    timezone: Zone | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None
    catchup: Catchup | None = None
    catchup_limit: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    misfire_grace_time: Duration | None = None
    jitter: Positive | None = None
    overlap: Overlap | None = None
    after: AfterTasks | None = None
    produces: Names | None = None
    consumes: Names | None = None
    webhook: Hook | None = None
    on_file: OnFileWords | None = None
    max_active_runs: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = None
    expected_within: Positive | None = None
    enabled: bool = True
    params: TaskParams | None = None
    workflow_type: WorkflowType | None = None
    on_failure: OnFailure | None = None
    max_parallel: Size | None = None
    workflow_timeout: Bound | None = None
    tasks: list[NodeForm] | None = None


WORKFLOW_KEYS: tuple[Literal["workflow_type", "on_failure", "max_parallel", "workflow_timeout"], ...] = (
    "workflow_type",
    "on_failure",
    "max_parallel",
    "workflow_timeout",
)
