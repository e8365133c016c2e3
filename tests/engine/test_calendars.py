"""Tasks that follow exchanges: fired on sessions, still at the horizon, and caught up when more is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.core.test_sessions import JANUARY, instant
from zquant_flow.calendars.provider import CalendarFault, Calendars
from zquant_flow.core.instants import from_micros, to_micros
from zquant_flow.core.model import Action, At, Edge, Overlap, Rule, Schedule
from zquant_flow.core.sessions import LocalCalendar, Sessions, amended
from zquant_flow.store import queries
from zquant_flow.testing import FakeClock, Harness, command_node, command_task, workflow_task

DAY = 86_400
CLOSE = Schedule(rules=(Rule(at=At(Edge.CLOSE, timedelta(minutes=30)), calendar="XSHG"),))
EVENING = Schedule(rules=(Rule(cron="0 18 * * *", calendar="XSHG"),), timezone="Asia/Shanghai")
EXTENDED = amended(
    "XSHG",
    JANUARY,
    LocalCalendar(early_closes={}, late_opens={}, until=date(2026, 2, 28).toordinal()),
    first=0,
    last=0,
)


@pytest.fixture
def calendars(tmp_path: Path) -> Calendars:
    return Calendars(None, tmp_path / "none")


@pytest.fixture
def h(tmp_path: Path, calendars: Calendars) -> Iterator[Harness]:
    clock = FakeClock(instant("2026-01-08T12:00"))
    with Harness(tmp_path, clock=clock, zone="Asia/Shanghai", calendars=calendars) as harness:
        yield harness


def take(h: Harness, calendars: Calendars, *known: Sessions) -> None:
    calendars.known = MappingProxyType({sessions.name: sessions for sessions in known})
    h.operations.take_calendars()


def ledger(h: Harness, task: int) -> list[tuple[int, int, str]]:
    """Day of January in Shanghai, from and to, and what became of it."""
    return [
        (
            from_micros(row.logical_time).astimezone(JANUARY.zone).day,
            from_micros(row.until).astimezone(JANUARY.zone).day,
            row.outcome,
        )
        for row in queries.ledger(h.database, task, 0, 2**62, limit=1000)
    ]


def next_fire(h: Harness, task: int) -> datetime | None:
    row = queries.task_row(h.database, task)
    assert row is not None
    return from_micros(row.next_fire)


def test_sessions_fire_and_the_days_between_are_spans(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    [task] = h.define(command_task("daily", schedule=EVENING, overlap=Overlap.ALLOW))
    assert next_fire(h, task) == instant("2026-01-08T18:00")
    for _ in range(5):
        h.tick(DAY)
    assert ledger(h, task) == [
        (8, 8, "fired"),
        (9, 9, "fired"),
        (10, 11, "not_a_session"),
        (12, 12, "fired"),
    ]


def test_a_task_whose_calendar_is_not_there_yet_waits_for_it_and_misses_nothing(
    h: Harness, calendars: Calendars
) -> None:
    [task] = h.define(command_task("daily", schedule=EVENING, overlap=Overlap.ALLOW))
    h.tick(DAY)
    assert (next_fire(h, task), ledger(h, task)) == (None, [])
    take(h, calendars, JANUARY)
    h.tick(0)
    assert ledger(h, task) == [(8, 8, "fired")]


def test_at_the_horizon_a_task_stands_still_and_goes_on_when_more_is_known(
    h: Harness, calendars: Calendars
) -> None:
    take(h, calendars, JANUARY)
    [task] = h.define(command_task("daily", schedule=CLOSE, overlap=Overlap.ALLOW))
    for _ in range(14):  # until 22 January; the horizon is the 18th
        h.tick(DAY)
    assert ledger(h, task)[-1] == (16, 16, "fired")
    assert next_fire(h, task) is None
    take(h, calendars, EXTENDED)
    h.tick(0)
    assert ledger(h, task)[-2:] == [(19, 20, "coalesced"), (21, 21, "fired")]
    assert next_fire(h, task) == instant("2026-01-22T15:30")


def test_a_restart_between_horizon_and_extension_changes_nothing(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    [task] = h.define(command_task("daily", schedule=CLOSE, overlap=Overlap.ALLOW))
    for _ in range(14):
        h.tick(DAY)
    h.restart()
    h.tick(0)
    take(h, calendars, EXTENDED)
    h.tick(0)
    assert ledger(h, task)[-2:] == [(19, 20, "coalesced"), (21, 21, "fired")]


def test_a_calendar_that_nobody_has_is_a_load_error_until_it_is_there(
    h: Harness, calendars: Calendars
) -> None:
    why = CalendarFault(code="unknown_calendar", message="there is no calendar 'XSHG'")
    calendars.faults = MappingProxyType({"XSHG": why})
    assert h.define(command_task("daily", schedule=CLOSE)) == []
    [error] = h.operations.registry.errors["daily.yaml"]
    assert (error.code, error.field) == ("unknown_calendar", "calendar")
    calendars.faults = MappingProxyType({})
    take(h, calendars, JANUARY)
    assert not h.operations.registry.errors
    assert "daily" in h.operations.registry.by_name


def test_a_fault_of_a_local_file_is_a_load_error_until_it_is_mended(h: Harness, calendars: Calendars) -> None:
    calendars.faults = MappingProxyType(
        {"XSHG": CalendarFault(code="invalid_calendar", message="wrong", path="XSHG.yaml", line=3)}
    )
    take(h, calendars, JANUARY)
    [error] = h.operations.registry.errors["../calendars/XSHG.yaml"]
    assert (error.line, error.message) == (3, "wrong")
    h.restart()
    calendars.faults = MappingProxyType({})
    h.operations.take_calendars()
    assert not h.operations.registry.errors


@pytest.mark.parametrize(
    ("schedule", "code", "field"),
    [
        (
            Schedule(rules=(Rule(run_at=instant("2026-01-10T12:00"), calendar="XSHG"),)),
            "never_fires",
            "run_at",
        ),
        (
            Schedule(rules=(Rule(run_at=instant("2026-03-10T12:00"), calendar="XSHG"),)),
            "calendar_horizon",
            "run_at",
        ),
        (replace(CLOSE, start_at=instant("2026-02-10T12:00")), "calendar_horizon", "start_at"),
        (
            Schedule(rules=(Rule(cron="0 9 * * 0", calendar="XSHG"),), timezone="Asia/Shanghai"),
            "never_fires",
            "calendar",
        ),
    ],
)
def test_what_never_meets_a_session_is_refused(
    h: Harness, calendars: Calendars, schedule: Schedule, code: str, field: str
) -> None:
    take(h, calendars, JANUARY)
    h.define(command_task("never", schedule=schedule))
    [error] = h.operations.registry.errors["never.yaml"]
    assert (error.code, error.field) == (code, field)


def test_the_engine_knows_how_far_it_knows(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    [task] = h.define(command_task("daily", schedule=CLOSE))
    definition = h.operations.registry.by_id[task].definition
    known = h.engine.times_for([definition]).table(CLOSE, datetime(2026, 1, 1, tzinfo=UTC)).known_until
    assert known is not None
    assert to_micros(known) == to_micros(instant("2026-01-19T00:30")) - 1


def test_an_attempt_finds_its_sessions_in_its_environment(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    h.define(command_task("daily", schedule=EVENING))
    h.tick(6 * 3600)
    assert h.backend.orders[-1]["env"] == {
        "ZQUANT_FLOW_SESSION": "2026-01-08",
        "ZQUANT_FLOW_PREVIOUS_SESSION": "2026-01-07",
        "ZQUANT_FLOW_NEXT_SESSION": "2026-01-09",
    }


def test_nodes_stand_for_the_session_of_their_workflow(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    [task] = h.define(
        workflow_task("nightly", [command_node("one")], schedule=EVENING, overlap=Overlap.ALLOW)
    )
    h.clock.advance(2 * DAY)  # a Saturday
    h.operations.trigger(task, actor="test")
    assert h.backend.orders[-1]["env"] == {
        "ZQUANT_FLOW_PREVIOUS_SESSION": "2026-01-09",
        "ZQUANT_FLOW_NEXT_SESSION": "2026-01-12",
    }


def test_a_function_gets_them_beside_what_its_env_says(h: Harness, calendars: Calendars) -> None:
    take(h, calendars, JANUARY)
    action = Action(executor="python", config={"module": "m"}, env={"ZQUANT_FLOW_SESSION": "mine"})
    h.define(command_task("daily", schedule=EVENING, action=action))
    h.tick(6 * 3600)
    order = h.backend.orders[-1]
    assert order["env"]["ZQUANT_FLOW_SESSION"] == "mine"
    assert order["sessions"] == {
        "session": "2026-01-08",
        "previous_session": "2026-01-07",
        "next_session": "2026-01-09",
    }
