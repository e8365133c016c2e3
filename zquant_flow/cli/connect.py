"""Where does a command go? To the server that runs; where none does, to a scheduler that rests on the data folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zquant_flow.cli.language import language
from zquant_flow.client import Client, NoServer
from zquant_flow.client.connection import RESTING
from zquant_flow.config import Settings, settings_around
from zquant_flow.errors import BadRequest, DataFolderInUse
from zquant_flow.wording import say


@contextmanager
def connected(server: str | None = None, data: Path | None = None) -> Iterator[Client]:
    """A client, of one code path for both. Raises DataFolderInUse, Unreachable, BadRequest where there is no project."""
    settings = settings_around(data_dir=data, server_url=server)
    away: NoServer | None = None
    try:
        client = Client.find(settings, language=language())
    except NoServer as exc:
        away = exc
    if away is None:
        with client:
            yield client
        return
    _refuse_nowhere(settings)
    from zquant_flow.cli.local import at_rest

    with _explained(away), at_rest(settings) as client:
        yield client


def live(server: str | None = None, data: Path | None = None) -> Client:
    """A client of a server that runs, for what makes no sense without one. Raises NoServer."""
    return Client.find(settings_around(data_dir=data, server_url=server), language=language())


def is_live(client: Client) -> bool:
    """Whether it speaks to a server in which things happen."""
    return client.url != RESTING


@contextmanager
def _explained(away: NoServer) -> Iterator[None]:
    """A folder that is held by a server that does not answer: both facts together are the answer."""
    try:
        yield
    except DataFolderInUse as exc:
        raise DataFolderInUse(say("{held}; {away}", held=exc.detail, away=away.detail)) from exc


def _refuse_nowhere(settings: Settings) -> None:
    if settings.data_dir.is_dir() or settings.tasks_dir.is_dir():
        return
    raise BadRequest(
        say(
            "there is neither {data} nor {tasks}; go to the folder of a project, or make one with `zquant-flow init`",
            data=str(settings.data_dir),
            tasks=str(settings.tasks_dir),
        )
    )
