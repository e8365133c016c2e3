"""How is a request answered that another process has to decide?

Many processes may serve the API of one database; one scheduler leads and decides what changes. A request that needs it is
written as a row, taken by that process, put to its own application as if it had come there, and answered as a row.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
from collections.abc import MutableMapping
from time import monotonic
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from zquant_flow.engine.service import Engine
from zquant_flow.errors import Unavailable
from zquant_flow.store import calls as store
from zquant_flow.store.database import Database
from zquant_flow.store.notices import ANYBODY
from zquant_flow.wording import say

log = logging.getLogger(__name__)

ACTOR = "zquant_flow.actor"
"""In the scope of a request that was let in elsewhere: who asks. No request from outside can have it."""
LET_IN = "zquant_flow.let_in"
"""In the scope of a request that was let in here without a token: who asks. It may be passed on."""
BODY = "zquant_flow.body"
"""In the scope of a request: its body, as it was read."""
PATIENCE = 35.0
"""Seconds: a little more than an operation may take."""
NET = 0.5
"""Seconds after which one looks for an answer without having heard of one."""
AT_A_TIME = 32
_NOT_PASSED_ON = frozenset({b"authorization", b"cookie", b"host", b"connection", b"content-length"})

Scope = MutableMapping[str, Any]


class Asking:
    """The side that was asked and can't decide. Safe from any thread."""

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine
        self._news = threading.Condition()
        self._count = 0

    def wake(self, _: object = None) -> None:
        """Somebody has committed something; perhaps an answer."""
        with self._news:
            self._count += 1
            self._news.notify_all()

    async def forwarded(self, request: Request, actor: str, engine_id: int) -> Response:
        """The answer of the engine (0: whoever leads) to this request. Raises Unavailable where none comes."""
        scope = request.scope
        packed = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in scope["headers"]
                if name not in _NOT_PASSED_ON
            ],
            "body": base64.b64encode(scope.get(BODY, b"")).decode(),
        }
        answer = json.loads(await asyncio.to_thread(self._answer, actor, engine_id, json.dumps(packed)))
        response = Response(base64.b64decode(answer["body"]), answer["status"])
        response.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer["headers"]
        ]
        return response

    def _answer(self, actor: str, engine_id: int, request: str) -> str:
        asked = store.ask(
            self._database, to_engine=engine_id, actor=actor, request=request, now=self._engine.now()
        )
        end = monotonic() + PATIENCE
        while monotonic() < end:
            seen = self._count
            if (answer := store.answer_of(self._database, asked)) is not None:
                return answer
            with self._news:
                if self._count == seen:
                    self._news.wait(NET)
        if store.withdraw(self._database, asked):
            message = say(
                "the scheduler that decides this has taken the request and not answered; look whether it was done"
            )
        else:
            message = say("no scheduler leads this database; start one with `zquant-flow serve`")
        raise Unavailable(message)


class Answering:
    """The side that decides. It lives in an event loop, and is woken by `wake` from any thread."""

    def __init__(self, database: Database, engine: Engine, app: Any) -> None:
        self._database = database
        self._engine = engine
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    def wake(self, _: object = None) -> None:
        """Somebody has committed something; perhaps a request for this engine."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        """Take nothing more; `serve` ends when what was taken is answered."""
        self._stopping = True
        self.wake()

    async def serve(self) -> None:
        """Answer until `stop`."""
        if self._database.is_sqlite:
            return
        self._loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                for row in await asyncio.to_thread(self._take):
                    await places.acquire()
                    group.create_task(self._work(row, places))
                await self._woken.wait()
                self._woken.clear()

    def _take(self) -> Any:
        try:
            own = self._engine.memory.engine_id
            return store.take(self._database, [own, ANYBODY] if self._engine.leads else [own])
        except Exception as exc:
            log.warning("requests of other processes can't be read: %s", exc, extra={"action": "deaf"})
            return ()

    async def _work(self, row: Any, places: asyncio.Semaphore) -> None:
        try:
            answer = await _put(self._app, row)
            await asyncio.to_thread(store.answer, self._database, row.id, json.dumps(answer))
        except Exception:
            log.exception("request %d of another process failed", row.id, extra={"action": "call_failed"})
        finally:
            places.release()


async def _put(app: Any, row: Any) -> dict[str, Any]:
    """Put a request to the application; its answer, to be written as a row."""
    request = json.loads(row.request)
    body = base64.b64decode(request["body"])
    answer: dict[str, Any] = {"status": 500, "headers": []}
    parts: list[bytes] = []
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request["headers"]]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request["method"],
        "scheme": "http",
        "path": request["path"],
        "raw_path": request["path"].encode(),
        "query_string": request["query"].encode("latin-1"),
        "root_path": "",
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        ACTOR: row.actor,
    }
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await asyncio.Event().wait()  # nobody hangs up on this side
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in message["headers"]
            ]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return {**answer, "body": base64.b64encode(b"".join(parts)).decode()}
