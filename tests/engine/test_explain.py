"""Each reason that a task can give, from facts by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.core.test_sessions import JANUARY
from tests.engine.conftest import EVERY_MINUTE
from zquant_flow.calendars.provider import CalendarFault
from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import After, At, Edge, OnFile, Rule, Schedule, TaskDef, Webhook
from zquant_flow.core.schedule import SkipReason, Times
from zquant_flow.core.sessions import Sessions
from zquant_flow.definitions.loader import LoadError
from zquant_flow.engine.explain import PENDING, Reason, calendar_reason, explain
from zquant_flow.engine.pools import Standing
from zquant_flow.testing import command_task
from zquant_flow.wording import say, translated

NOON = to_micros(datetime(2026, 1, 5, 12, tzinfo=UTC))
AT = "2026-01-05 12:00:00 UTC"
SCHEDULED = command_task("t", schedule=EVERY_MINUTE)


def task(**facts: Any) -> SimpleNamespace:
    usual = {
        "archived_at": None,
        "enabled": True,
        "paused": False,
        "updated_by": "me",
        "next_fire": None,
        "source": "t.yaml",
        "version": 2,
    }
    return SimpleNamespace(**usual | facts)


def active(status: str = "pending", **facts: Any) -> SimpleNamespace:
    usual = {"id": 7, "status": status, "waiting_for": None, "waiting_until": None, "start_time": NOON}
    return SimpleNamespace(**usual | facts)


def reasons(row: Any, definition: TaskDef = SCHEDULED, **facts: Any) -> list[Reason]:
    usual: dict[str, Any] = {"active": (), "last_entry": None, "errors": (), "used_by": (), "slots": (1, 2)}
    found = explain(row, definition, **usual | facts)
    for reason in found:
        assert translated(reason.detail, "zh") != reason.detail, "not translated"
    return found


def told(row: Any, definition: TaskDef = SCHEDULED, **facts: Any) -> list[tuple[str, str]]:
    return [(reason.code, str(reason.detail)) for reason in reasons(row, definition, **facts)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"next_fire": NOON}, ("waiting_for_fire", f"it waits for its next fire at {AT}")),
        ({}, ("schedule_over", "its schedule has no fire ahead")),
        ({"enabled": False}, ("disabled", "it is disabled, by me: it fires again once it is enabled")),
        ({"paused": True}, ("paused", "it is paused, by me: it goes on once it is resumed")),
        ({"archived_at": NOON}, ("archived", f"it is archived since {AT}: its definition is gone")),
    ],
)
def test_the_state_of_a_task_is_a_reason(facts: dict[str, Any], expected: tuple[str, str]) -> None:
    assert told(task(**facts)) == [expected]


def test_without_a_schedule_it_runs_when_somebody_or_something_asks() -> None:
    assert told(task(), command_task("t")) == [("no_schedule", "it has no schedule: it runs when triggered")]
    assert told(task(), command_task("t"), used_by=["a", "b"]) == [
        ("no_schedule", "it has no schedule: it runs when triggered, and as a node of a, b")
    ]
    assert told(task(), command_task("t", action=None))[0][0] == "nothing_to_run"


def test_what_runs_after_others_says_after_which_and_what_has_come() -> None:
    definition = command_task("t", after=After(tasks=("sync", "load")), consumes=("bars",))
    arrived = [SimpleNamespace(source="task:load", arrived=NOON)]
    assert told(task(), definition, arrived=arrived) == [
        ("waiting_for_events", f"it runs after sync, load (came at {AT}), bars")
    ]
    assert told(task(archived_at=NOON), definition)[0][0] == "archived"
    assert len(told(task(), definition)) == 1


def test_tasks_that_are_started_from_outside_say_by_what() -> None:
    watching = command_task("t", on_file=OnFile(glob="in/*.csv"), webhook=Webhook(name="pushed"))
    assert told(task(), watching) == [
        ("waiting_for_file", "it runs for each new file that matches in/*.csv"),
        ("waiting_for_webhook", "it runs when a signed request comes to /hooks/pushed"),
    ]


def test_executions_come_first_and_say_what_they_do() -> None:
    found = told(task(next_fire=NOON), active=[active(), active("running", id=8), active("paused", id=9)])
    assert [code for code, _ in found] == [
        "running",
        "execution_paused",
        "waiting_for_slot",
        "waiting_for_fire",
    ]
    assert found[0][1] == f"it is running: execution 8 since {AT}"
    assert found[2][1] == "execution 7 is pending: it waits for a slot: 1 of 2 are in use"


@pytest.mark.parametrize("what", PENDING)
def test_what_an_execution_waits_for_is_said(what: str) -> None:
    [(code, detail)] = told(task(), command_task("t"), active=[active(waiting_for=what)])[:1]
    assert (code, detail) == (f"waiting_for_{what}", f"execution 7 is pending: {PENDING[what]}")


def test_a_retry_says_when() -> None:
    [reason] = reasons(task(), command_task("t"), active=[active(waiting_for="retry", waiting_until=NOON)])[
        :1
    ]
    assert reason.until == NOON
    assert str(reason.detail).endswith(f"it will be tried again, until {AT}")


def test_a_full_pool_says_whose_executions_hold_it() -> None:
    standing = Standing(name="api", slots=2, holders=[3, 4], ahead={7: 1})
    [(code, detail)] = told(
        task(), command_task("t"), active=[active(waiting_for="pool")], standing=standing
    )[:1]
    assert code == "waiting_for_pool"
    assert "2 of 2 places are in use (by: 3, 4), 1 wait before it" in detail


def test_more_than_ten_executions_are_counted() -> None:
    found = told(task(), command_task("t"), active=[active("running", id=number) for number in range(13)])
    assert found[10] == ("more", "and 3 more executions")


@pytest.mark.parametrize("why", SkipReason)
def test_the_last_skip_says_why(why: SkipReason) -> None:
    entry = SimpleNamespace(outcome=why.value, until=NOON)
    code, detail = told(task(next_fire=NOON), last_entry=entry)[-1]
    assert code == f"skipped_{why.value}"
    assert detail.startswith(f"its last fire, of {AT}, was skipped: ")
    assert detail.split(": ", 1)[1] != why.value


def test_a_fire_is_no_reason() -> None:
    entry = SimpleNamespace(outcome="fired", until=NOON)
    assert [code for code, _ in told(task(next_fire=NOON), last_entry=entry)] == ["waiting_for_fire"]


def test_an_error_of_its_file_names_place_and_version() -> None:
    error = LoadError(line=3, column=5, field="cron", code="invalid_schedule", message=say("not a schedule"))
    assert told(task(next_fire=NOON), errors=[error])[-1] == (
        "load_error",
        "t.yaml:3:5 has an error, so version 2 stays: not a schedule",
    )


CLOSE = Schedule(rules=(Rule(at=At(Edge.CLOSE, timedelta()), calendar="XSHG"),))


def of_calendar(
    now: str, sessions: Sessions | None = JANUARY, schedule: Schedule = CLOSE, **faults: Any
) -> str:
    calendars = {} if sessions is None else {"XSHG": sessions}
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    table = Times(zone=ZoneInfo("UTC"), calendars=calendars).table(schedule, moment)
    reason = calendar_reason(table, faults, moment)
    if reason is None:
        return ""
    assert translated(reason.detail, "zh") != reason.detail, "not translated"
    return f"{reason.code}: {reason.detail}"


def test_a_calendar_that_is_not_there_says_why() -> None:
    assert of_calendar("2026-01-05", None) == "calendar_missing: calendar XSHG is not there: it is being read"
    fault = CalendarFault(code="unknown_calendar", message=say("not read"))
    assert (
        of_calendar("2026-01-05", None, XSHG=fault)
        == "calendar_missing: calendar XSHG is not there: not read"
    )


def test_the_end_of_a_calendar_is_said_before_and_after() -> None:
    assert of_calendar("2026-01-05").startswith("calendar_horizon_near: ")
    assert of_calendar("2026-01-17").startswith("calendar_horizon: ")
    assert of_calendar("2025-11-01") == ""


def test_a_calendar_that_has_no_end_or_outlives_the_schedule_is_no_reason() -> None:
    assert of_calendar("2026-01-17", replace(JANUARY, unbounded=True)) == ""
    until = datetime(2026, 1, 10, tzinfo=UTC)
    assert of_calendar("2026-01-05", schedule=replace(CLOSE, end_at=until)) == ""


def test_a_calendar_at_its_end_takes_the_place_of_the_next_fire() -> None:
    horizon = Reason(code="calendar_horizon", detail=say("it is being read"))
    assert [code for code, _ in told(task(), horizon=horizon)] == ["calendar_horizon"]
    near = Reason(code="calendar_horizon_near", detail=say("it is being read"))
    assert [code for code, _ in told(task(next_fire=NOON), horizon=near)] == [
        "waiting_for_fire",
        "calendar_horizon_near",
    ]
