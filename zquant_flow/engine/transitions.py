"""Which steps of executions does a committed batch hold? The batch is the record; observers get it in words.

Not in the engine's thread, but beside it, in the same interpreter: of each node three facts are made, so a fact costs a tuple and little else.
What the rows don't repeat (whose node it is, of which task) is remembered from the first row, and read from the database for
executions that were there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from zquant_flow.core.status import ACTIVE
from zquant_flow.plugin.events import AttemptEnd, ExecutionChange, What
from zquant_flow.store.batch import Batch, Row

_FIRST_ROWS: tuple[tuple[str, What], ...] = (
    ("created", "created"),
    ("nodes_started", "started"),
    ("nodes_waiting", "waiting"),
    ("nodes_skipped", "skipped"),
    ("nodes_reused", "ended"),
)
_ACTIVE = frozenset(status.value for status in ACTIVE)
_new = tuple.__new__
_NOTHING_MORE = (None,) * 8
"""What a step has no word of, from the status before it on."""


class Identity(NamedTuple):
    """What stays the same of an execution; as the facts have it, in their order."""

    task_id: int
    task: str
    root_id: int
    parent_id: int | None
    node: str | None
    inline: bool
    trigger_type: str
    logical_time: int | None


Read = Callable[[Iterable[int]], Mapping[int, tuple[Identity, int]]]
"""Of executions that are there: who they are, and their attempt."""


class Transitions:
    """Turns batches into facts. `task_name` and `read` are asked for what the rows don't say. Used by one thread."""

    def __init__(self, task_name: Callable[[int], str], read: Read) -> None:
        self._task_name, self._read = task_name, read
        self._known: dict[int, tuple[Identity, str | None, int]] = {}
        """Who an execution is, the status that was told last, and the attempt."""

    def of(self, batch: Batch) -> tuple[list[ExecutionChange], list[AttemptEnd]]:
        """What happened in a batch, in the order in which it was written."""
        changes: list[ExecutionChange] = []
        ends: list[AttemptEnd] = []
        for part in batch.parts():
            for name, what in _FIRST_ROWS:
                if rows := getattr(part, name):
                    self._first(rows, what, changes)
            self._look_up(part)
            self._later(part, changes)
            ends += self._ends(part.attempts)
        for change in changes:
            if change[2] not in _ACTIVE:
                self._known.pop(change[0], None)
        return changes, ends

    def _look_up(self, part: Batch) -> None:
        """Make known what began before this process, or before anybody observed."""
        known = self._known
        missing = {
            row["b_id"]
            for rows in (part.started, part.waiting, part.paused, part.deadlines, part.ended, part.marks)
            for row in rows
            if row["b_id"] not in known
        }
        missing |= {row["execution_id"] for row in part.attempts if row["execution_id"] not in known}
        if missing:
            found = self._read(missing)
            known |= {id_: (identity, None, attempt) for id_, (identity, attempt) in found.items()}

    def _first(self, rows: list[Row], what: What, changes: list[ExecutionChange]) -> None:
        name = self._task_name
        for row in rows:
            get, id_, status, task_id = row.get, row["id"], row["status"], row["task_id"]
            identity: Identity = _new(
                Identity,
                (
                    task_id,
                    name(task_id),
                    row["root_id"],
                    row["parent_execution_id"],
                    row["node"],
                    row["inline"],
                    row["trigger_type"],
                    get("logical_time"),
                ),
            )
            self._known[id_] = identity, status, 1
            said: What = "started" if what == "created" and status == "running" else what
            head = (id_, said, status, row["updated_time"], *identity, 1)
            if said == "started":
                changes.append(_new(ExecutionChange, head + _NOTHING_MORE))
                continue
            facts = (None, get("error_code"), get("error_message"), None)
            waits = (get("waiting_for"), get("waiting_until"))
            changes.append(_new(ExecutionChange, (*head, *facts, *waits, get("skip_reason"), None)))

    def _later(self, part: Batch, changes: list[ExecutionChange]) -> None:
        """The changes of rows that were there; one whose row is gone by now is nobody's."""
        for row in part.started:
            self._move(row, "started", changes)
        for row in part.waiting:
            what: What = "retry" if row["waiting_for"] == "retry" else "waiting"
            waits = row["waiting_for"], row["waiting_until"]
            self._move(row, what, changes, attempt=row["retry_count"] + 1, waits=waits)
        for row in part.paused:
            self._move(row, "paused" if row["status"] == "paused" else "resumed", changes)
        for row in part.deadlines:
            self._note(row, "deadline_missed", None, changes)
        self._end(part.ended, changes)
        for row in part.marks:
            self._note(row, "marked", row["marked_by"], changes)

    def _move(
        self,
        row: Row,
        what: What,
        changes: list[ExecutionChange],
        *,
        attempt: int | None = None,
        waits: tuple[str | None, int | None] = (None, None),
    ) -> None:
        id_, status = row["b_id"], row["status"]
        found = self._known.get(id_)
        if found is None:
            return
        identity, previous, before = found
        attempt = attempt or before
        self._known[id_] = identity, status, attempt
        at = row["updated_time"]
        head = (id_, what, status, at, *identity, attempt, previous)
        changes.append(_new(ExecutionChange, (*head, None, None, None, *waits, None, None)))

    def _end(self, rows: list[Row], changes: list[ExecutionChange]) -> None:
        known = self._known
        for row in rows:
            id_ = row["b_id"]
            found = known.get(id_)
            if found is None:
                continue
            identity, previous, attempt = found
            head = (id_, "ended", row["status"], row["updated_time"], *identity, attempt, previous)
            end = (row["error_code"], row["error_message"], row["duration_seconds"])
            changes.append(_new(ExecutionChange, (*head, *end, None, None, None, None)))

    def _note(self, row: Row, what: What, by: str | None, changes: list[ExecutionChange]) -> None:
        found = self._known.get(row["b_id"])
        if found is None:
            return
        identity, status, attempt = found
        head = (row["b_id"], what, status or "", row["updated_time"], *identity, attempt, status)
        changes.append(_new(ExecutionChange, (*head, None, None, None, None, None, None, by)))

    def _ends(self, rows: list[Row]) -> list[AttemptEnd]:
        known = self._known
        return [
            _new(
                AttemptEnd,
                (
                    row["execution_id"],
                    row["attempt"],
                    row["outcome"],
                    identity[0],
                    identity[1],
                    identity[4],
                    row["start_time"],
                    row["end_time"],
                    row["duration_seconds"],
                    row["exit_code"],
                    row["signal"],
                    row["error_code"],
                    row["error_message"],
                ),
            )
            for row in rows
            if (found := known.get(row["execution_id"])) is not None
            for identity in (found[0],)
        ]
