"""What does the API stand on? One value with all that a router may use, made by whoever serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Request

from zquant_flow.api.calls import Asking
from zquant_flow.api.feed import Feed
from zquant_flow.api.known_tokens import KnownTokens
from zquant_flow.api.logwatch import LogWatch
from zquant_flow.api.validation import meaningless
from zquant_flow.definitions.registry import Registry
from zquant_flow.engine.authored import Authored
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.plugged import Plugged
from zquant_flow.engine.service import Engine
from zquant_flow.engine.simulations import Simulations
from zquant_flow.notifiers.channels import Channels
from zquant_flow.plugin.channels import NotifySettings
from zquant_flow.store.database import Database
from zquant_flow.store.notices import Notices
from zquant_flow.wording import say

MAX_ID = 2**63 - 1
TaskId = Annotated[int, Path(ge=1, le=MAX_ID)]
ExecutionId = Annotated[int, Path(ge=1, le=MAX_ID)]


@dataclass(slots=True)
class Control:
    """The parts of a running scheduler, as the API sees them."""

    engine: Engine
    operations: Operations
    authored: Authored
    plugged: Plugged
    folder: TasksFolder
    database: Database
    data_dir: FilePath
    zone: ZoneInfo
    token: str
    channels: Channels = field(default_factory=lambda: Channels(NotifySettings()))
    locale: str = "en"
    secret: Callable[[], str] = lambda: ""
    """What the secrets of webhooks are made from; asked for when one is needed."""
    feed: Feed = field(init=False)
    tokens: KnownTokens = field(init=False)
    asking: Asking = field(init=False)
    notices: Notices | None = None
    """Where other processes share the database: what they commit."""
    serves_only: bool = False
    """Whether no engine runs in this process."""
    started: int = field(init=False)
    log_watch: LogWatch = field(default_factory=LogWatch)
    simulations: Simulations = field(default_factory=Simulations)

    def __post_init__(self) -> None:
        """The feed of events listens to the engine from the beginning; it costs nothing while nobody listens to it."""
        self.feed = Feed(self.database, lambda: self.registry.errors)
        self.tokens = KnownTokens(self.database, self.token, self.engine.now)
        self.asking = Asking(self.database, self.engine)
        self.engine.listen(self.feed.wake)
        if self.notices is not None:
            self.notices.listen(lambda _: self.feed.wake())
            self.notices.listen(self.asking.wake)
        self.started = self.engine.now()

    @property
    def registry(self) -> Registry:
        """The current definitions."""
        return self.operations.registry

    def instant(self, given: datetime | None, field: str) -> datetime | None:
        """What a client means in that field, in UTC; without offset it is in the default zone.

        Raises BadRequest outside of 1970-9999.
        """
        if given is None:
            return None
        try:
            instant = (given if given.tzinfo else given.replace(tzinfo=self.zone)).astimezone(UTC)
        except OverflowError:
            instant = None
        if instant is None or instant.year < 1970:
            message = say(
                "{instant} is out of range: instants are from 1970 to 9999, in UTC", instant=given.isoformat()
            )
            raise meaningless(message, field)
        return instant


async def control_of(request: Request) -> Control:
    """The control that this application was made with. In the event loop: health needs no thread, which may be all taken."""
    control: Control = request.app.state.control
    return control


Ctl = Annotated[Control, Depends(control_of)]
