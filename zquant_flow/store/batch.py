"""How do decisions become rows? A turn's transitions, all in one transaction or none.

The only writer of statuses. Every update holds only if the row is still as the engine believed: where the sum of rows
differs from what was expected, all is rolled back and the caller must look again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Table,
    Update,
    bindparam,
    case,
    delete,
    insert,
    literal_column,
    select,
    text,
    update,
)

from zquant_flow.core.status import ACTIVE
from zquant_flow.failpoints import reached
from zquant_flow.store.arrays import insert_rows, update_rows
from zquant_flow.store.database import Database
from zquant_flow.store.notices import tell
from zquant_flow.store.tables import (
    attempts,
    audit,
    backfills,
    definitions,
    engines,
    executions,
    fires,
    idempotency_keys,
    letters,
    seen_files,
    signals,
    tasks,
)
from zquant_flow.store.tallies import grow
from zquant_flow.store.terms import Fenced

Row = dict[str, Any]

FEW = 3
"""So many rows are not worth a statement of their own kind."""


class StaleRows(Exception):
    """Rows were not as this engine believed: its memory is wrong."""


@dataclass(slots=True)
class Batch:
    """The rows of one turn. Each list holds dicts of one shape, made by the functions of `engine.rows`."""

    adhoc_tasks: list[Row] = field(default_factory=list)
    definitions: list[Row] = field(default_factory=list)
    backfills: list[Row] = field(default_factory=list)
    backfills_cancelled: list[Row] = field(default_factory=list)
    created: list[Row] = field(default_factory=list)
    nodes_started: list[Row] = field(default_factory=list)
    nodes_waiting: list[Row] = field(default_factory=list)
    nodes_skipped: list[Row] = field(default_factory=list)
    nodes_reused: list[Row] = field(default_factory=list)
    started: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    handed: list[Row] = field(default_factory=list)
    paused: list[Row] = field(default_factory=list)
    ended: list[Row] = field(default_factory=list)
    progress: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    handles: list[Row] = field(default_factory=list)
    deadlines: list[Row] = field(default_factory=list)
    marks: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    fires: list[Row] = field(default_factory=list)
    released_fires: list[Row] = field(default_factory=list)
    """Executions that will never run, whose logical times may fire again."""
    activity: list[Row] = field(default_factory=list)
    standings: list[Row] = field(default_factory=list)
    cursors: list[Row] = field(default_factory=list)
    switches: list[Row] = field(default_factory=list)
    hooks: list[Row] = field(default_factory=list)
    audit: list[Row] = field(default_factory=list)
    keys: list[Row] = field(default_factory=list)
    files_gone: list[Row] = field(default_factory=list)
    files_seen: list[Row] = field(default_factory=list)
    signals_gone: list[Row] = field(default_factory=list)
    signals: list[Row] = field(default_factory=list)
    letters: list[Row] = field(default_factory=list)
    obeyed: list[Row] = field(default_factory=list)
    tallies: list[Row] = field(default_factory=list)
    """Listed executions that end here; `store.tallies` says in which shape."""
    void_after: int | None = None
    later: Batch | None = None
    """Second changes of rows that this batch changes already; written after it, in the same transaction."""
    last_id: int = 0
    """The highest execution id given so far, this batch included; 0 where ids come in blocks."""

    def __bool__(self) -> bool:
        return self.void_after is not None or any(getattr(self, name) for name in _STATEMENTS)

    def parts(self) -> Iterator[Batch]:
        """This batch and those that come after it."""
        part: Batch | None = self
        while part is not None:
            yield part
            part = part.later

    def numbered(self) -> Iterator[Row]:
        """The rows that get a `change_seq` of their own."""
        for part in self.parts():
            for name in _NUMBERED:
                yield from getattr(part, name)


def _known(*names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


def _execution_update(*names: str, was: Any) -> Update:
    own = executions.c.id == bindparam("b_id")
    return update(executions).where(own, was).values(_known(*names, "updated_time", "change_seq"))


_ACTIVE = executions.c.status.in_([literal_column(f"'{status.value}'") for status in sorted(ACTIVE)])

_STATEMENTS: Mapping[str, tuple[Executable, bool]] = {
    # name: (statement, every row must hit exactly one)
    "adhoc_tasks": (insert(tasks), True),
    "definitions": (insert(definitions), True),
    "backfills": (insert(backfills), True),
    "backfills_cancelled": (
        update(backfills)
        .where(backfills.c.id == bindparam("b_id"))
        .values(_known("cancelled_by", "cancelled_time")),
        False,
    ),
    "created": (insert(executions), True),
    "nodes_started": (insert(executions), True),
    "nodes_waiting": (insert(executions), True),
    "nodes_skipped": (insert(executions), True),
    "nodes_reused": (insert(executions), True),
    "started": (
        _execution_update(
            "status",
            "owner",
            "start_time",
            "attempt_start",
            "waiting_for",
            "waiting_until",
            was=executions.c.status == literal_column("'pending'"),
        ),
        True,
    ),
    "waiting": (
        _execution_update("status", "retry_count", "waiting_for", "waiting_until", was=_ACTIVE),
        True,
    ),
    "handed": (_execution_update("owner", was=executions.c.status == literal_column("'pending'")), True),
    "paused": (_execution_update("status", "pause_requested", was=_ACTIVE), True),
    "progress": (
        _execution_update(
            "progress_percent",
            "current_item",
            "total_items",
            "processed_items",
            "estimated_end_time",
            "message",
            was=_ACTIVE,
        ),
        False,
    ),
    "requests": (_execution_update("pause_requested", "terminate_requested", was=_ACTIVE), False),
    "handles": (_execution_update("handle", "checks", was=_ACTIVE), True),
    "deadlines": (_execution_update("deadline_missed", was=_ACTIVE), False),
    "ended": (
        _execution_update(
            "status",
            "end_time",
            "duration_seconds",
            "result",
            "result_size",
            "error_code",
            "error_message",
            "progress_percent",
            was=_ACTIVE,
        ).values(waiting_for=None, waiting_until=None),
        True,
    ),
    "marks": (
        _execution_update("marked_status", "marked_by", "marked_time", was=~_ACTIVE),
        True,
    ),
    "attempts": (insert(attempts), True),
    "fires": (insert(fires), True),
    "released_fires": (
        update(fires)
        .where(
            fires.c.task_id == bindparam("b_task_id"),
            fires.c.logical_time == bindparam("b_logical_time"),
            fires.c.outcome == literal_column("'fired'"),
        )
        .values(outcome="cancelled", execution_id=None),
        False,
    ),
    "activity": (
        update(tasks)
        .where(tasks.c.id == bindparam("b_id"))
        .values(
            active_count=tasks.c.active_count + bindparam("delta"),
            latest_execution_id=bindparam("latest_execution_id"),
            latest_status=bindparam("latest_status"),
            latest_time=bindparam("latest_time"),
        ),
        False,
    ),
    "standings": (
        update(tasks)
        .where(tasks.c.id == bindparam("b_id"))
        .values(
            active_count=tasks.c.active_count + bindparam("delta"),
            latest_status=case(
                (tasks.c.latest_execution_id == bindparam("b_execution_id"), bindparam("status")),
                else_=tasks.c.latest_status,
            ),
        ),
        False,
    ),
    "cursors": (
        update(tasks).where(tasks.c.id == bindparam("b_id")).values(_known("cursor", "next_fire")),
        False,
    ),
    "switches": (
        update(tasks)
        .where(tasks.c.id == bindparam("b_id"))
        .values(
            _known(
                "enabled",
                "paused",
                "idle_since",
                "cursor",
                "next_fire",
                "updated_by",
                "updated_time",
                "change_seq",
            )
        ),
        True,
    ),
    "hooks": (
        update(tasks)
        .where(tasks.c.id == bindparam("b_id"))
        .values(_known("hook_generation", "updated_by", "updated_time", "change_seq")),
        True,
    ),
    "audit": (insert(audit), True),
    "keys": (insert(idempotency_keys), True),
    "files_gone": (
        delete(seen_files).where(
            seen_files.c.task_id == bindparam("b_task_id"), seen_files.c.path == bindparam("b_path")
        ),
        False,
    ),
    "files_seen": (insert(seen_files), True),
    "signals_gone": (delete(signals).where(signals.c.task_id == bindparam("b_task_id")), False),
    "signals": (insert(signals), True),
    "letters": (insert(letters), True),
    "obeyed": (delete(letters).where(letters.c.id == bindparam("b_id")), True),
}
_NUMBERED = (
    "created",
    "nodes_started",
    "nodes_waiting",
    "nodes_skipped",
    "nodes_reused",
    "started",
    "waiting",
    "handed",
    "paused",
    "progress",
    "requests",
    "handles",
    "deadlines",
    "ended",
    "marks",
    "switches",
    "hooks",
)

_STILL_ACTIVE = "executions.status IN ('pending', 'running', 'paused')"
_WAITS = "executions.status = 'pending'"
_AT_ONCE: Mapping[str, tuple[Table, str | None, str]] = {
    # name: (table, the condition of an update, what else it sets); for PostgreSQL, and for many rows
    "created": (executions, None, ""),
    "nodes_started": (executions, None, ""),
    "nodes_waiting": (executions, None, ""),
    "nodes_skipped": (executions, None, ""),
    "nodes_reused": (executions, None, ""),
    "attempts": (attempts, None, ""),
    "fires": (fires, None, ""),
    "started": (executions, _WAITS, ""),
    "waiting": (executions, _STILL_ACTIVE, ""),
    "ended": (executions, _STILL_ACTIVE, "waiting_for = NULL, waiting_until = NULL, "),
}
"""The lists that are long where much happens, and have no row twice."""

_HEARTBEAT = (
    update(engines)
    .where(engines.c.id == bindparam("b_id"), engines.c.epoch == bindparam("b_epoch"))
    .values(heartbeat=bindparam("heartbeat"), turn=bindparam("turn"))
)
_NUMBERS = text(
    "UPDATE counters SET value = CASE WHEN name = 'change' THEN value + :count "
    "WHEN value < :last_id THEN :last_id ELSE value END WHERE name IN ('change', 'execution') RETURNING name, value"
)
_LAST_TASK = text("UPDATE counters SET value = :id WHERE name = 'task' AND value < :id")
_VOID = delete(fires).where(fires.c.logical_time > bindparam("after"), fires.c.outcome != "fired")
_CUT = (
    update(fires)
    .where(fires.c.until > bindparam("after"), fires.c.outcome != "fired")
    .values(until=bindparam("after"))
)


def is_applied(database: Database, *, engine_id: int, epoch: int, turn: int) -> bool:
    """Whether that turn's batch is in the database: what a commit without an answer has come to. Raises Fenced."""
    with database.read() as connection:
        row = connection.execute(
            select(engines.c.epoch, engines.c.turn).where(engines.c.id == engine_id)
        ).one()
    if row.epoch != epoch:
        raise Fenced(f"engine {engine_id} of epoch {epoch} has been fenced off")
    return bool(row.turn == turn)


