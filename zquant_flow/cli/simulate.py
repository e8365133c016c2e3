"""What would fire and run in a span: findings first, then the hours of the day as bars, then the tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from zquant_flow.api.models import FindingOut, SimulatedTaskOut, SimulationOut
from zquant_flow.cli.connect import connected
from zquant_flow.cli.instants import instant, lasting
from zquant_flow.cli.language import t
from zquant_flow.cli.naming import the_task
from zquant_flow.cli.tables import Cell, faint, note, print_json, print_table

TASKS_SHOWN = 20
FINDINGS_SHOWN = 50
_BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


def simulate(
    start: str | None,
    end: str | None,
    *,
    task: str | None,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """Ask for the simulation, and show it."""
    since = instant(start, "--from") or datetime.now(UTC)
    until = instant(end or "7d", "--to", ahead=True)
    with connected(server, data) as client:
        found = None if task is None else the_task(client, task)
        with _patience():
            answer = client.simulate(start=since, end=until, task_id=None if found is None else found.id)
    if as_json:
        print_json(answer)
    else:
        _show(answer)


@contextmanager
def _patience() -> Iterator[None]:
    """In a terminal something moves while one waits."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(t("simulating ...")):
        yield


def _show(answer: SimulationOut) -> None:
    zone = ZoneInfo(answer.timezone)
    sys.stdout.write(
        t(
            "{start} to {end} ({zone}): {fires:,} fires, {count:,} executions",
            start=_local(answer.from_, zone),
            end=_local(answer.to, zone),
            zone=answer.timezone,
            fires=answer.fires,
            count=answer.executions,
        )
        + "\n"
    )
    if answer.findings:
        sys.stdout.write("\n")
        _show_findings(answer.findings, zone)
    else:
        sys.stdout.write(t("nothing is in the way of anything, and nothing is late") + "\n")
    if answer.executions:
        _show_hours(answer, zone)
    if answer.tasks:
        sys.stdout.write("\n")
        _show_tasks(answer)
    _note_limits(answer, zone)


def _show_findings(findings: Sequence[FindingOut], zone: ZoneInfo) -> None:
    print_table(
        [t("task"), t("what"), t("first"), t("last")],
        [
            (
                found.task,
                Cell(_said(found), "" if found.slow_only else "yellow"),
                _local(found.first, zone),
                _local(found.last, zone) if found.count > 1 else "",
            )
            for found in findings[:FINDINGS_SHOWN]
        ],
    )
    if len(findings) > FINDINGS_SHOWN:
        note(t("and {count} more; --json has all of them", count=len(findings) - FINDINGS_SHOWN))


def _said(found: FindingOut) -> str:
    return t("only when slow: {detail}", detail=found.detail) if found.slow_only else found.detail


def _show_hours(answer: SimulationOut, zone: ZoneInfo) -> None:
    """The hours of the day, as bars of the slots that are in use on average."""
    most = max(answer.hours)
    sys.stdout.write(
        "\n"
        + t(
            "slots in use by the hour of the day, on average; at most {used} of {all}, first at {time}",
            used=answer.peak.slots,
            all=answer.slots,
            time=_local(answer.peak.time, zone),
        )
        + "\n"
    )
    for hour, share in enumerate(answer.hours):
        sys.stdout.write(f"  {hour:02}  {_bar(share / most if most else 0.0)}  {share * answer.slots:.2f}\n")
    if answer.busiest:
        hours = "  ".join(f"{_local(one.from_, zone)} ({one.share:.0%})" for one in answer.busiest)
        sys.stdout.write(t("the busiest hours: {hours}", hours=hours) + "\n")


def _bar(share: float) -> str:
    """That share of a full bar, to an eighth of a character."""
    eighths = round(share * _BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip().ljust(_BAR)


def _show_tasks(answer: SimulationOut) -> None:
    """Those that take the most first."""

    def taken(task: SimulatedTaskOut) -> float:
        return task.executions * task.usual_seconds

    tasks = sorted(answer.tasks, key=taken, reverse=True)
    print_table(
        [t("task"), t("fires"), t("executions"), t("usually"), t("slow"), t("in all")],
        [
            (
                task.name,
                f"{task.fires:,}",
                f"{task.executions:,}",
                faint(t("{span}, assumed", span=lasting(task.usual_seconds)))
                if task.assumed
                else lasting(task.usual_seconds),
                "" if task.assumed else lasting(task.slow_seconds),
                lasting(taken(task)),
            )
            for task in tasks[:TASKS_SHOWN]
        ],
    )
    if len(tasks) > TASKS_SHOWN:
        note(t("and {count} more; --json has all of them", count=len(tasks) - TASKS_SHOWN))


def _note_limits(answer: SimulationOut, zone: ZoneInfo) -> None:
    """What the answer does not know."""
    steady = [task.name for task in answer.tasks if task.steady]
    for words, names in (
        (t("they fire so often that they count as an even load: {names}", names=_some(steady)), steady),
        (t("disabled or paused, and left out: {names}", names=_some(answer.idle)), answer.idle),
        (
            t("nobody can say when these will be started: {names}", names=_some(answer.unknown)),
            answer.unknown,
        ),
    ):
        if names:
            note(words)
    for one in answer.horizon:
        until = _local(one.until, zone) or "?"
        note(t("the calendar of {task} is known until {until} only", task=one.task, until=until))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return t("{some} and {count} more", some=shown, count=len(names) - 10) if len(names) > 10 else shown


def _local(given: datetime | None, zone: ZoneInfo) -> str:
    return "" if given is None else f"{given.astimezone(zone):%Y-%m-%d %H:%M}"
