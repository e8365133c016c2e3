"""How does `serve` start, listen and stop?"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from zquant_flow.cli.handover import SIGNAL, take_over
from zquant_flow.cli.language import shown, t
from zquant_flow.cli.listing import listing
from zquant_flow.config import Settings, load_settings
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def serve(*, handover: bool = False, **flags: Any) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop as SEMANTICS §7.4 says; with `handover` in the place of the one that serves."""
    settings = prepared(**flags)
    refuse_open_door(settings)
    if handover:
        take_over(settings)
    listener = listening(settings)
    from zquant_flow.engine.ahead import Ahead

    ahead = Ahead.launched(settings)
    import uvicorn  # noqa: F401  (the heavy imports, while the runner and the loader come up)

    from zquant_flow.api import app  # noqa: F401
    from zquant_flow.engine.assembly import assemble

    scheduler = assemble(settings, ahead=ahead)
    leaves = False
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        scheduler.start()
        leaves = _serve_http(settings, scheduler, listener)
    finally:
        listener.close()
        (settings.data_dir / "server.json").unlink(missing_ok=True)
        scheduler.stop(keep_attempts=leaves)


def prepared(**flags: Any) -> Settings:
    """The settings of a server; its log goes to stderr."""
    settings = load_settings(**flags)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    return settings


def _serve_http(settings: Settings, scheduler: Any, listener: socket.socket) -> bool:
    """Serve; whether the next server is to find the attempts as they are."""
    from zquant_flow.cli.http import http_server

    server = http_server(scheduler, settings.own_token(), shutdown_seconds=5)
    host, port = listener.getsockname()[:2]
    url = f"http://{host}:{port}"
    write_address(settings.data_dir / "server.json", url)
    _greet(settings, scheduler, url)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _stop_by_signal(scheduler, server)
    asked_to_leave = False

    def leave(number: int, frame: Any) -> None:
        nonlocal asked_to_leave
        asked_to_leave = True
        server.handle_exit(signal.SIGTERM, None)

    signal.signal(SIGNAL, leave)
    scheduler.engine.on_fenced = lambda: server.handle_exit(signal.SIGTERM, None)
    server.run(sockets=[listener])
    return asked_to_leave


def _stop_by_signal(scheduler: Any, server: Any) -> None:
    """One signal stops, also one that comes before uvicorn listens to them; another one hurries.

    uvicorn sends itself the signal that ended it once more, which is not yet impatience.
    """
    seen = 0

    def asked(number: int, frame: Any) -> None:
        nonlocal seen
        seen += 1
        server.handle_exit(signal.SIGTERM, None)
        if seen > 1:
            scheduler.engine.hurry()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def _greet(settings: Settings, scheduler: Any, url: str) -> None:
    registry = scheduler.operations.registry
    if not scheduler.engine.leads:
        sys.stdout.write(t("zquant-flow serves {url}", url=url) + "\n  ")
        sys.stdout.write(t("another scheduler leads this database; this one works along") + "\n")
        sys.stdout.flush()
        return
    lines = [
        t("zquant-flow serves {url}", url=url),
        "  "
        + t(
            "tasks    {folder} ({count} loaded, {faulty} files with errors)",
            folder=str(settings.tasks_dir),
            count=len(registry.by_id),
            faulty=len(registry.errors),
        ),
        "  " + t("data     {folder}", folder=str(settings.data_dir)),
        "  " + t("zone     {zone}", zone=settings.zone.key),
        "  "
        + t(
            "API      {url}   (Authorization: Bearer, token in admin.token)",
            url=f"{url}/api/v1/scheduler/tasks",
        ),
    ]
    known = scheduler.engine.memory.tasks
    lines += listing(
        (
            replace(entry.definition, enabled=known[id_].enabled)
            for id_, entry in registry.by_id.items()
            if id_ in known
        ),
        settings.zone,
    )
    sys.stdout.write("\n".join(lines) + "\n")
    for path, errors in sorted(registry.errors.items()):
        for error in errors:
            sys.stdout.write(f"  {path}:{error.line}:{error.column}: {shown(error.message)}\n")
    sys.stdout.flush()


def listening(settings: Settings) -> socket.socket:
    """The socket of the API, before anything is started, so that a taken port costs nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named TCP, because asyncio sets TCP_NODELAY only then; without it every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as exc:
        listener.close()
        raise BadRequest(
            say(
                "can't listen on {host}:{port}: {reason}; choose another with --port (0: a free one)",
                host=settings.host,
                port=settings.port,
                reason=exc.strerror,
            )
        ) from exc
    listener.listen(1024)
    return listener


def refuse_open_door(settings: Settings) -> None:
    """Other machines get in only with a token that somebody chose (SCORECARD G1)."""
    if settings.host in ("127.0.0.1", "localhost", "::1") or settings.host.startswith("127."):
        return
    if len(settings.admin_token) < 16:
        raise BadRequest(
            say(
                "--host {host} opens this scheduler to other machines; "
                "set ZQUANT_FLOW_ADMIN_TOKEN to 16 or more characters first",
                host=settings.host,
            )
        )


def write_address(path: Path, url: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "pid": os.getpid()}, file)
