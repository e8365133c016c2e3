"""Lists and totals: whatever is asked, the answer is what a look at every row would say."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from tests.bench import seeded
from tests.databases import KINDS, fresh_database
from zquant_flow.store import history, statistics
from zquant_flow.store.database import Database
from zquant_flow.store.history import Wanted
from zquant_flow.store.tables import executions, tasks
from zquant_flow.store.tallies import HOUR
from zquant_flow.store.tasklist import TaskFilter

COUNT, TASKS = 3000, 40


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Some thousand executions of forty tasks over four days, a few of them active, some inline, many at one instant."""
    with fresh_database(request.param, tmp_path_factory.mktemp("history")) as url:
        made = Database(url)
        made.open()
        _fill(made)
        yield made
        made.close()


def _fill(made: Database) -> None:
    seeded.seed_tasks(made, TASKS)
    seeded.seed_executions(made, COUNT, of_tasks=TASKS, days=4)
    with made.write() as connection:
        last = connection.execute(select(executions).order_by(executions.c.id.desc())).first()
        rows = []
        for number in range(60):
            active = number % 3 == 0
            rows.append(
                {
                    **last._asdict(),
                    "id": COUNT + 1 + number,
                    "root_id": COUNT + 1 + number,
                    "task_id": 1 + number % TASKS,
                    "inline": not active,
                    "parent_execution_id": None if active else 1,
                    "status": ("pending", "running", "paused")[number % 9 // 3] if active else "success",
                    "owner": 1,
                    "created_time": last.created_time + number // 7,
                    "change_seq": COUNT + 1 + number,
                }
            )
        connection.execute(insert(executions), rows)
        # Many at one microsecond: an order by time alone would lose some between two pages.
        connection.execute(
            update(executions).where(executions.c.id.between(100, 400)).values(created_time=last.created_time)
        )
        for table, place in (("task_tallies", "task_id"), ("hour_tallies", "created_time / 3600000000")):
            connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(
                text(
                    f"INSERT INTO {table} SELECT {place}, status, trigger_type, count(*), sum(duration_seconds) "
                    "FROM executions WHERE NOT inline AND status NOT IN ('pending','running','paused') GROUP BY 1, 2, 3"
                )
            )


@pytest.fixture(scope="module")
def everything(database: Database) -> tuple[list[Any], dict[int, Any]]:
    with database.read() as connection:
        rows = connection.execute(select(executions)).all()
        by_id = {row.id: row for row in connection.execute(select(tasks))}
    return sorted(rows, key=lambda row: (-row.created_time, -row.id)), by_id


def matching(everything: tuple[list[Any], dict[int, Any]], wanted: Wanted) -> list[int]:
    """The oracle: look at every row."""
    rows, by_id = everything
    first, last = wanted.span
    chosen = None
    if wanted.tasks is not None:
        chosen = {
            id_
            for id_, task in by_id.items()
            if (wanted.tasks.tag is None or f'"{wanted.tasks.tag}"' in task.tags)
            and (wanted.tasks.text is None or wanted.tasks.text in task.name)
            and (wanted.tasks.source is None or task.source.startswith(wanted.tasks.source + "/"))
        }
    return [
        row.id
        for row in rows
        if (wanted.inline or not row.inline)
        and (wanted.task_id is None or row.task_id == wanted.task_id)
        and (chosen is None or row.task_id in chosen)
        and (not wanted.statuses or row.status in wanted.statuses)
        and (not wanted.trigger_types or row.trigger_type in wanted.trigger_types)
        and first <= row.created_time <= last
    ]


def any_wish(chance: random.Random, everything: tuple[list[Any], dict[int, Any]]) -> Wanted:
    """Filters in any combination, with instants that are those of rows, whole hours, or neither."""
    rows = everything[0]

    def instant() -> int:
        moment = int(chance.choice(rows).created_time)
        return chance.choice([moment, moment + 1, moment // HOUR * HOUR, moment // HOUR * HOUR - 1])

    return Wanted(
        task_id=chance.choice([None, None, None, 1, 7, 999]),
        tasks=chance.choice(
            [
                None,
                None,
                TaskFilter(tag="g7"),
                TaskFilter(tag="all"),
                TaskFilter(text="task-1"),
                TaskFilter(source="group-3"),
                TaskFilter(tag="nobody"),
            ]
        ),
        statuses=chance.choice([(), (), ("failed",), ("running",), ("success", "pending"), ("skipped",)]),
        trigger_types=chance.choice([(), (), ("backfill",), ("api", "manual")]),
        since=chance.choice([None, instant()]),
        until=chance.choice([None, instant()]),
        inline=chance.random() < 0.15,
    )


@pytest.mark.parametrize("seed", range(8))
def test_totals_and_pages_are_those_of_a_look_at_every_row(
    database: Database, everything: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(history, "FEW_ROWS", chance.choice([0, 50, 5000]))
    monkeypatch.setattr(history, "FEW_TASKS", chance.choice([0, 3, 100]))
    for _ in range(60):
        wanted = any_wish(chance, everything)
        expected = matching(everything, wanted)
        skip, limit = (
            chance.choice([0, 1, 10, len(expected) // 2 + 3, len(expected)]),
            chance.choice([1, 7, 100]),
        )
        page = history.page(database, wanted, limit=limit, skip=skip)
        assert page.total == len(expected), wanted
        assert [row.id for row in page.rows] == expected[skip : skip + limit], (wanted, skip, limit)


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(statuses=("success",)), Wanted(tasks=TaskFilter(tag="g7"))]
)
def test_cursors_walk_through_all_rows_once(database: Database, everything: Any, wanted: Wanted) -> None:
    seen: list[int] = []
    after = None
    while True:
        page = history.page(database, wanted, limit=137, after=after)
        seen += [row.id for row in page.rows]
        after = page.following
        if after is None:
            break
    assert seen == matching(everything, wanted)


def test_a_cursor_stays_where_it_was_while_new_rows_come(tmp_path: Path) -> None:
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    made.open()
    seeded.seed_tasks(made, 2)
    seeded.seed_executions(made, 10, of_tasks=2)
    first = history.page(made, Wanted(), limit=4)
    with made.write() as connection:
        newest = connection.execute(select(executions).where(executions.c.id == 10)).one()
        connection.execute(
            insert(executions), {**newest._asdict(), "id": 11, "root_id": 11, "change_seq": 11}
        )
    second = history.page(made, Wanted(), limit=4, after=first.following)
    assert [row.id for row in (*first.rows, *second.rows)] == [10, 9, 8, 7, 6, 5, 4, 3]
    made.close()


@pytest.mark.parametrize("seed", range(4))
def test_statistics_of_a_span_are_those_of_a_look_at_every_row(
    database: Database, everything: Any, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        wish = any_wish(chance, everything)
        span = wish.span if wish.since is not None or wish.until is not None else None
        found = statistics.overall(database, task_id=wish.task_id, span=span)
        rows = [
            row
            for row in everything[0]
            if not row.inline
            and (wish.task_id is None or row.task_id == wish.task_id)
            and (span is None or span[0] <= row.created_time <= span[1])
        ]
        counts = {
            status: sum(row.status == status for row in rows) for status in {row.status for row in rows}
        }
        assert {key: value for key, value in found.tally.counts.items() if value} == counts
        done = sorted(row.duration_seconds for row in rows if row.status == "success")
        assert found.tally.seconds == pytest.approx(sum(done))
        assert found.latest == max((row.created_time for row in rows), default=None)
        if done:
            assert found.percentiles[50] == done[-(-len(done) * 50 // 100) - 1]
            assert found.percentiles[99] == done[-(-len(done) * 99 // 100) - 1]


@pytest.mark.parametrize("step", [60_000_000, HOUR, 6 * HOUR])
@pytest.mark.parametrize("task_id", [None, 1])
def test_series_add_up(database: Database, everything: Any, step: int, task_id: int | None) -> None:
    rows = [
        row
        for row in everything[0]
        if not row.inline
        and row.status not in ("pending", "running", "paused")
        and (task_id is None or row.task_id == task_id)
    ]
    first, last = min(row.created_time for row in rows) // step, max(row.created_time for row in rows) // step
    found = statistics.series(
        database, span=(first * step, (last + 1) * step - 1), step=step, task_id=task_id
    )
    for number, tally in found.items():
        inside = [row for row in rows if row.created_time // step == number]
        assert sum(tally.counts.values()) == len(inside)
    assert sum(sum(tally.counts.values()) for tally in found.values()) == len(rows)


def test_no_list_reads_the_whole_table(database: Database) -> None:
    """Every filter walks along an index: a full scan would be felt with a million rows, and not before."""
    if not database.is_sqlite:
        pytest.skip("PostgreSQL scans small tables on purpose")
    statements: list[str] = []
    from sqlalchemy import event

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "FROM executions" in statement:
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            statements.extend(row[3] for row in plan)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        for wanted in (
            Wanted(statuses=("failed",)),
            Wanted(task_id=3),
            Wanted(task_id=3, statuses=("failed",)),
            Wanted(trigger_types=("api",)),
            Wanted(since=1, until=2**60, statuses=("failed",)),
            Wanted(tasks=TaskFilter(text="task-11"), since=1),
        ):
            history.page(database, wanted, limit=10)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert statements
    assert [line for line in statements if line.startswith("SCAN executions") and "INDEX" not in line] == []
