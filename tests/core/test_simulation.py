"""A simulation runs what would run: every scenario here is small enough to be worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_sessions import JANUARY
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import Overlap, Rule, Schedule
from zquant_flow.core.schedule import Times, delay_of
from zquant_flow.core.simulation import simulate
from zquant_flow.core.workload import Finding, Kind, Outcome, Report, Work
from zquant_flow.errors import BadRequest

MINUTE = 60_000_000
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
BEGIN = to_micros(START)
TIMES = Times(zone=ZoneInfo("UTC"), calendars={"XSHG": JANUARY})


def work(name: str, cron: str | None, minutes: float, *, slow: float | None = None, **rest: object) -> Work:
    schedule = rest.pop("schedule", None) or (Schedule(rules=(Rule(cron=cron),)) if cron else None)
    return Work(
        task_id=len(name),
        name=name,
        table=TIMES.table(schedule, START) if schedule is not None else None,  # type: ignore[arg-type]
        usual=int(minutes * MINUTE),
        slow=int((slow or minutes) * MINUTE),
        **rest,  # type: ignore[arg-type]
    )


def run(*works: Work, hours: float = 24, slots: int = 10, **pools: int) -> Report:
    return simulate(works, BEGIN, BEGIN + int(hours * 60 * MINUTE) - 1, slots=slots, pools=pools)


def told(outcome: Outcome) -> list[tuple[str, Kind, int, float]]:
    """Of each finding the task, the kind, how often, and the worst in minutes."""
    return [(found.task, found.kind, found.count, found.worst / MINUTE) for found in outcome.findings]


def the(outcome: Outcome) -> Finding:
    (found,) = outcome.findings
    return found


def test_what_fits_is_found_to_fit() -> None:
    report = run(work("a", "0 * * * *", 30), work("b", "30 6 * * *", 10))
    assert report.fires == [24, 1]
    assert report.usual.runs == [24, 1]
    assert report.usual.findings == []
    assert report.usual.busy == {
        BEGIN // (60 * MINUTE) + hour: 30 * MINUTE + (hour == 6) * 10 * MINUTE for hour in range(24)
    }
    assert report.usual.peak == (1, BEGIN)


def test_fires_of_both_ends_of_the_span_count() -> None:
    report = simulate([work("a", "0 0 * * *", 1)], BEGIN, BEGIN + 24 * 60 * MINUTE, slots=1, pools={})
    assert report.fires == [2]


def test_what_runs_into_its_own_next_fire_is_skipped() -> None:
    # 00:00-00:25 runs, 00:10 and 00:20 are skipped, 00:30 runs ...
    report = run(work("a", "*/10 * * * *", 25), hours=1)
    assert report.usual.runs == [2]
    assert told(report.usual) == [("a", Kind.SKIPPED, 4, 0)]
    assert (the(report.usual).first, the(report.usual).last) == (BEGIN + 10 * MINUTE, BEGIN + 50 * MINUTE)


def test_what_ends_as_the_next_fires_is_in_nobodys_way() -> None:
    assert run(work("a", "*/10 * * * *", 10), slots=1).usual.findings == []


def test_a_finding_of_slow_executions_alone_is_told_apart() -> None:
    report = run(work("a", "*/10 * * * *", 9, slow=11), hours=1)
    assert report.usual.findings == []
    assert told(report.slow) == [("a", Kind.SKIPPED, 3, 0)]


def test_queued_executions_run_later_and_all_of_them() -> None:
    # fires at 0, 30; each takes 40: the second waits 10 minutes
    report = run(work("a", "0,30 0 * * *", 40, overlap=Overlap.QUEUE))
    assert report.usual.runs == [2]
    assert told(report.usual) == [("a", Kind.QUEUED, 1, 10)]


def test_a_replaced_execution_ends_when_the_next_begins() -> None:
    report = run(work("a", "0,30 0 * * *", 40, overlap=Overlap.REPLACE))
    assert told(report.usual) == [("a", Kind.REPLACED, 1, 0)]
    assert sum(report.usual.busy.values()) == (30 + 40) * MINUTE
    assert report.usual.peak[0] == 1


def test_allowed_executions_run_beside_each_other() -> None:
    report = run(work("a", "*/10 0 * * *", 25, overlap=Overlap.ALLOW, limit=None))
    assert report.usual.findings == []
    assert report.usual.peak == (3, BEGIN + 20 * MINUTE)


def test_as_many_are_active_as_the_limit_says() -> None:
    report = run(work("a", "*/10 * * * *", 25, limit=2), hours=1)
    # 0 and 10 run, 20 is skipped (both are active), 30 and 40 run, 50 is skipped
    assert report.usual.runs == [4]
    assert told(report.usual) == [("a", Kind.SKIPPED, 2, 0)]


def test_without_a_slot_an_execution_waits_for_the_first_that_ends() -> None:
    report = run(work("a", "0 1 * * *", 20), work("b", "0 1 * * *", 5), work("c", "10 1 * * *", 5), slots=1)
    # a 1:00-1:20, b 1:20-1:25, c 1:25-1:30
    assert told(report.usual) == [("b", Kind.SLOTS, 1, 20), ("c", Kind.SLOTS, 1, 15)]
    assert report.usual.findings[0].others == {"a": 1}


def test_the_highest_priority_starts_first() -> None:
    works = work("a", "0 1 * * *", 20), work("b", "5 1 * * *", 5), work("c", "10 1 * * *", 5, priority=5)
    # a until 1:20, then c until 1:25, then b
    assert told(run(*works, slots=1).usual) == [("b", Kind.SLOTS, 1, 20), ("c", Kind.SLOTS, 1, 10)]


def test_a_full_pool_holds_back_what_uses_it_and_nobody_else() -> None:
    pool = (("api", 1),)
    works = (
        work("a", "0 1 * * *", 20, pools=pool),
        work("b", "0 1 * * *", 20, pools=pool),
        work("c", "0 1 * * *", 20, pools=pool),
        work("d", "1 1 * * *", 20),
    )
    report = run(*works, api=2)
    assert told(report.usual) == [("c", Kind.POOL, 1, 20)]
    assert the(report.usual).pool == "api"
    assert the(report.usual).others == {"a": 1, "b": 1}


def test_what_asks_for_a_pool_without_places_never_starts() -> None:
    report = run(work("a", "0 1 * * *", 20, pools=(("api", 1),)), api=0)
    assert report.usual.runs == [0]
    assert [(found.kind, found.count) for found in report.usual.findings] == [(Kind.POOL, 1)]


def test_a_deadline_counts_from_the_logical_time() -> None:
    report = run(work("a", "0 1 * * *", 20), work("b", "0 1 * * *", 15, within=30 * MINUTE), slots=1)
    assert told(report.usual) == [("b", Kind.SLOTS, 1, 20), ("b", Kind.DEADLINE, 1, 5)]


def test_jitter_delays_as_it_will() -> None:
    jitter = timedelta(minutes=10)
    schedule = Schedule(rules=(Rule(cron="0 1 * * *"),), jitter=jitter)
    report = run(work("a", None, 5, schedule=schedule))
    logical = BEGIN + 60 * MINUTE
    assert report.usual.peak == (1, logical + delay_of(1, logical, jitter) // timedelta.resolution)


def test_a_task_begins_when_all_that_it_waits_for_has_ended() -> None:
    works = (
        work("a", "0 1 * * *", 20, gives=("task:a",)),
        work("b", "0 2 * * *", 20, gives=("task:b",)),
        work("c", None, 20, waits_for=("task:a", "task:b"), gives=("task:c",)),
        work("d", None, 20, waits_for=("task:c",), within=50 * MINUTE),
    )
    report = run(*works)
    # c 2:20-2:40 for the logical time 2:00 of b; d 2:40-3:00, ten minutes later than it should
    assert report.usual.runs == [1, 1, 1, 1]
    assert told(report.usual) == [("d", Kind.DEADLINE, 1, 10)]
    assert report.usual.busy[BEGIN // (60 * MINUTE) + 2] == 60 * MINUTE


def test_signals_that_are_too_far_apart_start_nothing() -> None:
    works = (
        work("a", "0 1 * * *", 20, gives=("task:a",)),
        work("b", "0 2 * * *", 20, gives=("task:b",)),
        work("c", None, 20, waits_for=("task:a", "task:b"), waits_within=59 * MINUTE),
    )
    assert run(*works).usual.runs == [1, 1, 0]


def test_an_event_waits_where_a_schedule_would_skip() -> None:
    works = work("a", "*/10 0 * * *", 1, gives=("task:a",)), work("b", None, 15, waits_for=("task:a",))
    report = run(*works)
    assert report.usual.runs == [6, 6]
    # b begins at 1, and each of the others as the one before ends: at 16, 31, 46, 61 and 76, for 11, 21, 31, 41 and 51
    assert told(report.usual) == [("b", Kind.QUEUED, 5, 25)]


def test_a_calendar_keeps_the_fires_to_its_sessions() -> None:
    schedule = Schedule(rules=(Rule(cron="0 9 * * *", calendar="XSHG"),))
    report = run(work("a", None, 5, schedule=schedule), hours=14 * 24)
    assert report.fires == [10]


def test_what_fires_very_often_counts_as_an_even_load() -> None:
    every_minute = work("m", "* * * * *", 0.5)
    report = simulate(
        [every_minute, work("a", "0 1 * * *", 60)],
        BEGIN,
        BEGIN + 1000 * MINUTE - 1,
        slots=3,
        pools={},
        dense=500,
    )
    assert report.steady == ["m"]
    assert report.fires == [1000, 1]
    assert report.usual.runs == [1000, 1]
    assert sum(report.usual.busy.values()) == pytest.approx((500 + 60) * MINUTE, rel=0.01)


def test_an_even_load_that_is_in_its_own_way_says_so() -> None:
    report = simulate(
        [work("m", "* * * * *", 1.5)], BEGIN, BEGIN + 1000 * MINUTE - 1, slots=3, pools={}, dense=500
    )
    assert told(report.usual) == [("m", Kind.SKIPPED, 500, 0)]


def test_too_many_fires_are_refused_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zquant_flow.core.simulation.MOST", 1000)
    with pytest.raises(BadRequest, match="1,440 fires"):
        run(work("m", "* * * * *", 1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["*/7 * * * *", "0 * * * *", "*/20 1,2 * * *", "30 2 * * *"]),
            st.integers(1, 90),
            st.sampled_from(Overlap),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 4),
)
def test_every_fire_is_accounted_for_and_limits_hold(
    rows: list[tuple[str, int, Overlap, bool]], slots: int
) -> None:
    works = [
        work(
            f"t{number}",
            cron,
            minutes,
            overlap=overlap,
            limit=None if overlap is Overlap.ALLOW else 1,
            pools=(("p", 1),) if pooled else (),
        )
        for number, (cron, minutes, overlap, pooled) in enumerate(rows)
    ]
    report = run(*works, slots=slots, p=1)
    assert report.fires == [
        sum(1 for _ in one.table.instants(BEGIN - 1, BEGIN + 1440 * MINUTE - 1)) for one in works if one.table
    ]
    assert report.usual.peak[0] <= slots
    lost = dict.fromkeys(range(len(works)), 0)
    for found in report.usual.findings:
        if found.kind in (Kind.SKIPPED, Kind.REPLACED):
            lost[int(found.task[1:])] += found.count
    for number, count in enumerate(report.fires):
        ran = report.usual.runs[number]
        # a replaced one may have run for a while, or have been waiting still
        assert count - lost[number] <= ran <= count
        if works[number].overlap is not Overlap.REPLACE:
            assert ran == count - lost[number]
    load = sum(report.usual.busy.values())
    assert load <= sum(one.usual * ran for one, ran in zip(works, report.usual.runs, strict=True))
    assert max(report.usual.busy.values()) <= slots * 60 * MINUTE
