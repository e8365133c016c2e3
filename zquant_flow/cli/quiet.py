"""How does the HTTP server wait without waking up ten times a second?"""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn

from zquant_flow.api.calls import Answering


class QuietServer(uvicorn.Server):
    """uvicorn, whose main loop looks ten times a second whether it should stop: this one is told."""

    _loop: asyncio.AbstractEventLoop | None = None
    _over: asyncio.Event

    def __init__(self, config: uvicorn.Config, answering: Answering | None = None) -> None:
        """`answering`: it answers what other processes ask, in the same event loop."""
        super().__init__(config)
        self._answering = answering

    async def main_loop(self) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        answers = asyncio.create_task(self._answering.serve()) if self._answering is not None else None
        if not self.should_exit:
            await self._over.wait()
        if self._answering is not None and answers is not None:
            self._answering.stop()
            await answers

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: they would keep their connections open for as long as anyone waits."""
        await asyncio.to_thread(self.config.app.state.control.feed.close)  # type: ignore[union-attr]
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if (
            self._loop is not None and not self._loop.is_closed()
        ):  # the second signal finds it over, as a rule
            self._loop.call_soon_threadsafe(self._over.set)
