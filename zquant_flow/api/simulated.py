"""What would fire and run in a span? Nothing is written for the answer (CONTRACT)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import MAX_ID, Control, Ctl
from zquant_flow.api.languages import language_of, said
from zquant_flow.api.models import SimulationOut
from zquant_flow.api.planned import From, To
from zquant_flow.api.security import signed_in
from zquant_flow.api.tasks import task_row
from zquant_flow.api.validation import meaningless
from zquant_flow.core.instants import from_micros, later, to_micros
from zquant_flow.core.simulated_run import HOUR
from zquant_flow.core.workload import Finding, Kind, Outcome, Report
from zquant_flow.engine.simulations import Facts, gathered
from zquant_flow.wording import Message, joined, say

router = APIRouter(tags=["schedule"], dependencies=[Depends(signed_in)])

USUAL_SPAN = timedelta(days=7)
LONGEST_DAYS = 366 * 5
BUSIEST = 5
SHOWN = 3
"""So many of those who hold what another waits for are named."""


@router.get("/simulate", operation_id="simulate", response_model=SimulationOut)
def simulate(
    request: Request,
    control: Ctl,
    since: From = None,
    until: To = None,
    task_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> Response:
    """What would fire and run from `from` to `to`, from past durations; of one task it tells all that it meets."""
    start = control.instant(since, "from") or from_micros(control.engine.now())
    end = control.instant(until, "to") or later(start, USUAL_SPAN)
    if start > end:
        raise meaningless(say("`from` is later than `to`"), "from", "to")
    if end - start > timedelta(days=LONGEST_DAYS):
        raise meaningless(
            say("a simulation goes over {days} days at the most", days=LONGEST_DAYS), "from", "to"
        )
    if task_id is not None:
        task_row(control, task_id)
    pools = {pool["name"]: pool["slots"] for pool in control.operations.pools()}
    slots = control.engine.slots()[1]
    first, last = to_micros(start), to_micros(end)
    facts = gathered(control.engine, control.database, control.registry, last)
    report = control.simulations.run(facts, first, last, slots=slots, pools=pools)
    out = {
        "from": start,
        "to": end,
        "timezone": control.zone.key,
        "slots": slots,
        **_totals(facts, report),
        "tasks": [task for task in _tasks(facts, report) if task_id in (None, task["task_id"])],
        "findings": [found for found in _findings(facts, report) if task_id in (None, found["task_id"])],
        **_busy(control, report.usual, slots, first, last),
        "idle": facts.idle,
        "unknown": facts.unknown,
        "horizon": [{"task": name, "until": from_micros(known)} for name, known in facts.horizon.items()],
    }
    return Json(said(out, language_of(request)))


def _totals(facts: Facts, report: Report) -> dict[str, Any]:
    most, moment = report.usual.peak
    return {
        "fires": sum(report.fires),
        "executions": sum(report.usual.runs),
        "peak": {"slots": most, "time": from_micros(moment)},
    }


def _tasks(facts: Facts, report: Report) -> Iterator[dict[str, Any]]:
    for number, work in enumerate(facts.works):
        yield {
            "task_id": work.task_id,
            "name": work.name,
            "fires": report.fires[number],
            "executions": report.usual.runs[number],
            "usual_seconds": work.usual / 1e6,
            "slow_seconds": work.slow / 1e6,
            "assumed": work.name in facts.assumed,
            "steady": work.name in report.steady,
        }


def _findings(facts: Facts, report: Report) -> Iterator[dict[str, Any]]:
    """Those of usual durations, then those that only slow executions lead to."""
    ids = {work.name: work.task_id for work in facts.works}
    told = {(found.kind, found.task, found.pool) for found in report.usual.findings}
    for found in report.usual.findings:
        yield _finding_out(found, ids[found.task], slow_only=False)
    for found in report.slow.findings:
        if (found.kind, found.task, found.pool) not in told:
            yield _finding_out(found, ids[found.task], slow_only=True)


def _finding_out(found: Finding, task_id: int, *, slow_only: bool) -> dict[str, Any]:
    by = [name for name, _ in found.others.most_common(SHOWN)]
    return {
        "kind": found.kind.value,
        "task_id": task_id,
        "task": found.task,
        "pool": found.pool,
        "by": by,
        "first": from_micros(found.first),
        "last": from_micros(found.last),
        "count": found.count,
        "worst_seconds": found.worst / 1e6,
        "slow_only": slow_only,
        "detail": _detail(found, by),
    }


def _detail(found: Finding, by: list[str]) -> Message:
    count, seconds = found.count, round(found.worst / 1e6)
    held = joined(", ", by) if by else say("nobody")
    if found.kind is Kind.SKIPPED:
        return say("{count:,} fires are skipped: an execution is still active", count=count)
    if found.kind is Kind.REPLACED:
        return say("{count:,} executions are ended by the next one", count=count)
    if found.kind is Kind.QUEUED:
        return say(
            "{count:,} executions wait for the ones before, up to {seconds:,} s", count=count, seconds=seconds
        )
    if found.kind is Kind.SLOTS:
        return say(
            "{count:,} executions wait for a slot, up to {seconds:,} s; meanwhile run: {tasks}",
            count=count,
            seconds=seconds,
            tasks=held,
        )
    if found.kind is Kind.POOL:
        return say(
            "{count:,} executions wait for the pool {pool!r}, up to {seconds:,} s; its places are held by: {tasks}",
            count=count,
            pool=found.pool or "",
            seconds=seconds,
            tasks=held,
        )
    return say(
        "{count:,} executions end later than `expected_within`, up to {seconds:,} s",
        count=count,
        seconds=seconds,
    )


def _busy(control: Control, outcome: Outcome, slots: int, start: int, end: int) -> dict[str, Any]:
    """How full the slots are: by the hour of the day, and the single hours that are fullest."""
    full = HOUR * max(1, slots)
    fullest = sorted(outcome.busy.items(), key=lambda item: (-item[1], item[0]))[:BUSIEST]
    return {
        "hours": _hours_of_day(outcome, control.zone, full, start, end),
        "busiest": [
            {"from": from_micros(hour * HOUR), "to": from_micros((hour + 1) * HOUR), "share": busy / full}
            for hour, busy in fullest
            if busy
        ],
    }


def _hours_of_day(outcome: Outcome, zone: ZoneInfo, full: int, start: int, end: int) -> list[float]:
    sums, counts = [0] * 24, [0] * 24
    for hour in range(start // HOUR, end // HOUR + 1):
        place = from_micros(hour * HOUR).astimezone(zone).hour
        counts[place] += 1
        sums[place] += outcome.busy.get(hour, 0)
    return [total / (full * count) if count else 0.0 for total, count in zip(sums, counts, strict=True)]