def apply(
    database: Database,
    batch: Batch,
    *,
    engine_id: int,
    epoch: int,
    now: int,
    turn: int = 0,
    shared: bool = False,
) -> None:
    """Write the batch in one transaction; `now` in microseconds. Raises StaleRows and has then written nothing.

    `turn` numbers the batch in its term; `is_applied` asks for it. In a `shared` database the other processes are told.
    """
    with database.write() as connection:
        fence = {"b_id": engine_id, "b_epoch": epoch, "heartbeat": now, "turn": turn}
        if connection.execute(_HEARTBEAT, fence).rowcount != 1:
            raise Fenced(f"engine {engine_id} of epoch {epoch} has been fenced off")
        if batch.void_after is not None:
            connection.execute(_VOID, {"after": batch.void_after})
            connection.execute(_CUT, {"after": batch.void_after})
        _number(connection, batch)
        if batch.adhoc_tasks:
            connection.execute(_LAST_TASK, {"id": batch.adhoc_tasks[-1]["id"]})
        for part in batch.parts():
            for name, (statement, exact) in _STATEMENTS.items():
                rows = getattr(part, name)
                if len(rows) > FEW and name in _AT_ONCE and not database.is_sqlite:
                    _check(name, _write_at_once(connection, name, rows), rows)
                elif rows:
                    _write(connection, name, statement, rows, exact)
        grow(connection, (row for part in batch.parts() for row in part.tallies))
        if shared:
            tell(connection, {row["to_engine"] for part in batch.parts() for row in part.letters})
        reached("commit.written")


def _number(connection: Connection, batch: Batch) -> None:
    rows = list(batch.numbered())
    if not rows:
        return
    answer = connection.execute(_NUMBERS, {"last_id": batch.last_id, "count": len(rows)})
    last = max(value for name, value in answer if name == "change")
    for position, row in enumerate(rows, last - len(rows) + 1):
        row["change_seq"] = position


def _write(connection: Connection, name: str, statement: Executable, rows: list[Row], exact: bool) -> None:
    hit = connection.execute(statement, rows).rowcount
    if exact:
        _check(name, hit, rows)


def _write_at_once(connection: Connection, name: str, rows: list[Row]) -> int:
    table, condition, more = _AT_ONCE[name]
    if condition is None:
        return insert_rows(connection, table, rows)
    return update_rows(connection, table, rows, condition, more)


def _check(name: str, hit: int, rows: list[Row]) -> None:
    if hit not in (len(rows), -1):
        raise StaleRows(f"{name}: {hit} of {len(rows)} rows were as expected")
