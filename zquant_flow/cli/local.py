"""How does a command work on a data folder that nobody serves? It serves it to itself, on a socket that nobody else sees."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from zquant_flow.cli.http import http_server
from zquant_flow.cli.language import language
from zquant_flow.client import Client
from zquant_flow.client.connection import RESTING
from zquant_flow.config import Settings
from zquant_flow.engine.assembly import Scheduler, assemble


@contextmanager
def at_rest(settings: Settings) -> Iterator[Client]:
    """A client of a scheduler that only keeps: nothing fires, starts or is recovered. Raises DataFolderInUse."""
    scheduler = assemble(settings, watch=False, fires=False, rests=True)
    try:
        scheduler.start_engine()
        if scheduler.engine.leads:
            scheduler.folder.load_all()
        with served(scheduler) as client:
            yield client
    finally:
        scheduler.stop()


@contextmanager
def served(scheduler: Scheduler) -> Iterator[Client]:
    """A client of its API, over a Unix socket in a folder (0700) that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="zquant-flow-"))
    token = secrets.token_urlsafe(32)
    server = http_server(scheduler, token, shutdown_seconds=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "api"))
        listener.listen(64)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True)
        thread.start()
        try:
            transport = httpx.HTTPTransport(uds=str(folder / "api"))
            with Client(RESTING, token, language=language(), transport=transport) as client:
                yield client
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join()
            shutil.rmtree(folder, ignore_errors=True)
