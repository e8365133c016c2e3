"""How does the HTTP server wait without waking up ten times a second?"""

from __future__ import annotations

import asyncio
from types import FrameType

import uvicorn


class QuietServer(uvicorn.Server):
    """uvicorn, whose main loop looks ten times a second whether it should stop: this one is told."""

    _loop: asyncio.AbstractEventLoop | None = None
    _over: asyncio.Event

    async def main_loop(self) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._over.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._over.set)
