"""How well has it gone, and what is ahead?"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zquant_flow.api.models import StatsOut
from zquant_flow.cli.connect import connected
from zquant_flow.cli.instants import instant, lasting, local, moment, moment_and_local
from zquant_flow.cli.language import t
from zquant_flow.cli.naming import the_task
from zquant_flow.cli.tables import Cell, note, print_facts, print_ids, print_json, print_table

TASKS_SHOWN = 20


def show_stats(
    task: str | None,
    *,
    since: str | None,
    until: str | None,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """Statistics of one task, or of all together and then by task."""
    span = {"since": instant(since, "--since"), "until": instant(until, "--until")}
    with connected(server, data) as client:
        found = None if task is None else the_task(client, task)
        stats = client.get_stats(None if found is None else found.id, **span)
        if as_json:
            print_json(stats)
            return
        print_facts(_facts(stats))
        page = None if found is not None else client.list_task_stats(limit=TASKS_SHOWN, **span)
    if page is not None and page.tasks:
        sys.stdout.write("\n")
        print_table(
            [t("id"), t("name"), t("executions"), t("success"), t("failed"), t("on average"), t("latest")],
            [
                (
                    str(row.task_id),
                    row.name,
                    str(row.total_executions),
                    _rate(row.success_rate),
                    Cell(str(row.failed_count), "red" if row.failed_count else "dim"),
                    lasting(row.avg_duration_seconds),
                    moment(row.latest_execution_time),
                )
                for row in page.tasks
            ],
        )


def show_upcoming(
    *, hours: float, limit: int, as_json: bool, quiet: bool, server: str | None, data: Path | None
) -> None:
    """The fires of the next hours."""
    now = datetime.now(UTC)
    with connected(server, data) as client:
        page = client.list_upcoming(start=now, end=now + timedelta(hours=hours), limit=limit)
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(dict.fromkeys(fire.task_id for fire in page.upcoming))
    elif not page.upcoming:
        note(t("nothing fires within {hours:g} h", hours=hours))
    else:
        rows = [
            (local(fire.logical_time), moment(fire.logical_time), str(fire.task_id), fire.name)
            for fire in page.upcoming
        ]
        print_table([t("time"), "", t("id"), t("task")], rows)
        if not page.complete:
            note(t("there are more; --limit shows them"))


def _facts(stats: StatsOut) -> list[tuple[str, str | Cell]]:
    percentiles = "  ".join(f"{name} {lasting(value)}" for name, value in stats.duration_percentiles.items())
    return [
        (t("executions"), str(stats.total_executions)),
        (t("success"), _of(stats)),
        (t("failed"), Cell(str(stats.failed_count), "red" if stats.failed_count else "")),
        (t("terminated"), str(stats.terminated_count or "")),
        (t("completed"), str(stats.completed_count or "")),
        (t("running"), str(stats.running_count)),
        (t("on average"), lasting(stats.avg_duration_seconds)),
        (t("durations"), percentiles),
        (t("latest"), moment_and_local(stats.latest_execution_time)),
    ]


def _of(stats: StatsOut) -> str:
    rate = _rate(stats.success_rate)
    return f"{stats.success_count} ({rate})" if rate else str(stats.success_count)


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"
