"""How is the API of a scheduler served over HTTP?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from zquant_flow.api.app import create_app
from zquant_flow.api.calls import Answering
from zquant_flow.api.control import Control
from zquant_flow.api.plugged import include_routers
from zquant_flow.cli.quiet import QuietServer

if TYPE_CHECKING:
    from zquant_flow.engine.assembly import Scheduler


def application(scheduler: Scheduler, token: str, *, serves_only: bool = False) -> tuple[FastAPI, Answering]:
    """The API of a scheduler, and what answers through it the requests that came to other processes."""
    settings = scheduler.settings
    control = Control(
        engine=scheduler.engine,
        operations=scheduler.operations,
        authored=scheduler.authored,
        plugged=scheduler.plugged,
        folder=scheduler.folder,
        database=scheduler.database,
        data_dir=settings.data_dir,
        zone=settings.zone,
        token=token,
        channels=scheduler.channels,
        locale=settings.locale,
        secret=settings.own_secret,
        notices=scheduler.notices,
        serves_only=serves_only,
    )
    app = create_app(control)
    include_routers(app, control.plugged.current)
    answering = Answering(scheduler.database, scheduler.engine, app)
    if not serves_only:
        scheduler.notices.listen(answering.wake)
    return app, answering


def http_server(
    scheduler: Scheduler, token: str, *, shutdown_seconds: int, serves_only: bool = False
) -> QuietServer:
    """The server, to be run with sockets; streams that are open at its end have `shutdown_seconds`."""
    import uvicorn

    app, answering = application(scheduler, token, serves_only=serves_only)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=shutdown_seconds,
        server_header=False,
        date_header=False,
    )
    return QuietServer(config, None if serves_only else answering)
