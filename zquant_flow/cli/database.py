"""Which schema has the database, and how does it become the newest?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zquant_flow.cli.language import t
from zquant_flow.cli.tables import print_facts
from zquant_flow.config import settings_around
from zquant_flow.engine.ahead import lock_data_folder
from zquant_flow.store.database import HEAD, Database
from zquant_flow.store.health import schema_found


def show_current(*, data: Path | None, as_json: bool) -> int:
    """The schema found and the newest; 1 where it is another."""
    settings = settings_around(data_dir=data)
    found = schema_found(settings.database)
    if as_json:
        sys.stdout.write(json.dumps({"found": found, "newest": HEAD}) + "\n")
    else:
        print_facts([(t("found"), found or t("none yet")), (t("newest"), HEAD)])
    return 0 if found in (HEAD, None) else 1


def upgrade(*, data: Path | None) -> int:
    """Make or migrate the schema, under the lock of the data folder. Raises DataFolderInUse, Unavailable if it is newer."""
    settings = settings_around(data_dir=data)
    lock = lock_data_folder(settings)
    try:
        before = schema_found(settings.database)
        database = Database(settings.database)
        try:
            database.open()
        finally:
            database.close()
    finally:
        lock.close()
    if before == HEAD:
        sys.stdout.write(t("the schema is {newest}, the newest", newest=HEAD) + "\n")
    else:
        sys.stdout.write(
            t("the schema is {newest} now, and was {found}", newest=HEAD, found=before or t("none")) + "\n"
        )
    return 0
