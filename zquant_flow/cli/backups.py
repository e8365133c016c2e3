"""How is the database backed up, and put back?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from zquant_flow.cli.language import t
from zquant_flow.cli.tables import print_facts
from zquant_flow.config import settings_around
from zquant_flow.engine.ahead import lock_data_folder
from zquant_flow.engine.log_archive import beside, pack, unpack
from zquant_flow.engine.log_files import highest_id
from zquant_flow.errors import BadRequest
from zquant_flow.store.backup import write_backup
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.terms import last_number
from zquant_flow.wording import say

if TYPE_CHECKING:
    from zquant_flow.store.restore import Restored


def backup(file: Path, *, data: Path | None, logs: bool) -> int:
    """Write the database to a new file, also while a server works. Raises BadRequest where it is there, Unavailable."""
    settings, begin = settings_around(data_dir=data), time.monotonic()
    if logs and beside(file).exists():
        raise BadRequest(say("{file} is there already; choose another name", file=str(beside(file))))
    with _shown_progress() as progress:
        found = write_backup(settings.database, file, progress=progress)
        count = pack(settings.data_dir, beside(file), _last_id(file)) if logs else 0
    facts = [(t("written"), f"{file} ({megabytes(file.stat().st_size)})")]
    if logs:
        size = megabytes(beside(file).stat().st_size)
        facts.append(
            (t("logs"), t("{count} in {file} ({size})", count=count, file=str(beside(file)), size=size))
        )
    facts.append((t("schema"), found))
    facts.append((t("took"), t("{seconds} s", seconds=f"{time.monotonic() - begin:.1f}")))
    print_facts(facts)
    return 0


def restore(file: Path, *, data: Path | None, logs: bool) -> int:
    """Put a backup in the place of the database, which is kept. Raises DataFolderInUse, BadRequest, Unavailable."""
    from zquant_flow.store.restore import restore as put_back

    settings = settings_around(data_dir=data)
    if logs and not beside(file).exists():
        raise BadRequest(
            say("{file} is not there; without --logs only the database is restored", file=str(beside(file)))
        )
    label = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    lock = lock_data_folder(settings)
    try:
        with _shown_progress() as progress:
            done = put_back(
                settings.database,
                file,
                data_dir=settings.data_dir,
                label=label,
                last_log=highest_id(settings.data_dir),
                progress=progress,
            )
        aside = None if done.same_history else _put_logs_aside(settings.data_dir, label)
        count = unpack(beside(file), settings.data_dir) if logs else None
    finally:
        lock.close()
    _tell(done, count, aside)
    return 0


def _put_logs_aside(data_dir: Path, label: str) -> Path | None:
    """Logs are named by ids, and these ids stand for other executions now."""
    if not (data_dir / "logs").is_dir():
        return None
    return (data_dir / "logs").rename(data_dir / f"logs.before-restore-{label}")


def _last_id(file: Path) -> int:
    database = Database(f"sqlite:///{file}")
    try:
        return last_number(database, "execution")
    finally:
        database.close()


def _tell(done: Restored, logs: int | None, aside: Path | None) -> None:
    was = t("{newest} now, and was {found}", newest=HEAD, found=done.found)
    content = t("{tasks} tasks, {executions} executions", tasks=done.tasks, executions=done.executions)
    facts = [
        (t("restored"), content),
        (t("schema"), HEAD if done.found == HEAD else was),
        (t("kept"), str(done.kept) if done.kept else t("there was no database before")),
    ]
    if done.entries:
        taken = t(
            "{count} newer entries are taken over: what they say has fired fires no more", count=done.entries
        )
        facts.append((t("ledger"), taken))
    if aside is not None:
        facts.append((t("logs"), t("those of the other database are in {folder}", folder=str(aside))))
    if logs is not None:
        facts.append((t("logs"), t("{count} brought back", count=logs)))
    if done.active:
        lost = t(
            "{count} executions had not ended: what ran is lost at the next start, and tried again if a retry is left",
            count=done.active,
        )
        facts.append((t("active"), lost))
    print_facts(facts)


@contextmanager
def _shown_progress() -> Iterator[Callable[[int, int], None]]:
    """A share that grows in one line, in a terminal; nothing for scripts."""
    shown = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if shown and total:
            sys.stderr.write(f"\r{min(100, 100 * done // total):3d} %")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r     \r")


def megabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e6:.1f} MB"
