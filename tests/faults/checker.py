"""Is anything lost, double, stuck or left over? Read from the rows, the logs and the ledger of what really ran.

It shares no code with the scheduler but the table definitions: SQL by hand, arithmetic by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError

from tests.faults.world import SECOND, World

ACTIVE = "('pending','running','paused')"


@dataclass
class Report:
    """What is wrong, by kind; and how much was looked at."""

    lost: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    instants: int = 0
    executions: int = 0
    attempts: int = 0

    @property
    def faults(self) -> dict[str, list[str]]:
        """The kinds that have something."""
        kinds = ("lost", "duplicate", "stuck", "unrecorded", "orphans", "damage")
        return {kind: getattr(self, kind)[:5] for kind in kinds if getattr(self, kind)}


class Checker:
    """Questions to one world's database and ledger."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._engine = create_engine(world.database_url, pool_pre_ping=True)

    def close(self) -> None:
        self._engine.dispose()

    def at_any_moment(self) -> Report:
        """What must hold whenever one looks, also while the server is dead."""
        report = Report()
        if not self._is_begun():
            return report  # killed before the first commit
        self._look_at_double_fires(report)
        self._look_at_attempts(report)
        self._look_at_the_file(report)
        return report

    def at_rest(self) -> Report:
        """What must hold once all tasks are archived and the server has had time to finish all that began."""
        report = self.at_any_moment()
        report.stuck += (
            f"{row[0]} is not archived"
            for row in self._rows("SELECT name FROM tasks WHERE archived_at IS NULL")
        )
        for row in self._rows(
            f"SELECT id, task_id, node, status, waiting_for FROM executions WHERE status IN {ACTIVE}"
        ):
            report.stuck.append(str(tuple(row)))
        self._look_at_the_ledger(report)
        self._look_at_due_instants(report)
        self._look_at_totals(report)
        return report

    def _look_at_double_fires(self, report: Report) -> None:
        for row in self._rows(
            "SELECT task_id, logical_time, count(*) FROM fires WHERE outcome = 'fired' GROUP BY 1, 2 HAVING count(*) > 1"
        ):
            report.duplicate.append(f"fired twice: {tuple(row)}")
        for row in self._rows(
            "SELECT task_id, logical_time, count(*) FROM executions WHERE trigger_type = 'schedule' "
            "GROUP BY 1, 2 HAVING count(*) > 1"
        ):
            report.duplicate.append(f"two executions of one instant: {tuple(row)}")
        for row in self._rows(
            "SELECT f.task_id, f.logical_time FROM fires f LEFT JOIN executions e ON e.id = f.execution_id "
            "WHERE f.outcome = 'fired' AND e.id IS NULL"
        ):
            report.lost.append(f"fired without execution: {tuple(row)}")
        for row in self._rows(
            "SELECT e.id FROM executions e LEFT JOIN fires f ON f.execution_id = e.id AND f.outcome = 'fired' "
            "WHERE e.trigger_type = 'schedule' AND f.id IS NULL"
        ):
            report.lost.append(f"execution without ledger entry: {tuple(row)}")

    def _look_at_attempts(self, report: Report) -> None:
        for (execution, attempt), times in Counter(self._ran()).items():
            if times > 1:
                report.duplicate.append(f"attempt {attempt} of execution {execution} started {times} times")
        allowed = {f"i{number}": number % 3 for number in range(1000)} | {"w": 1}
        names = dict(self._rows("SELECT id, name FROM tasks"))
        for execution, task_id, retries in self._rows("SELECT id, task_id, retry_count FROM executions"):
            if retries > allowed.get(names.get(task_id, ""), 99):
                report.duplicate.append(f"execution {execution} was tried {retries + 1} times")
        for row in self._rows(
            "SELECT a.execution_id, a.attempt FROM attempts a LEFT JOIN executions e ON e.id = a.execution_id "
            "WHERE e.id IS NULL"
        ):
            report.lost.append(f"attempt without execution: {tuple(row)}")

    def _look_at_the_ledger(self, report: Report) -> None:
        recorded = {
            (row[0], row[1]): row[2]
            for row in self._rows("SELECT execution_id, attempt, outcome FROM attempts")
        }
        ran = set(self._ran())
        report.attempts = len(recorded)
        for key in sorted(ran - recorded.keys()):
            report.unrecorded.append(f"attempt {key} ran and is not recorded")
        for key, outcome in recorded.items():
            if outcome == "success" and key not in ran:
                report.unrecorded.append(f"attempt {key} is a success and never ran")

    def _look_at_due_instants(self, report: Report) -> None:
        """Every instant of every interval since its anchor is covered by exactly one entry."""
        [(executions,)] = self._rows("SELECT count(*) FROM executions")
        report.executions = executions
        for task_id, name, anchor, archived in self._rows("SELECT id, name, anchor, archived_at FROM tasks"):
            step, last = 3 * SECOND if name == "w" else SECOND, archived or 0
            entries = sorted(
                tuple(row)
                for row in self._rows(
                    f"SELECT logical_time, until, outcome FROM fires WHERE task_id = {int(task_id)}"
                )
            )
            self._cover(report, name, range(anchor + step, last - SECOND, step), entries)

    def _cover(self, report: Report, name: str, instants: range, entries: Sequence[Any]) -> None:
        place = 0
        for instant in instants:
            report.instants += 1
            while place < len(entries) and entries[place][1] < instant:
                place += 1
            hits = [entry for entry in entries[place : place + 5] if entry[0] <= instant <= entry[1]]
            fired = [hit for hit in hits if hit[2] == "fired"]
            if not hits:
                report.lost.append(
                    f"{name}: {(instant - instants.start) / SECOND:g} s after the first has no entry"
                )
            elif len(hits) > 1 and len(fired) != 1:
                report.duplicate.append(f"{name}: {instant} has {hits}")

    def _look_at_totals(self, report: Report) -> None:
        counted = dict(
            self._rows(
                "SELECT task_id, count(*) FROM executions WHERE NOT inline AND status NOT IN "
                f"{ACTIVE} GROUP BY task_id"
            )
        )
        tallied = {
            row[0]: int(row[1])
            for row in self._rows("SELECT task_id, sum(count) FROM task_tallies GROUP BY task_id")
        }
        if counted != tallied:
            report.damage.append("totals are not what the rows say")
        active = self._rows("SELECT name, active_count FROM tasks WHERE active_count <> 0")
        report.damage += [f"active_count of {name} is {count}" for name, count in active]

    def _look_at_the_file(self, report: Report) -> None:
        if self._engine.dialect.name == "sqlite":
            [(answer,)] = self._rows("PRAGMA integrity_check")
            if answer != "ok":
                report.damage.append(str(answer))

    def _is_begun(self) -> bool:
        try:
            return inspect(self._engine).has_table("alembic_version")
        except OperationalError:
            return False

    def _ran(self) -> list[tuple[int, int]]:
        if not self._world.ledger.exists():
            return []
        words = (line.split() for line in self._world.ledger.read_text().splitlines())
        return [(int(line[0]), int(line[1])) for line in words if len(line) == 3]

    def _rows(self, query: str) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(text(query)).all()
