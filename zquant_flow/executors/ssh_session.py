"""How is a command run on another machine, and how does it end with its attempt? Runs in a worker."""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TextIO

from zquant_flow.executors.failure import Failure, library
from zquant_flow.executors.ssh_config import SshConfig

TAIL = 4000
"""Characters of standard output that are kept for the result."""
PATIENCE_SECONDS = 5.0
"""How long a command has after SIGTERM before its channel is closed; the runner kills the worker after 10 s."""
LOST_AFTER = 3
"""So many keepalives without an answer end a connection."""


class Session:
    """One command of one attempt."""

    def __init__(self, config: SshConfig) -> None:
        self._ssh: Any = library("asyncssh", "ssh")
        self._config = config
        self._where = f"{config.host}:{config.port}" if config.port else config.host
        self._tail = ""
        logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells of every step

    async def carry_out(self) -> dict[str, Any]:
        """The result of the attempt; raises Failure."""
        async with self._connection() as connection:
            try:
                process = await connection.create_process(
                    self._config.command, env=self._config.environment, encoding=None
                )
                return await self._followed(process)
            except (self._ssh.Error, OSError) as exc:
                raise Failure("ssh_failed", f"{self._where}: {_said(exc)}") from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        config = self._config
        try:
            connection = await asyncio.wait_for(
                self._ssh.connect(config.host, **self._options()), config.connect_seconds
            )
        except TimeoutError:
            detail = f"no connection within {config.connect_seconds:g} s"
            raise Failure("ssh_failed", f"{self._where}: {detail}") from None
        except self._ssh.HostKeyNotVerifiable as exc:
            detail = f"{_said(exc)}; put its key into known_hosts (ssh-keyscan {config.host}), or name the file that has it"
            raise Failure("ssh_failed", f"{self._where}: {detail}") from None
        except (self._ssh.Error, OSError, ValueError) as exc:
            raise Failure("ssh_failed", f"{self._where}: {_said(exc)}") from None
        async with connection:
            yield connection

    def _options(self) -> dict[str, Any]:
        """What is said of the connection; what is not is left to ~/.ssh/config and to asyncssh."""
        config = self._config
        options: dict[str, Any] = {
            "keepalive_interval": config.keepalive_seconds,
            "keepalive_count_max": LOST_AFTER,
        }
        if config.port is not None:
            options["port"] = config.port
        if config.username is not None:
            options["username"] = config.username
        if config.known_hosts is not None:
            options["known_hosts"] = config.known_hosts or None  # None believes any host
        if config.key_file is not None:
            options["client_keys"] = [os.path.expanduser(config.key_file)]
        if config.passphrase_env is not None:
            options["passphrase"] = _secret(config.passphrase_env)
        if config.password_env is not None:
            options["password"] = _secret(config.password_env)
        if not config.agent:
            options["agent_path"] = None
        return options

    async def _followed(self, process: Any) -> dict[str, Any]:
        """Its output in our log as it comes, then its end. Who is cancelled ends it."""
        try:
            await asyncio.gather(
                self._fed(process),
                self._copied(process.stdout, sys.stdout, keep=True),
                self._copied(process.stderr, sys.stderr),
            )
            await process.wait_closed()
        except asyncio.CancelledError:
            await _end(process)
            raise
        return self._result(process)

    async def _fed(self, process: Any) -> None:
        try:
            if self._config.input is not None:
                process.stdin.write(self._config.input.encode())
                await process.stdin.drain()
            process.stdin.write_eof()
        except (BrokenPipeError, ConnectionError):
            return  # it has not read all of it: that is its matter

    async def _copied(self, source: Any, target: TextIO, keep: bool = False) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await source.read(1 << 16):
            text = decoder.decode(data)
            target.write(text)
            target.flush()
            if keep:
                self._tail = (self._tail + text)[-TAIL:]

    def _result(self, process: Any) -> dict[str, Any]:
        status, signal = process.exit_status, process.exit_signal
        if status == 0:
            return {"exit_status": 0, "stdout": self._tail}
        if status is not None and status > 0:
            raise Failure("exit_code", f"exit code {status} on {self._where}", exit_code=status)
        if signal:
            raise Failure("ssh_failed", f"{self._where}: the command was killed by SIG{signal[0]}")
        raise Failure(
            "ssh_failed", f"{self._where}: the connection was lost; the command may still run there"
        )


async def _end(process: Any) -> None:
    """SIGTERM, and after a while the end of its channel."""
    try:
        process.terminate()
        await asyncio.wait_for(process.wait_closed(), PATIENCE_SECONDS)
    except (OSError, TimeoutError):
        process.close()


def _secret(variable: str) -> str:
    if variable not in os.environ:
        raise Failure("ssh_failed", f"the variable {variable} is not set")
    return os.environ[variable]


def _said(exc: Exception) -> str:
    said = str(getattr(exc, "reason", "") or getattr(exc, "strerror", "") or exc) or type(exc).__name__
    return f"{exc.filename}: {said}" if isinstance(exc, OSError) and exc.filename else said
