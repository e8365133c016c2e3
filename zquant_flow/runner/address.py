"""Where does the runner of a data folder listen?"""

from __future__ import annotations

import os

from zquant_flow.runner.protocol import SOCKET_FILE


class Reachable:
    """A path of the socket that fits into an address (108 bytes): through an open folder where the plain one is long."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self._data_dir = os.fspath(data_dir)
        self._fd = -1

    def __enter__(self) -> str:
        path = os.path.join(self._data_dir, SOCKET_FILE)
        if len(os.fsencode(path)) <= 100 or not os.path.isdir("/proc/self/fd"):
            return path
        self._fd = os.open(self._data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{SOCKET_FILE}"

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
