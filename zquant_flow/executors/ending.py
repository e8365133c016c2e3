"""How does a coroutine of an executor end when its attempt is to end, whatever carries the attempt?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from zquant_flow.executors.context import Context, Terminated

T = TypeVar("T")

LOOK_SECONDS = 0.1
"""How often it looks whether the attempt is to end: a thread is told in no other way."""


def run(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """Run it in an event loop of its own, and return what it returns.

    When the attempt is to end it is cancelled, may clean up for as long as the grace lets it, and Terminated is raised.
    """
    return asyncio.run(_watched(context, work))


async def _watched(context: Context, work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
            if context.stopping:
                break
    finally:
        await _ended(task)
    if context.stopping:
        raise Terminated("the attempt is to end")
    return task.result()


async def _ended(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
