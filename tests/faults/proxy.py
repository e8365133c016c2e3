"""What stands between us and PostgreSQL in these tests? A wire that cuts, delays, refuses, and loses the answer to a COMMIT.

It reads nothing of the protocol but the one message that ends a transaction.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from sqlalchemy import make_url

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""How the driver asks for a commit: a simple query of that one word."""


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through us. Of a `deaf` one nothing comes back any more."""

    client: socket.socket
    server: socket.socket
    deaf: bool = False

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens on loopback as long as the block lasts: `with Proxy(url) as proxy: connect(proxy.url)`.

    Threads: one that accepts, two for each connection; they end with it. All knobs may be turned at any time.
    """

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._answers_to_lose = 0
        self.delay = 0.0
        """Seconds that each piece takes more, each way."""
        self.refuses = False
        """Whether who connects anew is sent away."""
        self.lost = 0
        """How many answers to a COMMIT were lost; what they answer is in the database."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The database as it is reached through us."""
        through = self._target.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        return through.render_as_string(hide_password=False)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> int:
        """End all connections in the middle of whatever they do; how many there were."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.close()
        return len(links)

    def lose_answers(self, count: int) -> None:
        """Of the next `count` commits the answer is lost, and the connection with it."""
        with self._lock:
            self._answers_to_lose = count

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        try:
            if self.refuses:
                raise ConnectionRefusedError
            link = _Link(client, self._connected())
        except OSError:
            client.close()
            return
        with self._lock:
            self._links.add(link)
        for carry in (self._carry_there, self._carry_back):
            threading.Thread(target=carry, args=(link,), daemon=True).start()

    def _connected(self) -> socket.socket:
        host, port = self._target.query.get("host") or self._target.host, self._target.port or 5432
        assert isinstance(host, str)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(f"{host}/.s.PGSQL.{port}")
        except OSError:
            made.close()
            raise
        return made

    def _carry_there(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(65_536):
                time.sleep(self.delay)
                if data.endswith(COMMIT) and self._loses_this_answer():
                    link.deaf = True
                link.server.sendall(data)
        self._end(link)

    def _carry_back(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(65_536):
                if link.deaf:  # it is committed, and nobody on the other side will ever be told
                    self.lost += 1
                    break
                time.sleep(self.delay)
                link.client.sendall(data)
        self._end(link)

    def _loses_this_answer(self) -> bool:
        with self._lock:
            self._answers_to_lose -= 1
            return self._answers_to_lose >= 0

    def _end(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)
        link.close()
