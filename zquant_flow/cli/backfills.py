"""Which backfills were there, how far are they, and how does one end them?"""

from __future__ import annotations

from pathlib import Path

from zquant_flow.api.models import BackfillStateOut
from zquant_flow.cli.connect import connected
from zquant_flow.cli.instants import local
from zquant_flow.cli.language import t
from zquant_flow.cli.naming import the_task
from zquant_flow.cli.tables import note, print_ids, print_json, print_table
from zquant_flow.core.status import ACTIVE
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def check_words(
    task: str | None,
    start: str | None,
    end: str | None,
    *,
    listing: bool,
    cancel: int | None,
    terminate: bool,
) -> None:
    """Raises BadRequest where the words of `backfill` do not belong together."""
    span = start is not None or end is not None
    if cancel is not None and (task is not None or span or listing):
        raise BadRequest(say("--cancel takes the id of a backfill, and no task, span or --list"))
    if listing and span:
        raise BadRequest(say("--list takes no span"))
    if terminate and cancel is None:
        raise BadRequest(say("--terminate goes with --cancel"))
    if cancel is None and not listing and (task is None or start is None or end is None):
        raise BadRequest(
            say("say what to run: `backfill TASK --from WHEN --to WHEN`; or --list, or --cancel ID")
        )


def list_backfills(
    task: str | None, *, as_json: bool, quiet: bool, server: str | None, data: Path | None
) -> None:
    """The newest backfills, of one task or of all."""
    with connected(server, data) as client:
        page = client.list_backfills(None if task is None else the_task(client, task).id)
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(one.id for one in page.backfills)
    elif not page.backfills:
        note(t("there are no backfills"))
    else:
        print_table(
            [t("id"), t("task"), t("from"), t("to"), t("executions"), t("state")],
            [
                (str(one.id), one.task_name, local(one.from_), local(one.to), _counted(one), _state(one))
                for one in page.backfills
            ],
        )


def cancel_backfill(
    number: int, *, terminate: bool, as_json: bool, quiet: bool, server: str | None, data: Path | None
) -> None:
    """Begin nothing more of it, and say what will not run."""
    with connected(server, data) as client:
        found = client.cancel_backfill(number, terminate=terminate)
    if as_json:
        print_json(found)
    elif quiet:
        print_ids(found.cancelled)
    else:
        note(t("backfill {id}: {count} executions will not run", id=number, count=len(found.cancelled)))


def _counted(one: BackfillStateOut) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(one.counts.items()))


def _state(one: BackfillStateOut) -> str:
    if one.cancelled_time is not None:
        return t("cancelled")
    return t("under way") if ACTIVE & one.counts.keys() else t("ended")
