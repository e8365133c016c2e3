"""Which states has an execution, and which steps between them are legal?

The table is SEMANTICS §7.1: waiting (for a retry, a slot, a pool) is `pending` with `waiting_for`; a lost or stopped
attempt goes back to `pending` or ends; a final state is never left.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The state of an execution."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILED = "failed"
    COMPLETED = "completed"
    TERMINATED = "terminated"
    SKIPPED = "skipped"


ACTIVE = frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED})
FINAL = frozenset(set(Status) - ACTIVE)
UNSUCCESSFUL = frozenset({Status.FAILED, Status.TERMINATED})
"""What a workflow counts as failure of a node (SEMANTICS §8.2)."""

LEGAL: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.FAILED, Status.TERMINATED, Status.SKIPPED}),
    Status.RUNNING: frozenset(
        {
            Status.SUCCESS,
            Status.FAILED,
            Status.COMPLETED,
            Status.TERMINATED,
            Status.PAUSED,
            Status.PENDING,
        }
    ),
    Status.PAUSED: frozenset({Status.RUNNING, Status.PENDING, Status.TERMINATED}),
    **{status: frozenset() for status in FINAL},
}


class IllegalTransition(Exception):
    """A step that the table does not have: a fault of ours, never of a user."""


def advance(before: Status, after: Status) -> Status:
    """`after`, when the table allows the step from `before`; raises IllegalTransition otherwise."""
    if after not in LEGAL[before]:
        raise IllegalTransition(f"{before} -> {after}")
    return after


class ScheduleStatus(StrEnum):
    """The one word a task shows in lists (SEMANTICS §7.5)."""

    DISABLED = "disabled"
    PAUSED = "paused"
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    TERMINATED = "terminated"


class WaitingFor(StrEnum):
    """What keeps a pending execution."""

    SLOT = "slot"
    POOL = "pool"
    RETRY = "retry"
    SHUTDOWN = "shutdown"
    OVERLAP = "overlap"
    JITTER = "jitter"
    BACKFILL = "backfill"
    APPROVAL = "approval"
    CHECK = "check"


class TriggerType(StrEnum):
    """Why an execution exists."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    API = "api"
    BACKFILL = "backfill"
    EVENT = "event"
    WORKFLOW = "workflow"
    RESUME = "resume"


def schedule_status(
    *, enabled: bool, paused: bool, running: bool, retrying: bool, waiting: bool, latest: Status | None
) -> ScheduleStatus:
    """The word for a task from its facts, in the order of SEMANTICS §7.5.

    `running`: an attempt is active; `retrying`: a retry is due; `waiting`: an execution waits, or the task never ran and
    a fire is ahead; `latest`: the state of the latest root execution.
    """
    if not enabled:
        return ScheduleStatus.DISABLED
    if paused:
        return ScheduleStatus.PAUSED
    if running:
        return ScheduleStatus.RUNNING
    if retrying:
        return ScheduleStatus.FAILED
    if waiting or latest is None:
        return ScheduleStatus.PENDING
    if latest in (Status.SUCCESS, Status.COMPLETED):
        return ScheduleStatus.SUCCESS
    if latest in UNSUCCESSFUL:
        return ScheduleStatus.TERMINATED
    return ScheduleStatus.PENDING
