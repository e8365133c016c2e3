"""Which steps of executions does a committed batch hold? The batch is the record; observers get it in words.

Not in the engine's thread: what the rows don't repeat (whose node it is, of which task) is remembered here from the first row, and read
from the database for executions that were there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zquant_flow.core.status import ACTIVE
from zquant_flow.plugin.events import AttemptEnd, ExecutionChange, What
from zquant_flow.store.batch import Batch, Row

_FIRST_ROWS: Mapping[str, What] = {
    "created": "created",
    "nodes_started": "started",
    "nodes_waiting": "waiting",
    "nodes_skipped": "skipped",
    "nodes_reused": "ended",
}
_ACTIVE = frozenset(status.value for status in ACTIVE)


class Identity(NamedTuple):
    """What stays the same of an execution, and how it stood last."""

    task_id: int
    root_id: int
    parent_id: int | None
    node: str | None
    inline: bool
    trigger_type: str
    logical_time: int | None
    status: str | None
    attempt: int


Read = Callable[[Iterable[int]], Mapping[int, Identity]]


class Transitions:
    """Turns batches into facts. `task_name` and `read` are asked for what the rows don't say. Used by one thread."""

    def __init__(self, task_name: Callable[[int], str], read: Read) -> None:
        self._task_name, self._read = task_name, read
        self._known: dict[int, Identity] = {}

    def of(self, batch: Batch) -> tuple[list[ExecutionChange], list[AttemptEnd]]:
        """What happened in a batch, in the order in which it was written."""
        changes: list[ExecutionChange] = []
        ends: list[AttemptEnd] = []
        for part in batch.parts():
            self._look_up(part)
            for name, what in _FIRST_ROWS.items():
                changes += (self._first(row, what) for row in getattr(part, name))
            changes += self._later(part)
            ends += (self._end(row) for row in part.attempts if row["execution_id"] in self._known)
        for change in changes:
            if change.status not in _ACTIVE:
                self._known.pop(change.execution_id, None)
        return changes, ends

    def _look_up(self, part: Batch) -> None:
        """Make known what began before this process, or before anybody observed."""
        first = {row["id"] for name in _FIRST_ROWS for row in getattr(part, name)}
        updates = (part.started, part.waiting, part.paused, part.deadlines, part.ended, part.marks)
        named = {row["b_id"] for rows in updates for row in rows}
        named |= {row["execution_id"] for row in part.attempts}
        if missing := named - first - self._known.keys():
            self._known.update(self._read(missing))

    def _first(self, row: Row, what: What) -> ExecutionChange:
        get = row.get
        identity = self._known[row["id"]] = Identity(
            row["task_id"],
            row["root_id"],
            row["parent_execution_id"],
            row["node"],
            row["inline"],
            row["trigger_type"],
            get("logical_time"),
            row["status"],
            1,
        )
        if what == "created" and row["status"] == "running":
            what = "started"
        return self._change(
            row["id"],
            identity,
            what,
            row["status"],
            row["updated_time"],
            previous=None,
            error_code=get("error_code"),
            error_message=get("error_message"),
            waiting_for=get("waiting_for"),
            until=get("waiting_until"),
            skip_reason=get("skip_reason"),
        )

    def _later(self, part: Batch) -> Iterator[ExecutionChange]:
        """The changes of rows that were there; one whose row is gone by now is nobody's."""
        known = self._known
        for row in part.started:
            if row["b_id"] in known:
                yield self._moved(row, "started")
        for row in part.waiting:
            if row["b_id"] not in known:
                continue
            attempt = row["retry_count"] + 1
            what: What = "retry" if row["waiting_for"] == "retry" else "waiting"
            yield self._moved(
                row, what, attempt=attempt, waiting_for=row["waiting_for"], until=row["waiting_until"]
            )
        for row in part.paused:
            if row["b_id"] in known:
                yield self._moved(row, "paused" if row["status"] == "paused" else "resumed")
        for row in part.deadlines:
            if row["b_id"] in known:
                yield self._noted(row, "deadline_missed")
        for row in part.ended:
            if row["b_id"] in known:
                yield self._moved(
                    row,
                    "ended",
                    error_code=row["error_code"],
                    error_message=row["error_message"],
                    duration_seconds=row["duration_seconds"],
                )
        for row in part.marks:
            if row["b_id"] in known:
                yield self._noted(row, "marked", by=row["marked_by"])

    def _moved(self, row: Row, what: What, *, attempt: int | None = None, **facts: Any) -> ExecutionChange:
        number, status = row["b_id"], row["status"]
        identity = self._known[number]
        previous = identity.status
        identity = identity._replace(status=status, attempt=attempt or identity.attempt)
        self._known[number] = identity
        return self._change(number, identity, what, status, row["updated_time"], previous=previous, **facts)

    def _noted(self, row: Row, what: What, **facts: Any) -> ExecutionChange:
        identity = self._known[row["b_id"]]
        status = identity.status or ""
        return self._change(
            row["b_id"], identity, what, status, row["updated_time"], previous=status, **facts
        )

    def _change(
        self, number: int, identity: Identity, what: What, status: str, at: int, **facts: Any
    ) -> ExecutionChange:
        task_id, root_id, parent_id, node, inline, trigger_type, logical_time, _, attempt = identity
        return ExecutionChange(
            number,
            what,
            status,
            at,
            task_id,
            self._task_name(task_id),
            root_id,
            parent_id,
            node,
            inline,
            trigger_type,
            logical_time,
            attempt,
            **facts,
        )

    def _end(self, row: Row) -> AttemptEnd:
        identity = self._known[row["execution_id"]]
        return AttemptEnd(
            row["execution_id"],
            row["attempt"],
            row["outcome"],
            identity.task_id,
            self._task_name(identity.task_id),
            identity.node,
            row["start_time"],
            row["end_time"],
            row["duration_seconds"],
            row["exit_code"],
            row["signal"],
            row["error_code"],
            row["error_message"],
        )
