"""What do observers hear? Facts of what has been committed, as plain values.

They come in batches, in the order of the commits, and a little later than the change itself: an observer is a reader, and can't hold
anything up. Instants are microseconds since 1970 in UTC; `moment` makes them datetimes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from zquant_flow.core.model import TaskDef

What = Literal[
    "created",
    "started",
    "waiting",
    "retry",
    "paused",
    "resumed",
    "ended",
    "skipped",
    "deadline_missed",
    "marked",
]


class ExecutionChange(NamedTuple):
    """One step of one execution.

    `what` happened: `retry` is a failed attempt with another one to come, `waiting` any other return to `pending`; `started` begins
    attempt `attempt`. `status` is the one after it, `previous` the one before where that is known. `node` is the place in the
    workflow `parent_id`, None for a root. `inline` ones stand in no task's history. `error_code`, `error_message` and `duration_seconds` come
    with `ended`, `waiting_for` and `until` with `waiting` and `retry`, `skip_reason` with `skipped`, `by` with `marked`.
    """

    execution_id: int
    what: What
    status: str
    at: int
    task_id: int
    task: str
    root_id: int
    parent_id: int | None
    node: str | None
    inline: bool
    trigger_type: str
    logical_time: int | None
    attempt: int
    previous: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    duration_seconds: float | None = None
    waiting_for: str | None = None
    until: int | None = None
    skip_reason: str | None = None
    by: str | None = None

    @property
    def is_root(self) -> bool:
        """Whether it belongs to no workflow."""
        return self.parent_id is None


class AttemptEnd(NamedTuple):
    """One try that is over. `outcome`: `success, failed, timeout, terminated, shutdown, lost, ...`, as attempts have it."""

    execution_id: int
    attempt: int
    outcome: str
    task_id: int
    task: str
    node: str | None
    start_time: int
    end_time: int
    duration_seconds: float | None
    exit_code: int | None
    signal: int | None
    error_code: str | None
    error_message: str | None


class DefinitionChange(NamedTuple):
    """A task came to be known (`loaded`), has another version (`changed`), or is gone (`removed`, with its last definition)."""

    what: Literal["loaded", "changed", "removed"]
    task_id: int
    task: str
    version: int
    source: str
    definition: TaskDef


def moment(micros: int) -> datetime:
    """An instant of these facts, aware, in UTC."""
    from zquant_flow.core.instants import from_micros

    return from_micros(micros)
