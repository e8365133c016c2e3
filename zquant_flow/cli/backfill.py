"""How are the instants of the past made up for?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zquant_flow.api.models import BackfillOut
from zquant_flow.cli.connect import connected
from zquant_flow.cli.instants import local, required
from zquant_flow.cli.language import t
from zquant_flow.cli.naming import the_task
from zquant_flow.cli.params import params_of
from zquant_flow.cli.tables import note, print_ids, print_json, print_table
from zquant_flow.client import Client


def backfill(
    task: str,
    start: str,
    end: str,
    *,
    parallel: int,
    param: Sequence[str] | None,
    dry_run: bool,
    wait: bool,
    as_json: bool,
    quiet: bool,
    server: str | None,
    data: Path | None,
) -> int:
    """Make the executions, say which, and with `wait` see them through; 1 if one of them did not succeed."""
    since, until, given = required(start, "--from"), required(end, "--to"), params_of(param)
    with connected(server, data) as client:
        found = the_task(client, task)
        made = client.backfill_task(
            found, since, until, parallel=parallel, params=given or None, dry_run=dry_run
        )
        _show(made, found.name, as_json=as_json, quiet=quiet)
        return _wait(client, made, silent=as_json or quiet) if wait and not dry_run else 0


def _show(made: BackfillOut, name: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(made)
        return
    if quiet:
        print_ids(item.execution_id for item in made.executions if item.execution_id is not None)
        return
    if made.executions:
        rows = [(local(item.logical_time), str(item.execution_id or "")) for item in made.executions]
        print_table([t("logical time"), t("execution")], rows)
    words = t("would begin") if made.dry_run else t("begun")
    note(
        f"{name}: "
        + t(
            "{words}: {count}; had fired before: {before}",
            words=words,
            count=len(made.executions),
            before=len(made.fired_before),
        )
    )


def _wait(client: Client, made: BackfillOut, *, silent: bool) -> int:
    ids = [item.execution_id for item in made.executions if item.execution_id is not None]
    bad = 0
    for number, execution in enumerate(client.as_ended(ids), start=1):
        bad += execution.status != "success"
        if not silent:
            sys.stdout.write(
                f"{number}/{len(ids)}  {execution.status:<10}  {local(execution.logical_time)}  "
                + t("execution {id}", id=execution.id)
                + "\n"
            )
            sys.stdout.flush()
    return 1 if bad else 0
