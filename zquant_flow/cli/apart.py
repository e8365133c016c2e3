"""How do the parts of a server run as processes of their own, over one PostgreSQL?"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from zquant_flow.cli.language import t
from zquant_flow.cli.serve import listening, prepared, refuse_open_door, write_address
from zquant_flow.config import Settings
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def run_scheduler(**flags: Any) -> None:
    """A scheduler without HTTP, until SIGTERM or Ctrl-C; what it decides is asked of it through the database."""
    settings = prepared(**flags)
    from zquant_flow.engine.ahead import Ahead

    ahead = Ahead.launched(settings)
    from zquant_flow.cli.http import application
    from zquant_flow.engine.assembly import assemble

    scheduler = assemble(settings, ahead=ahead)
    over = threading.Event()
    try:
        scheduler.start()
        _, answering = application(scheduler, settings.own_token())

        def end() -> None:
            over.set()
            answering.stop()

        _when_asked_to_stop(end)
        scheduler.engine.on_fenced = end
        sys.stdout.write(t("zquant-flow schedules {folder}", folder=str(settings.tasks_dir)) + "\n")
        sys.stdout.flush()
        asyncio.run(answering.serve())
        over.wait()
    finally:
        scheduler.stop()


def run_api(**flags: Any) -> None:
    """The API alone, until SIGTERM or Ctrl-C. Any number of such processes may run; they keep nothing."""
    settings = prepared(**flags)
    _refuse_sqlite(settings)
    refuse_open_door(settings)
    listener = listening(settings)
    from zquant_flow.cli.http import http_server
    from zquant_flow.engine.assembly import assemble

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    scheduler = assemble(settings)
    address = settings.data_dir / "server.json"
    try:
        scheduler.start_api()
        server = http_server(scheduler, settings.own_token(), shutdown_seconds=5, serves_only=True)
        host, port = listener.getsockname()[:2]
        write_address(address, f"http://{host}:{port}")
        _when_asked_to_stop(lambda: server.handle_exit(signal.SIGTERM, None))
        sys.stdout.write(t("zquant-flow serves {url}", url=f"http://{host}:{port}") + "\n")
        sys.stdout.flush()
        server.run(sockets=[listener])
    finally:
        listener.close()
        address.unlink(missing_ok=True)
        scheduler.stop()


def _when_asked_to_stop(what: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: what())


def _refuse_sqlite(settings: Settings) -> None:
    if settings.database.startswith("sqlite"):
        raise BadRequest(
            say(
                "an SQLite file belongs to one process: use `zquant-flow serve`, or name a PostgreSQL with --database"
            )
        )
