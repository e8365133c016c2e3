"""An SMTP server of a test, in a thread: it takes letters, and offers no encryption."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Mailbox:
    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    users: list[tuple[str, str]] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    """Of each letter."""
    refuses: str = ""
    """A recipient that is not known here."""

    @property
    def text(self) -> str:
        """What the newest letter says."""
        return str(self.letters[-1].get_content())


@contextmanager
def receiving() -> Iterator[Mailbox]:
    """A server on a free port of this machine."""
    box = Mailbox()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            to: list[str] = []
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "EHLO":
                    self.say("250-here")
                    self.say("250 AUTH PLAIN")
                elif word == "AUTH":
                    _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                    box.users.append((user, password))
                    self.say("235 ok" if password == "right" else f"535 {password} is wrong")
                elif word == "RCPT" and box.refuses and box.refuses in line:
                    self.say("550 nobody has that name")
                elif word == "RCPT":
                    to.append(line.partition("<")[2].partition(">")[0])
                    self.say("250 ok")
                elif word == "DATA":
                    box.recipients.append(to)
                    self.say("354 go on")
                    self.take()
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def take(self) -> None:
            data = b""
            while not data.endswith(b"\r\n.\r\n"):
                data += self.rfile.readline()
            letter = message_from_bytes(data[:-5], policy=policy.default)
            assert isinstance(letter, EmailMessage)
            box.letters.append(letter)
            self.say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Session) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
