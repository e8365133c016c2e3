"""What of the past is deleted by hand, and what would be?"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from zquant_flow.cli.language import t
from zquant_flow.cli.tables import note, print_facts
from zquant_flow.clock import SystemClock
from zquant_flow.config import Settings, settings_around
from zquant_flow.definitions.durations import parse_duration
from zquant_flow.engine.ahead import lock_data_folder
from zquant_flow.engine.housekeeping import Policy, Sweep, Swept
from zquant_flow.errors import BadRequest, DataFolderInUse, Unavailable
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.health import schema_found
from zquant_flow.store.retention import delete_adhoc_tasks
from zquant_flow.wording import say, spoken


def prune(
    *,
    data: Path | None,
    older_than: str | None,
    keep: int | None,
    logs_older_than: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Delete what is over, by these limits or else by the settings, also while a server works. Raises BadRequest, Unavailable."""
    settings = settings_around(data_dir=data)
    policy = _policy(settings, older_than, keep, logs_older_than)
    if schema_found(settings.database) != HEAD:
        raise Unavailable(
            say("the database has not the newest schema; `zquant-flow db upgrade` brings it there")
        )
    database, pause = Database(settings.database), threading.Event()
    try:
        with _alone(settings) as alone:
            swept = Sweep(
                database,
                settings.data_dir,
                policy,
                now=SystemClock().micros(),
                rest=lambda seconds: alone or not pause.wait(seconds),
                delete_tasks=(lambda ids: delete_adhoc_tasks(database, ids)) if alone else None,
                dry_run=dry_run,
            ).run()
    finally:
        database.close()
    _tell(swept, dry_run=dry_run, as_json=as_json)
    return 0


def _policy(
    settings: Settings, older_than: str | None, keep: int | None, logs_older_than: str | None
) -> Policy:
    if older_than is None and keep is None and logs_older_than is None:
        return Policy.of(settings)
    return Policy(
        age=_age(older_than, "--older-than"), count=keep, logs=_age(logs_older_than, "--logs-older-than")
    )


def _age(text: str | None, flag: str) -> int | None:
    """A span in microseconds."""
    if text is None:
        return None
    try:
        return round(parse_duration(text).total_seconds() * 1e6)
    except ValueError as exc:
        raise BadRequest(say("{flag}: {error}", flag=flag, error=spoken(exc))) from exc


@contextmanager
def _alone(settings: Settings) -> Iterator[bool]:
    """Whether nobody else works on the data folder; then nobody begins to meanwhile."""
    try:
        lock = lock_data_folder(settings)
    except DataFolderInUse:
        yield False
        return
    try:
        yield True
    finally:
        lock.close()


def _tell(swept: Swept, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        facts = {name: value for name, value in asdict(swept).items() if name != "longest"}
        sys.stdout.write(json.dumps({"dry_run": dry_run, **facts}) + "\n")
        return
    if dry_run:
        note(t("nothing is deleted; this would be:"))
    others = (
        (t("ledger"), swept.ledger),
        (t("audit"), swept.audit),
        (t("request keys"), swept.keys),
        (t("backfills"), swept.backfills),
        (t("hidden tasks"), swept.tasks),
        (t("sources"), swept.bundles),
    )
    size = f"{swept.log_bytes / 1e6:.1f} MB"
    print_facts(
        [
            (t("executions"), t("{count}, with their nodes {rows}", count=swept.executions, rows=swept.rows)),
            (t("logs"), t("{count} in all ({size})", count=swept.logs, size=size)),
            *((name, str(count)) for name, count in others if count),
        ]
    )
