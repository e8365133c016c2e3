"""How is the API of a scheduler served over HTTP?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zquant_flow.api.app import create_app
from zquant_flow.api.control import Control
from zquant_flow.cli.quiet import QuietServer

if TYPE_CHECKING:
    from zquant_flow.engine.assembly import Scheduler


def http_server(scheduler: Scheduler, token: str, *, shutdown_seconds: int) -> QuietServer:
    """The server, to be run with sockets; streams that are open at its end have `shutdown_seconds`."""
    import uvicorn

    settings = scheduler.settings
    control = Control(
        engine=scheduler.engine,
        operations=scheduler.operations,
        authored=scheduler.authored,
        folder=scheduler.folder,
        database=scheduler.database,
        data_dir=settings.data_dir,
        zone=settings.zone,
        token=token,
        locale=settings.locale,
    )
    config = uvicorn.Config(
        create_app(control),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=shutdown_seconds,
        server_header=False,
        date_header=False,
    )
    return QuietServer(config)
