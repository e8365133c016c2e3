"""How is a log read while it is written, from attempt to attempt, until its execution has ended?

Two things ring: the kernel, when the file grows, and the engine's commits, when the execution changes. What is known to be
over is read to its end first, so that nothing of it is missing.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from zquant_flow import logs
from zquant_flow.api.feed import Choice, Feed, frame
from zquant_flow.api.logwatch import LOOK_SECONDS, Growth, LogWatch
from zquant_flow.core.status import FINAL, Status
from zquant_flow.store import queries
from zquant_flow.store.database import Database

PIECE = 64 * 1024
ALIVE = 15.0
"""Seconds after which a silent stream says that it lives."""


class Follower:
    """One reader of the logs of one execution."""

    def __init__(
        self, database: Database, data_dir: Path, feed: Feed, watch: LogWatch, execution_id: int
    ) -> None:
        self._database = database
        self._data_dir = data_dir
        self._feed = feed
        self._watch = watch
        self._id = execution_id
        self._choice = Choice(kinds=frozenset({"execution"}), execution_id=execution_id, inline=True)
        self._place: int | None = None

    async def frames(self, attempt: int, offset: int) -> AsyncGenerator[bytes]:
        """Events from that place on: `log` pieces, `attempt` when a next one begins, `end` with the final status."""
        await self._feed.listen(self._choice)
        try:
            while not self._feed.closed:
                path = logs.log_path(self._data_dir, self._id, attempt)
                growth = Growth(asyncio.get_running_loop())
                try:
                    await asyncio.to_thread(self._watch.follow, path, growth)
                    async for piece in self._of_attempt(path, attempt, offset, growth):
                        yield piece
                finally:
                    # Shielded: a client that goes cancels this wait too, and the watch would stay for ever.
                    await asyncio.shield(asyncio.to_thread(self._watch.leave, path, growth))
                row = await self._row()
                if row is None or attempt > row.retry_count:
                    yield frame("end", {"status": row.status if row is not None else None})
                    return
                attempt, offset = attempt + 1, 0
                yield frame("attempt", {"attempt": attempt}, f"{attempt}:0")
        finally:
            self._feed.leave(self._choice)

    async def _of_attempt(
        self, path: str, attempt: int, offset: int, growth: Growth
    ) -> AsyncGenerator[bytes]:
        """What an attempt writes, until it is over and all has been read."""
        over, silent, self._place = False, 0.0, None
        while not self._feed.closed:
            bell = self._feed.bell
            growth.news.clear()
            if self._is_touched() and not over:
                row = await self._row()
                over = row is None or attempt <= row.retry_count or Status(row.status) in FINAL
            data, _ = await asyncio.to_thread(logs.read, path, offset, PIECE)
            text, size = _whole(data, at_end=over)
            if text:
                offset, silent = offset + size, 0.0
                yield _piece(attempt, offset, text)
            elif over:
                return
            else:
                await _first_of(growth.news, bell)
                silent += LOOK_SECONDS
            if silent >= ALIVE:
                silent = 0.0
                yield b": alive\n\n"

    def _is_touched(self) -> bool:
        """Whether the execution may have changed since the last look."""
        if self._place is None:
            self._place = self._feed.place(self._feed.last, self._choice)
            return True
        found = self._feed.since(self._place, self._choice)
        self._place = None if found is None else found[1]
        return found is None or bool(found[0])

    async def _row(self) -> Any | None:
        return await asyncio.to_thread(queries.execution_row, self._database, self._id)


async def _first_of(*events: asyncio.Event) -> None:
    """Until one of them is set, or it is time to look without."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _piece(attempt: int, offset: int, text: str) -> bytes:
    data = {"attempt": attempt, "offset": offset, "text": text}
    return frame("log", data, f"{attempt}:{offset}")


def _whole(data: bytes, *, at_end: bool) -> tuple[str, int]:
    """The text of these bytes, and how many of them it took: a character that is cut off at their end waits for its rest."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    rest = len(decoder.getstate()[0])
    if rest and at_end and rest == len(data):
        return data.decode(errors="replace"), len(data)
    return text, len(data) - rest
