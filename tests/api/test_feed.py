"""The feed of events and its listeners, at the moments between two steps where something is easily missed or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.api.conftest import until
from tests.databases import KINDS, fresh_database
from zquant_flow.api import feed as feed_module
from zquant_flow.api.feed import Choice, Feed
from zquant_flow.api.following import Follower
from zquant_flow.api.logwatch import LogWatch
from zquant_flow.core.model import Overlap
from zquant_flow.store.changes import changes_since
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

AWAY = OperationalError("SELECT 1", {}, Exception("the database is away"))


@pytest.fixture(params=KINDS)
def h(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    with fresh_database(request.param, tmp_path) as address, Harness(tmp_path, url=address) as harness:
        yield harness


def test_a_listener_that_came_while_the_database_was_away_does_not_silence_the_later_ones(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task_id] = h.define(command_task("one"))
    feed = Feed(h.database, dict)
    h.engine.listen(feed.wake)
    last_change = feed_module.last_change
    failures = iter([AWAY])

    def fails_once(*args: Any) -> int:
        for failure in failures:
            raise failure
        return last_change(*args)

    monkeypatch.setattr(feed_module, "last_change", fails_once)

    async def listens() -> list[bytes]:
        with pytest.raises(OperationalError):
            await feed.listen(Choice())
        number = await feed.listen(Choice())
        place = feed.place(number, Choice())
        bell = feed.bell
        await asyncio.to_thread(lambda: h.operations.trigger(task_id, actor="me"))
        try:
            async with asyncio.timeout(5):
                await bell.wait()
        except TimeoutError:
            return []
        assert place is not None
        found = feed.since(place, Choice())
        return found[0] if found else []

    try:
        assert asyncio.run(listens())
    finally:
        feed.close()


def test_who_comes_for_nodes_during_a_read_without_them_misses_none(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task_id] = h.define(workflow_task("flow", [command_node("a")]))
    feed, nodes = Feed(h.database, dict), Choice(inline=True)

    async def come(choice: Choice) -> int:
        return await feed.listen(choice)

    asyncio.run(come(Choice()))
    root = h.operations.trigger(task_id, actor="me")
    number = 0

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        nonlocal number
        found = changes_since(*args, **kwargs)
        if not number:
            number = asyncio.run(come(nodes))
        return found

    monkeypatch.setattr(feed_module, "changes_since", meanwhile)
    try:
        feed._read()
        place = feed.place(number, nodes)
        told = feed.since(place, nodes)[0] if place is not None else feed.caught_up(number, nodes)[0]
    finally:
        feed.close()
    names = [json.loads(frame.split(b"data: ")[1])["node"] for frame in told]
    assert "a" in names, f"the node of {root} changed after {number}, and is not told"


def test_who_comes_anew_is_told_only_what_changes_from_then_on(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task_id] = h.define(command_task("one", overlap=Overlap.ALLOW))
    feed, choice = Feed(h.database, dict), Choice()

    async def come() -> int:
        return await feed.listen(choice)

    asyncio.run(come())
    h.operations.trigger(task_id, actor="me")
    number, place = 0, None

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        nonlocal number, place
        found = changes_since(*args, **kwargs)
        if not number:
            feed.leave(choice)
            h.operations.trigger(task_id, actor="me")
            number = asyncio.run(come())
            place = feed.place(number, choice)
        return found

    monkeypatch.setattr(feed_module, "changes_since", meanwhile)
    try:
        feed._read()
        assert place is not None
        assert feed.last >= number
        told = feed.since(place, choice)
    finally:
        feed.close()
    assert told is not None
    assert [frame for frame in told[0] if int(frame.split(b"\n")[0].removeprefix(b"id: ")) <= number] == []


def test_who_goes_while_it_is_let_in_is_no_listener(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, entered, free = Feed(h.database, dict), threading.Event(), threading.Event()
    begin = feed._begin

    def slowly() -> None:
        entered.set()
        free.wait(10)
        begin()

    monkeypatch.setattr(feed, "_begin", slowly)

    async def comes_and_goes() -> None:
        coming = asyncio.create_task(feed.listen(Choice()))
        await asyncio.to_thread(entered.wait, 10)
        coming.cancel()
        free.set()
        with contextlib.suppress(asyncio.CancelledError):
            await coming
            feed.leave(Choice())  # as whoever is let in does in the end

    try:
        asyncio.run(comes_and_goes())
        assert feed._listeners == 0, "changes are read for nobody, for ever"
    finally:
        feed.close()


def test_who_goes_while_its_log_is_looked_for_leaves_no_watch(
    h: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [task_id] = h.define(command_task("one"))
    one = h.operations.trigger(task_id, actor="me")
    feed, watch = Feed(h.database, dict), LogWatch()
    entered, free = threading.Event(), threading.Event()
    follow = watch.follow

    def slowly(*args: Any) -> Any:
        entered.set()
        free.wait(10)
        return follow(*args)

    monkeypatch.setattr(watch, "follow", slowly)

    async def comes_and_goes() -> None:
        frames = Follower(h.database, tmp_path, feed, watch, one).frames(1, 0)
        coming = asyncio.create_task(anext(frames))
        await asyncio.to_thread(entered.wait, 10)
        coming.cancel()
        free.set()
        with contextlib.suppress(asyncio.CancelledError):
            await coming
        await frames.aclose()

    try:
        asyncio.run(comes_and_goes())  # waits for the threads of its loop
        left = dict(watch._trees)
    finally:
        feed.close()
        for folder in watch._trees.values():
            if folder._tree is not None:
                folder._tree.stop()
    assert left == {}


def test_a_database_that_is_away_is_asked_less_and_less_often(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure is a traceback in the log."""

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise AWAY

    pauses = Pauses()
    feed = Feed(h.database, dict)
    monkeypatch.setattr(feed, "_over", pauses)
    monkeypatch.setattr(feed_module, "changes_since", fails)
    try:
        asyncio.run(feed.listen(Choice()))
        feed.wake()
        until(lambda: len(pauses.seconds) > 9)
    finally:
        feed.close()
    pace, longest = feed_module.PACE, feed_module.LONGEST_PAUSE
    assert pauses.seconds[:3] == [2 * pace, 4 * pace, 8 * pace]
    assert max(pauses.seconds) == longest


class Pauses(threading.Event):
    """Notes how long it would be waited for, and lets nobody wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return super().wait(0.001)
