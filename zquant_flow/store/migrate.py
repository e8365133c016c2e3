"""How does an older database become one of today? Alembic, imported only when the schema is behind."""

from __future__ import annotations

import logging
import shutil
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
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = alembic_config(url)
    try:
        ScriptDirectory.from_config(config).get_revision(found)
    except CommandError:
        raise Unavailable(
            say(
                "the database has schema {found}, which is newer than this zquant-flow; install a newer release",
                found=found,
            )
        ) from None
    _copy_first(url, found)
    log.info("bringing the database from schema %s to the newest", found, extra={"action": "db_upgrade"})
    command.upgrade(config, "head")


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
        shutil.copy2(database, f"{database}.before-{found}")
