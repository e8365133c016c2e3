"""In which state is a database, without changing it?"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from zquant_flow.errors import Unavailable
from zquant_flow.store.database import Database
from zquant_flow.wording import say


def schema_found(url: str) -> str | None:
    """The migration that its schema is of; None where there is no database, or an empty one. Raises Unavailable."""
    if not _is_there(url):
        return None
    database = Database(url)
    try:
        with database.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return None if found is None else str(found)
    except DBAPIError as exc:
        raise Unavailable(
            say("the database {url} can't be opened: {error}", url=_shown(url), error=str(exc.orig))
        ) from exc
    finally:
        database.close()


def damage_in(url: str) -> list[str]:
    """What SQLite's own check finds; nothing for another database, whose server looks after itself."""
    if make_url(url).get_backend_name() != "sqlite" or not _is_there(url):
        return []
    database = Database(url)
    try:
        with database.read() as connection:
            found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check(10)"))]
    except DBAPIError as exc:
        return [str(exc.orig)]
    finally:
        database.close()
    return [line for line in found if line != "ok"]


def _is_there(url: str) -> bool:
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or bool(parsed.database and Path(parsed.database).exists())


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
