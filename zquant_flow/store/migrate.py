"""How does an older database become one of today? Alembic, imported only when the schema is behind."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from zquant_flow.errors import Unavailable
from zquant_flow.wording import say

MIGRATIONS = Path(__file__).parent / "migrations"

log = logging.getLogger(__name__)


def upgrade(url: str, found: str) -> None:
    """Bring the database to the newest schema, a copy of an SQLite file made first. Raises Unavailable if it is newer."""
    from alembic import command

    config = alembic_config(url)
    require_known(found)
    _copy_first(url, found)
    log.info("bringing the database from schema %s to the newest", found, extra={"action": "db_upgrade"})
    command.upgrade(config, "head")


def require_known(found: str) -> None:
    """Raises Unavailable for the schema of a newer release."""
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    try:
        ScriptDirectory.from_config(alembic_config("")).get_revision(found)
    except CommandError:
        raise Unavailable(
            say(
                "the database has schema {found}, which is newer than this zquant-flow; install a newer release",
                found=found,
            )
        ) from None


def create_as_of(url: str, revision: str) -> None:
    """Make the schema in an empty database as it was in that revision."""
    from alembic import command

    command.upgrade(alembic_config(url), revision)


def alembic_config(url: str) -> Any:
    """Alembic's configuration for a database, without any file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def _copy_first(url: str, found: str) -> None:
    database = make_url(url).database
    if make_url(url).get_backend_name() == "sqlite" and database:
        target = Path(f"{database}.before-{found}")
        try:
            copy_sqlite(Path(database), target)
        except (OSError, sqlite3.Error) as exc:
            raise Unavailable(
                say(
                    "the database is not upgraded, for it can't be copied to {file} first: {error}",
                    file=str(target),
                    error=str(exc),
                )
            ) from exc


def copy_sqlite(source: Path, target: Path) -> None:
    """A copy of an SQLite database with all that its journal holds, whole or not there; one that was there is replaced."""
    building = target.with_name(f"{target.name}.part")
    building.unlink(missing_ok=True)
    os.close(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(source)) as before, closing(sqlite3.connect(building)) as after:
        before.backup(after)
    with building.open("rb") as file:
        os.fsync(file.fileno())
    building.replace(target)
