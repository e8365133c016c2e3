"""What does the kernel tell of the folders that somebody waits at?

One tree of watches for each folder, as deep as is needed. Where the kernel can't watch, or sees nothing (network folders), a
folder is followed all the same, and says nothing: who waits there has to look.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zquant_flow.definitions.watcher import is_network

try:
    from zquant_flow.definitions.inotify import Event, InotifyTree, Kind
except ImportError:  # not Linux, or another watchdog: looks alone
    InotifyTree = None  # type: ignore[assignment,misc]

__all__ = ["Attention", "Event", "Kind"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tree:
    depth: int | None
    tree: InotifyTree | None = None
    events: deque[Event] = field(default_factory=deque)


class Attention:
    """The folders that are followed. Owned by one thread; events come on watchdog's, which only queue them and `wake`."""

    def __init__(self, wake: Callable[[], None], *, polling: bool | None = None) -> None:
        """`polling`: the kernel is not asked; None finds out by the file system."""
        self._wake, self._polling = wake, polling
        self._trees: dict[str, _Tree] = {}

    def follow(self, depths: Mapping[str, int | None]) -> tuple[set[str], set[str]]:
        """Follow these folders, so deep each (None: all of it), and no others; those that are new, and those left."""
        left = {root for root, tree in self._trees.items() if depths.get(root, -1) != tree.depth}
        for root in left:
            self.leave(root)
        new = {root for root in depths if root not in self._trees and os.path.isdir(root)}
        for root in new:
            self._trees[root] = self._tree(root, depths[root])
        return new, left

    def follows(self, root: str) -> bool:
        """Whether the folder was there when it was last to be followed."""
        return root in self._trees

    def hears(self, root: str) -> bool:
        """Whether the kernel tells of it."""
        tree = self._trees.get(root)
        return tree is not None and tree.tree is not None

    def events(self) -> Iterator[tuple[str, Event]]:
        """What has happened since, with the folder; paths are below it."""
        for root, tree in list(self._trees.items()):
            while tree.events:
                yield root, tree.events.popleft()

    def leave(self, root: str) -> None:
        """The folder is followed no more."""
        tree = self._trees.pop(root, None)
        if tree is not None and tree.tree is not None:
            tree.tree.stop()

    def close(self) -> None:
        """None is."""
        for root in list(self._trees):
            self.leave(root)

    def _tree(self, root: str, depth: int | None) -> _Tree:
        made = _Tree(depth)
        if InotifyTree is None or self._polling or (self._polling is None and is_network(Path(root))):
            return made

        def put(event: Event) -> None:
            made.events.append(event)
            self._wake()

        tree = InotifyTree(root, put, depth=depth)
        try:
            tree.start()
        except OSError as exc:
            log.warning(
                "the kernel can't watch %s (%s): it is looked at again and again",
                root,
                exc.strerror,
                extra={"action": "files_polled"},
            )
            return made
        made.tree = tree
        return made
