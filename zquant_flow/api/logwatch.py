"""When does a log grow? The kernel says so; where it can't, somebody looks twice a second."""

from __future__ import annotations

import asyncio
import os
import threading

from zquant_flow.definitions.inotify import Event, InotifyTree

LOOK_SECONDS = 0.5


class LogWatch:
    """The log folders that somebody follows, one watch for each.

    Threads: those of the watches, which only set flags in the event loop of the HTTP server; everything else may be called
    from any. A watch ends with its last follower.
    """

    def __init__(self) -> None:
        self._trees: dict[str, _Folder] = {}
        self._lock = threading.Lock()

    def follow(self, path: str, growth: Growth) -> None:
        """Follow the log of that path, which need not be there yet. Pair it with `leave`. May block for a moment.

        Who has left already, because its client went meanwhile, is not let in.
        """
        folder, name = os.path.split(path)
        with self._lock:
            if growth.over:
                return
            watched = self._trees.get(folder)
            if watched is None:
                watched = self._trees[folder] = _Folder(folder)
            watched.add(name, growth)

    def leave(self, path: str, growth: Growth) -> None:
        """One follower less; it may come before its `follow` has begun."""
        folder, name = os.path.split(path)
        with self._lock:
            growth.over = True
            watched = self._trees.get(folder)
            if watched is not None and watched.remove(name, growth):
                del self._trees[folder]


class Growth:
    """Tells one follower that its log has grown."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.news = asyncio.Event()
        self.over = False
        """Whether its follower has left."""

    def tell(self) -> None:
        """From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.news.set)


class _Folder:
    def __init__(self, path: str) -> None:
        self._growing: dict[str, list[Growth]] = {}
        self._tree: InotifyTree | None = None
        tree = InotifyTree(path, self._on_event)
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            tree.start()
            self._tree = tree
        except OSError:
            self._tree = None  # no watch left: followers look by themselves

    def add(self, name: str, growth: Growth) -> None:
        self._growing.setdefault(name, []).append(growth)

    def remove(self, name: str, growth: Growth) -> bool:
        """Whether nobody is left."""
        followers = self._growing.get(name, [])
        if growth in followers:
            followers.remove(growth)
            if not followers:
                del self._growing[name]
        if not self._growing and self._tree is not None:
            self._tree.stop()
        return not self._growing

    def _on_event(self, event: Event) -> None:
        for growth in tuple(self._growing.get(event.path, ())):
            growth.tell()
