"""Do the rows agree with each other, and the logs with the rows? And how are they set right?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from zquant_flow.cli.findings import Finding, State
from zquant_flow.cli.language import shown, t
from zquant_flow.clock import SystemClock
from zquant_flow.config import Settings
from zquant_flow.engine import log_files
from zquant_flow.engine.ahead import lock_data_folder
from zquant_flow.engine.housekeeping import DAY
from zquant_flow.engine.large_results import LargeResults, result_of_row
from zquant_flow.errors import DataFolderInUse
from zquant_flow.store.database import Database
from zquant_flow.store.queries import large_results
from zquant_flow.store.repair import Flaw, active_executions, flaws, repair
from zquant_flow.store.retention import of_ids

LOST_LOGS = "lost-logs"
"""Where logs go that no execution has."""


def findings(settings: Settings, *, mend: bool) -> Iterator[Finding]:
    """All checks of the records of a sound database with the newest schema; with `mend` what can be is set right.

    Nothing is set right while a server works: what it remembers would no longer be what stands there.
    """
    with ExitStack() as stack:
        if mend:
            try:
                stack.enter_context(lock_data_folder(settings))
            except DataFolderInUse as error:
                mend = False
                yield Finding(
                    check=t("repair"),
                    state=State.PROBLEM,
                    detail=shown(error.detail),
                    way_out=t("stop the server first; nothing was changed"),
                )
        database = Database(settings.database)
        stack.callback(database.close)
        yield from _rows(repair(database) if mend else flaws(database), mended=mend)
        yield from _logs(settings, database, mend=mend)
        yield from _results(settings, database)
        yield _active(database)


def _rows(found: list[Flaw], *, mended: bool) -> Iterator[Finding]:
    check = t("records")
    if not found:
        yield Finding(check=check, detail=t("totals, tasks and counters agree with the executions"))
    for flaw in found:
        detail = _WORDS[flaw.what](flaw.count) + f" ({flaw.example})"
        if mended:
            yield Finding(check=check, detail=t("repaired: {what}", what=detail))
        else:
            yield Finding(check=check, state=State.PROBLEM, detail=detail, way_out=_REPAIR)


_REPAIR = "zquant-flow doctor --repair"
_WORDS: dict[str, Callable[[int], str]] = {
    "task_tallies": lambda count: t("{count} totals of tasks differ from the executions", count=count),
    "hour_tallies": lambda count: t("{count} totals of hours differ from the executions", count=count),
    "active_count": lambda count: t(
        "{count} tasks count other active executions than there are", count=count
    ),
    "latest_execution": lambda count: t("{count} tasks name another latest execution", count=count),
    "counters": lambda count: t("{count} counters stand below the highest number given", count=count),
    "attempts": lambda count: t("{count} attempts belong to no execution", count=count),
}


def _logs(settings: Settings, database: Database, *, mend: bool) -> Iterator[Finding]:
    """Logs of executions that are not there: of a deletion that was cut off, or of a database that was replaced."""
    lost = size = 0
    for folder in log_files.folders(settings.data_dir):
        first = folder * log_files.PER_FOLDER
        files = list(log_files.logs_in(settings.data_dir, folder))
        known = of_ids(database, first, first + log_files.PER_FOLDER - 1)
        for file in files:
            if file.execution_id not in known:
                lost, size = lost + 1, size + file.size
                if mend:
                    log_files.put_aside(file, settings.data_dir / LOST_LOGS)
    check, megabytes = t("logs"), f"{size / 1e6:.1f} MB"
    if not lost:
        yield Finding(check=check, detail=t("each belongs to an execution"))
    elif mend:
        moved = t(
            "{count} belong to no execution ({size}); they are in {folder} now",
            count=lost,
            size=megabytes,
            folder=LOST_LOGS,
        )
        yield Finding(check=check, detail=t("repaired: {what}", what=moved))
    else:
        yield Finding(
            check=check,
            state=State.WARNING,
            detail=t("{count} belong to no execution ({size})", count=lost, size=megabytes),
            way_out=_REPAIR,
        )


def _results(settings: Settings, database: Database) -> Iterator[Finding]:
    """Results that should lie beside the logs and do not. Of several machines each has its own, which are not looked for here."""
    if not database.is_sqlite:
        return
    kept = settings.log_retention_days * DAY
    since = SystemClock().micros() - kept if kept else 0
    large = LargeResults(settings.data_dir)
    rows = large_results(database, since)
    lost = [row.id for row in rows if not large.is_there(result_of_row(row))]
    check = t("results")
    if not lost:
        yield Finding(check=check, detail=t("{count} lie in files, and all are there", count=len(rows)))
        return
    yield Finding(
        check=check,
        state=State.WARNING,
        detail=t("{count} have lost their files (execution {id})", count=len(lost), id=lost[0]),
        way_out=t("bring back the logs of a backup, or run again what needs them"),
    )


def _active(database: Database) -> Finding:
    count = active_executions(database)
    detail = t("{count} have not ended; a server goes on with them when it starts", count=count)
    return Finding(check=t("executions"), detail=detail if count else t("none is under way"))
