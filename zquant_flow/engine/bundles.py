"""Where on disk are the stored sources of a version?"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from zquant_flow.store.database import Database
from zquant_flow.store.definitions import files_of_bundle


class BundleFolders:
    """Unpacks bundles into `<data>/bundles/<digest>` when they are first needed."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._root = data_dir / "bundles"

    def folder(self, digest: str) -> str:
        """The folder of a bundle; whole or not there, whenever the process dies."""
        target = self._root / digest
        if not target.is_dir():  # asked each time: what no task used for long is deleted, and may come back
            self._unpack(digest, target)
        return str(target)

    def _unpack(self, digest: str, target: Path) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=self._root, prefix="unpacking-"))
        for path, text in files_of_bundle(self._database, digest).items():
            file = building / path
            if not file.resolve().is_relative_to(building.resolve()):
                raise ValueError(f"bundle {digest} has a path outside of itself: {path!r}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="")
        try:
            os.rename(building, target)
        except OSError:  # another process was faster: theirs has the same content
            shutil.rmtree(building)
