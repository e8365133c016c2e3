"""How does a coroutine of an executor end when its attempt is to end, whatever carries the attempt?"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from zquant_flow.executors.context import Context, Terminated

T = TypeVar("T")

LOOK_SECONDS = 0.1
"""How often it looks whether the attempt is to end: a thread is told in no other way."""


def run(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """Run it in an event loop of its own, and return what it returns.

    When the attempt is to end it is cancelled, may clean up for as long as the grace lets it, and Terminated is raised.
    """
    with _no_raise_within(context):
        return asyncio.run(_watched(context, work))


@contextmanager
def _no_raise_within(context: Context) -> Iterator[None]:
    """SIGTERM is noted only: raised within the loop it would end what others do there before they could clean up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: context.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _watched(context: Context, work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    while not context.stopping and not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
        pass
    if context.stopping:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Terminated("the attempt is to end")
    return task.result()
