"""A web server of a test, in a thread: it answers what the test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    body: bytes | str | Any = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Web:
    """`answers` are given in order, the last one again and again; one that can be called is called with the request."""

    answers: list[Answer | Callable[[Asked], Answer]] = field(default_factory=lambda: [Answer()])
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def says(self, *answers: Any) -> None:
        self.answers = [a if isinstance(a, Answer) or callable(a) else Answer(body=a) for a in answers]

    def next(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Answer) else answer(asked)


@contextmanager
def serving() -> Iterator[Web]:
    """A server on a free port of this machine."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = web.next(Asked(self.command, self.path, headers, body))
            sent, kind = answer.body, "text/plain; charset=utf-8"
            if not isinstance(sent, bytes | str):
                sent, kind = json.dumps(sent), "application/json"
            data = sent.encode() if isinstance(sent, str) else sent
            self.send_response(answer.status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(data)),
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked has gone
    server.daemon_threads = True
    server.block_on_close = False
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield web
    server.shutdown()
    server.server_close()
