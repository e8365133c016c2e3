"""Where do the plugin files of one moment stand, while their folder is being edited?

A server runs copies: control plane, loader and workers then have the same text, and an attempt keeps what it began with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_FILES = 2_000
MAX_BYTES = 1 << 20
"""Of one file; a larger one is left out."""
KEPT = 5
"""So many copies stay, for attempts that began with them."""


class Snapshots:
    """The copies, in `<data>/plugins/<digest>`."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "plugins"

    def take(self, folder: Path) -> Path | None:
        """The copy of the folder as it is now; None where it has no file. Raises OSError where a copy can't be written."""
        files = dict(_files(folder))
        if not files:
            return None
        digest = hashlib.sha256()
        for path, data in sorted(files.items()):
            digest.update(f"{path}\0{len(data)}\0".encode(errors="surrogateescape"))
            digest.update(data)
        target = self._root / digest.hexdigest()[:32]
        if target.is_dir():
            os.utime(target)
        else:
            self._write(files, target)
        self._forget_old()
        return target

    def _write(self, files: dict[str, bytes], target: Path) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=self._root, prefix="copying-"))
        for path, data in files.items():
            file = building / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        try:
            os.rename(building, target)
        except OSError:  # another process was faster: theirs has the same content
            shutil.rmtree(building)

    def _forget_old(self) -> None:
        copies = sorted(self._root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for copy in copies[KEPT:]:
            shutil.rmtree(copy, ignore_errors=True)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What can be read, by its path below the folder. One that vanishes meanwhile, or can't be read, is left out."""
    number = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            path = os.path.join(root, name)
            if name.startswith(".") or number >= MAX_FILES or not os.path.isfile(path):
                continue
            try:
                if os.path.getsize(path) > MAX_BYTES:
                    continue
                data = Path(path).read_bytes()
            except OSError:
                continue
            number += 1
            yield os.path.relpath(path, folder), data
