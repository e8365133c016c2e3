"""What is over goes, by age and count; what something still needs stays; and the engine hardly notices."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from tests.engine.conftest import EVERY_MINUTE
from zquant_flow.core.model import Overlap
from zquant_flow.engine import housekeeping
from zquant_flow.engine.housekeeping import DAY, Housekeeping, Policy, Sweep, Swept, hidden_tasks
from zquant_flow.engine.keys import Key
from zquant_flow.logs import log_path, state_path
from zquant_flow.store import history, queries, repair
from zquant_flow.store.calls import ask as ask_calls
from zquant_flow.store.history import Wanted
from zquant_flow.store.tables import (
    attempts,
    audit,
    backfills,
    bundles,
    calls,
    definitions,
    executions,
    fires,
    idempotency_keys,
    task_tallies,
    tasks,
)
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

MONTH = Policy(age=30 * DAY)
DAY_SECONDS = 86_400


def sweep(h: Harness, policy: Policy, **options: Any) -> Swept:
    options.setdefault("delete_tasks", hidden_tasks(h.engine))
    return Sweep(h.database, h.folder, policy, now=h.clock.micros(), **options).run()


def ids(h: Harness) -> list[int]:
    """All executions that are left."""
    with h.database.read() as connection:
        return list(connection.execute(select(executions.c.id).order_by(executions.c.id)).scalars())


def count(h: Harness, table: Any) -> int:
    with h.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def done(h: Harness, task_id: int, kind: str = "success") -> int:
    """An execution that has ended, with a log."""
    number = h.operations.trigger(task_id, actor="me")
    while h.status(number) == "running":
        h.end(next(reversed(h.backend.active)), kind)
    write_log(h, number)
    return number


def write_log(h: Harness, number: int, attempt: int = 1) -> Path:
    path = Path(log_path(h.folder, number, attempt))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hello\n")
    return path


def consistent(h: Harness) -> bool:
    return repair.flaws(h.database) == []


# ── executions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_old_goes_with_its_nodes_attempts_and_logs(h: Harness) -> None:
    shared, flow = h.define(
        command_task("shared"),
        workflow_task("flow", [command_node("a", task="shared"), command_node("b"), command_node("c", "a")]),
    )
    old = h.operations.trigger(flow, actor="me")
    while h.backend.active:
        h.end(next(iter(h.backend.active)))
    of_old = ids(h)
    logs = [write_log(h, number) for number in of_old]
    kept = Path(state_path(h.folder, of_old[1]))
    kept.write_text("[]")
    assert len(of_old) == 4
    h.tick(40 * DAY_SECONDS)
    new, own = done(h, flow), done(h, shared)
    swept = sweep(h, MONTH)
    assert (swept.executions, swept.rows, swept.logs, swept.log_bytes) == (1, 4, 5, 26)
    assert queries.execution_row(h.database, old) is None
    assert new in ids(h) and own in ids(h)
    assert not set(ids(h)) & set(of_old)
    assert not any(path.exists() for path in [*logs, kept])
    assert Path(log_path(h.folder, new, 1)).exists()
    with h.database.read() as connection:
        assert not connection.execute(select(attempts).where(attempts.c.execution_id.in_(of_old))).all()
    assert history.page(h.database, Wanted(task_id=shared), limit=9).total == 2
    assert history.page(h.database, Wanted(), limit=9).total == 3
    assert consistent(h)


def test_without_limits_nothing_goes(h: Harness) -> None:
    [task] = h.define(command_task("a"))
    made = [done(h, task) for _ in range(3)]
    h.tick(4000 * DAY_SECONDS)
    sweep(h, Policy())
    assert ids(h) == made


def test_age_counts_from_the_end(h: Harness) -> None:
    [task] = h.define(command_task("a", overlap=Overlap.ALLOW))
    long = h.operations.trigger(task, actor="me")
    h.tick(40 * DAY_SECONDS)
    h.end(long)
    done(h, task)
    assert sweep(h, MONTH).executions == 0


def test_the_latest_of_each_task_stays_however_old(h: Harness) -> None:
    first, second = h.define(command_task("a"), command_task("b"))
    done(h, first)
    made = [done(h, first), done(h, second)]
    h.tick(4000 * DAY_SECONDS)
    sweep(h, Policy(age=DAY, count=1, logs=DAY))
    assert ids(h) == made
    assert all(Path(log_path(h.folder, number, 1)).exists() for number in made)


def test_the_newest_of_each_task_stay_by_count(h: Harness) -> None:
    first, second = h.define(command_task("a"), command_task("b"))
    made = [done(h, first) for _ in range(5)] + [done(h, second) for _ in range(2)]
    swept = sweep(h, Policy(count=2))
    assert swept.executions == 3
    assert ids(h) == made[3:]
    assert consistent(h)


def test_age_and_count_are_two_limits(h: Harness) -> None:
    [task] = h.define(command_task("a"))
    done(h, task)
    h.tick(40 * DAY_SECONDS)
    made = [done(h, task) for _ in range(4)]
    wanted = Policy(age=30 * DAY, count=3)
    would = sweep(h, wanted, dry_run=True)
    assert len(ids(h)) == 5
    swept = sweep(h, wanted)
    assert (swept.executions, swept.logs) == (would.executions, would.logs) == (2, 2)
    assert ids(h) == made[1:]


def test_what_is_active_stays_with_all_its_nodes(h: Harness) -> None:
    flow, task = h.define(
        workflow_task("flow", [command_node("a"), command_node("b", "a")], overlap=Overlap.ALLOW),
        command_task("t", overlap=Overlap.ALLOW),
    )
    h.operations.trigger(flow, actor="me")
    h.end(h.backend.node("a"))
    h.operations.trigger(task, actor="me")
    active = ids(h)
    path = write_log(h, active[1])
    h.tick(4000 * DAY_SECONDS)
    for _ in range(3):
        h.end(h.operations.trigger(task, actor="me"))
    sweep(h, Policy(age=DAY, count=1, logs=1))
    assert set(active) <= set(ids(h))
    assert path.exists()


def test_what_an_active_execution_resumes_stays(h: Harness) -> None:
    [flow] = h.define(workflow_task("flow", [command_node("a"), command_node("b", "a")]))
    failed = h.operations.trigger(flow, actor="me")
    h.end(h.backend.node("a"))
    h.end(h.backend.node("b"), "failed")
    h.tick(40 * DAY_SECONDS)
    h.operations.resume_execution(failed, actor="me")
    assert sweep(h, MONTH).executions == 0
    h.end(h.backend.node("b"))
    assert sweep(h, MONTH).executions == 1
    assert failed not in ids(h)


def test_a_backfill_under_way_keeps_what_it_has_done(h: Harness) -> None:
    [task] = h.define(command_task("a", schedule=EVERY_MINUTE))
    now = h.clock.micros()
    minute = 60_000_000
    moments = [now - minute * number for number in (3, 2, 1)]
    made = h.operations.backfill(task, moments, span=(moments[0], moments[-1]), parallel=1, actor="me")[
        "executions"
    ]
    first = next(iter(h.backend.active))
    h.end(first)
    h.operations.pause(task, actor="me")
    h.tick(40 * DAY_SECONDS)
    assert len(made) == 3
    assert sweep(h, MONTH).executions == 0
    while h.backend.active:
        h.end(next(iter(h.backend.active)))
    h.tick(40 * DAY_SECONDS)
    done(h, task)
    swept = sweep(h, MONTH)
    assert (swept.executions, swept.backfills, count(h, backfills)) == (3, 1, 0)


def test_a_definition_that_was_run_once_goes_with_its_last_execution(h: Harness) -> None:
    once = command_task("once")
    number = h.operations.run(once, actor="me")
    h.end(number)
    h.tick(40 * DAY_SECONDS)
    swept = sweep(h, MONTH)
    assert (swept.executions, swept.tasks) == (1, 1)
    assert (count(h, tasks), count(h, definitions), count(h, task_tallies)) == (0, 0, 0)
    again = h.operations.run(once, actor="me")
    assert h.status(again) == "running"
    h.end(again)
    assert consistent(h)


def test_a_hidden_task_in_use_is_not_deleted(h: Harness) -> None:
    number = h.operations.run(command_task("once"), actor="me")
    h.tick(40 * DAY_SECONDS)
    assert sweep(h, MONTH).tasks == 0
    with h.database.write() as connection:
        hidden = connection.execute(select(tasks.c.id)).scalars().all()
    assert hidden_tasks(h.engine)(hidden) == 0
    h.end(number)


# ── the ledger and the rest ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_fired_never_fires_again_though_its_execution_is_gone(h: Harness) -> None:
    [task] = h.define(command_task("a", schedule=EVERY_MINUTE))
    h.tick(60)
    fired = h.clock.micros()
    h.end(next(iter(h.backend.active)))
    h.operations.disable(task, actor="me")
    h.tick(40 * DAY_SECONDS)
    done(h, task)
    assert sweep(h, MONTH).executions == 1
    assert queries.fired(h.database, task, fired) is not None
    answer = h.operations.backfill(task, [fired], span=(fired, fired), parallel=1, actor="me")
    assert answer["executions"] == {}
    h.clock.step(-40 * DAY_SECONDS - 60)
    h.operations.enable(task, actor="me")
    h.tick(0)
    h.tick(60)
    assert list(h.backend.active) == []


def test_old_entries_of_what_did_not_fire_go_but_a_tasks_newest(h: Harness) -> None:
    first, second = h.define(command_task("a", schedule=EVERY_MINUTE), command_task("b"))
    h.operations.disable(first, actor="me")
    now = h.clock.micros()
    entry = {"outcome": "misfire", "execution_id": None, "recorded_time": now}
    with h.database.write() as connection:
        connection.execute(
            insert(fires),
            [
                {**entry, "task_id": task, "logical_time": now + number, "until": now + number}
                for task in (first, second)
                for number in range(3)
            ],
        )
    assert sweep(h, MONTH).ledger == 0
    h.tick(40 * DAY_SECONDS)
    assert sweep(h, MONTH).ledger == 4
    assert count(h, fires) == 2


def test_old_keys_and_old_entries_of_the_audit_go(h: Harness) -> None:
    [task] = h.define(command_task("a", overlap=Overlap.ALLOW))
    h.operations.trigger(task, actor="me", key=Key("k", "me", "print"))
    entries = count(h, audit)
    assert (entries > 0, count(h, idempotency_keys)) == (True, 1)
    h.tick(DAY_SECONDS - 1)
    assert sweep(h, MONTH).keys == 0
    h.tick(40 * DAY_SECONDS)
    swept = sweep(h, Policy())
    assert (swept.keys, swept.audit) == (1, 0), "without a limit the audit is kept for ever"
    assert sweep(h, MONTH).audit == entries


def test_sources_that_no_version_in_use_has_go(h: Harness) -> None:
    used, old, other = "a" * 64, "b" * 64, "c" * 64
    [task] = h.define(command_task("t", bundle=old))
    h.define(command_task("t", bundle=used), path="t.yaml")
    h.define(command_task("u", bundle=other))
    with h.database.write() as connection:
        stored = [
            {"digest": digest, "files": "{}", "created_time": h.clock.micros()}
            for digest in (used, old, other)
        ]
        connection.execute(insert(bundles), stored)
    (h.folder / "bundles" / old).mkdir(parents=True)
    assert sweep(h, MONTH).bundles == 0
    h.tick(40 * DAY_SECONDS)
    assert sweep(h, MONTH).bundles == 1
    assert not (h.folder / "bundles" / old).exists()
    with h.database.read() as connection:
        assert set(connection.execute(select(bundles.c.digest)).scalars()) == {used, other}
    assert task


def test_logs_have_a_limit_of_their_own(h: Harness) -> None:
    [task] = h.define(command_task("a"))
    made = [done(h, task) for _ in range(3)]
    stray = write_log(h, made[-1] + 5)
    (h.folder / "logs" / "0" / "notes.txt").write_text("mine")
    now = h.clock.micros()
    kept, cut_off = Path(state_path(h.folder, made[0])), Path(state_path(h.folder, made[1]) + ".77_140")
    for path in (kept, cut_off):
        path.touch()
        _touch(path, now)
    for number in made[:2]:
        _touch(Path(log_path(h.folder, number, 1)), now)
    _touch(Path(log_path(h.folder, made[2], 1)), now)
    h.tick(40 * DAY_SECONDS)
    would = sweep(h, Policy(logs=30 * DAY), dry_run=True)
    swept = sweep(h, Policy(logs=30 * DAY))
    assert (swept.logs, swept.executions) == (would.logs, 0) == (4, 0)
    assert ids(h) == made
    left = {path.name for path in (h.folder / "logs" / "0").iterdir()}
    assert left == {f"{made[2]}-1.log", stray.name, "notes.txt"}


def _touch(path: Path, micros: int) -> None:
    import os

    os.utime(path, ns=(micros * 1000, micros * 1000))


def test_a_large_tree_goes_in_pieces_and_its_root_last(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "FEWEST", 1)
    monkeypatch.setattr(housekeeping, "MOST", 2)
    names = [f"n{number}" for number in range(7)]
    [flow] = h.define(workflow_task("flow", [command_node(name) for name in names]))
    done(h, flow)
    h.tick(40 * DAY_SECONDS)
    done(h, flow)
    pieces = itertools.count()
    one = Sweep(h.database, h.folder, MONTH, now=h.clock.micros(), rest=lambda seconds: next(pieces) < 1)
    cut = one.run()
    assert (0 < cut.rows < 8, cut.executions) == (True, 0)
    assert consistent(h)
    rest = sweep(h, MONTH)
    assert (rest.rows, rest.executions) == (8 - cut.rows, 1)
    assert consistent(h)


# ── the service ─────────────────────────────────────────────────────────────────────────────────────────────────────


def service(h: Harness, policy: Policy, **options: Any) -> Housekeeping:
    return Housekeeping(h.database, h.folder, policy, clock=h.clock, **options)


def test_the_service_never_touches_what_is_active_nor_what_is_listed_wrongly(h: Harness) -> None:
    """An engine that works as fast as it can, beside sweeps that delete all they may."""
    task, flow = h.define(
        command_task("t", overlap=Overlap.ALLOW),
        workflow_task("f", [command_node("a"), command_node("b", "a")], overlap=Overlap.ALLOW),
    )
    kept = [h.operations.trigger(flow, actor="me"), h.operations.trigger(task, actor="me")]
    made = service(h, Policy(count=1, age=1))
    over = threading.Event()
    swept: list[Swept] = []

    def clean() -> None:
        while not over.is_set():
            swept.append(made.sweep())

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        for number in range(60):
            h.clock.advance(1)
            h.end(h.operations.trigger(task, actor="me"))
            if number % 4 == 0:
                root = h.operations.trigger(flow, actor="me")
                for _ in range(2):
                    mine = [id_ for id_, order in h.backend.active.items() if _root(h, id_) == root]
                    h.end(mine[0])
                assert h.status(root) == "success"
    finally:
        over.set()
        thread.join()
    assert sum(one.executions for one in swept) > 20
    assert [h.status(number) for number in kept] == ["running", "running"]
    assert consistent(h)
    for number in list(h.backend.active):
        h.end(number)
    assert h.status(kept[1]) == "success"


def _root(h: Harness, number: int) -> int:
    row = queries.execution_row(h.database, number)
    assert row is not None
    return int(row.root_id)


def test_the_service_sweeps_when_it_is_woken_and_goes_on_after_an_error(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task] = h.define(command_task("a"))
    for _ in range(2):
        done(h, task)
    made = service(h, Policy(count=1))
    swept = threading.Semaphore(0)
    own, fails = made.sweep, iter([True, False])

    def sometimes() -> Swept:
        try:
            if next(fails):
                raise RuntimeError
            return own()
        finally:
            swept.release()

    monkeypatch.setattr(made, "sweep", sometimes)
    made.stop()
    made.start()
    made.start()
    for _ in range(2):
        made.wake()
        assert swept.acquire(timeout=10)
    made.stop()
    made.stop()
    assert len(ids(h)) == 1


def test_a_stop_ends_a_sweep_between_two_transactions(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "FEWEST", 1)
    monkeypatch.setattr(housekeeping, "MOST", 1)
    monkeypatch.setattr(housekeeping, "LEAST_REST", 60.0)
    [task] = h.define(command_task("a"))
    for _ in range(12):
        done(h, task)
    made = service(h, Policy(count=1), first_after=0.0)
    made.start()
    for _ in range(2000):
        if len(ids(h)) < 12:
            break
    made.stop()
    assert 1 < len(ids(h)) < 12
    assert consistent(h)


def test_two_sweeps_at_once_count_nothing_twice(h: Harness) -> None:
    [task] = h.define(command_task("a"))
    for _ in range(40):
        done(h, task)
    found: list[Swept] = []
    threads = [threading.Thread(target=lambda: found.append(sweep(h, Policy(count=1)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.executions for one in found) == 39
    assert consistent(h)


# ── what can be set right ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_differs_from_the_rows_is_found_and_set_right(h: Harness) -> None:
    first, second = h.define(command_task("a", overlap=Overlap.ALLOW), command_task("b"))
    done(h, first)
    done(h, second)
    h.operations.trigger(first, actor="me")
    assert consistent(h)
    with h.database.write() as connection:
        connection.execute(update(task_tallies).values(count=task_tallies.c.count + 5))
        connection.execute(update(tasks).where(tasks.c.id == first).values(active_count=7))
        connection.execute(update(tasks).where(tasks.c.id == second).values(latest_status="failed"))
        connection.exec_driver_sql("DELETE FROM hour_tallies")
        connection.exec_driver_sql("UPDATE counters SET value = 1")
        connection.exec_driver_sql(
            "INSERT INTO attempts VALUES (999, 1, 'success', 1, 2, 0.1, 0, NULL, NULL, NULL)"
        )
    found = {flaw.what: flaw.count for flaw in repair.flaws(h.database)}
    assert found == {
        "task_tallies": 2,
        "hour_tallies": 1,
        "active_count": 1,
        "latest_execution": 1,
        "counters": 3,
        "attempts": 1,
    }
    assert {flaw.what: flaw.count for flaw in repair.repair(h.database)} == found
    assert consistent(h)
    assert repair.active_executions(h.database) == 1


def test_requests_of_processes_that_are_gone_are_deleted_and_fresh_ones_stay(h: Harness) -> None:
    if h.database.is_sqlite:
        pytest.skip("one process has an SQLite file: nobody asks another")
    now = h.clock.micros()
    for age in (7200, 60):
        ask_calls(h.database, to_engine=0, actor="me", request="{}", now=now - age * 1_000_000)
    sweep(h, MONTH)
    assert count(h, calls) == 1
