"""Which files of the tasks folder are read?

SEMANTICS §1.4-1.5: links are followed as far as they stay below the folder; hidden files and editors' leftovers are
passed over in silence; odd ones (FIFOs, links that lead outside, files over 10 MB) with a message.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from zquant_flow.wording import say

MAX_BYTES = 10_000_000
MAX_FOLDER_DEPTH = 100
SUFFIXES = (".yaml", ".yml", ".py")
_LEFTOVERS = re.compile(
    r"\.|#.*#$|4913$|__pycache__$|.*(?:~|\.sw[a-z]|\.tmp|\.bak|\.orig|\.rej|\.part)$", re.DOTALL
)


class FileStat(NamedTuple):
    """What tells that a file has changed."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(slots=True)
class Scan:
    """The files to read and those passed over with a reason, by posix path below the folder."""

    files: dict[str, FileStat] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def is_ignored(name: str) -> bool:
    """Is this the name of a hidden file or folder, or of an editor's leftover?"""
    return _LEFTOVERS.match(name) is not None


def is_task_path(path: str) -> bool:
    """May a file with this path, below the tasks folder, be read at all?"""
    return path.endswith(SUFFIXES) and not any(is_ignored(part) for part in path.split("/"))


def scan(tasks_dir: Path) -> Scan:
    """The whole folder; raises OSError where the folder itself can't be listed."""
    root = os.path.realpath(tasks_dir)
    state = os.stat(root)
    found = Scan()
    seen = {(state.st_dev, state.st_ino)}
    linked: list[str] = []
    folders = [""]
    while folders:
        path = folders.pop()
        try:
            _folder(root, path, found, folders, linked, seen)
        except OSError as exc:
            if not path:
                raise
            found.skipped[path] = say("this folder can't be read: {reason}", reason=exc.strerror)
        if not folders and linked:
            # Real folders first: what is reached by both ways has its real path.
            _follow(root, linked.pop(), found, folders, seen)
    return found


def stat_of(tasks_dir: Path, path: str) -> FileStat | str:
    """One file as `scan` would see it, or the reason why it is passed over; raises FileNotFoundError."""
    root = os.path.realpath(tasks_dir)
    return _file(root, path, os.path.join(root, path))


def _folder(
    root: str, path: str, found: Scan, folders: list[str], linked: list[str], seen: set[tuple[int, int]]
) -> None:
    prefix = path + "/" if path else ""
    with os.scandir(os.path.join(root, path)) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_file(follow_symlinks=False):
                if name.endswith(SUFFIXES) and name[0] != ".":
                    _put(prefix + name, _judge(name, entry.stat(follow_symlinks=False)), found)
            elif is_ignored(name):
                continue
            elif entry.is_dir(follow_symlinks=False):
                _enter(prefix + name, entry.stat(follow_symlinks=False), found, folders, seen)
            elif entry.is_symlink():
                _link(root, prefix + name, entry, found, linked)
            elif name.endswith(SUFFIXES):
                _put(prefix + name, say("not a regular file: not read"), found)


def _enter(
    path: str, state: os.stat_result, found: Scan, folders: list[str], seen: set[tuple[int, int]]
) -> None:
    identity = (state.st_dev, state.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    if not path.isascii() and not _is_utf8(path):
        found.skipped[_printable(path)] = say("the folder's name is not UTF-8: rename it")
        return
    if path.count("/") >= MAX_FOLDER_DEPTH:
        found.skipped[_short(path)] = say("more than {count} folders deep: not read", count=MAX_FOLDER_DEPTH)
    else:
        folders.append(path)


def _link(root: str, path: str, entry: os.DirEntry[str], found: Scan, linked: list[str]) -> None:
    try:
        is_dir = entry.is_dir()
    except OSError:
        is_dir = False
    if is_dir:
        linked.append(path)
    elif path.endswith(SUFFIXES):
        try:
            _put(path, _file(root, path, entry.path), found)
        except FileNotFoundError:
            found.skipped[path] = say("this link leads nowhere")
        except OSError as exc:
            found.skipped[path] = say("this link can't be followed: {reason}", reason=exc.strerror)


def _follow(root: str, path: str, found: Scan, folders: list[str], seen: set[tuple[int, int]]) -> None:
    full = os.path.join(root, path)
    try:
        if not _is_below(root, os.path.realpath(full)):
            found.skipped[path] = say("this link leads out of the tasks folder: not followed")
            return
        _enter(path, os.stat(full), found, folders, seen)
    except OSError as exc:
        found.skipped[path] = say("this link can't be followed: {reason}", reason=exc.strerror)


def _file(root: str, path: str, full: str) -> FileStat | str:
    state = os.lstat(full)
    if stat.S_ISLNK(state.st_mode):
        if not _is_below(root, os.path.realpath(full)):
            return say("this link leads out of the tasks folder: not followed")
        state = os.stat(full)
    return _judge(path, state)


def _judge(path: str, state: os.stat_result) -> FileStat | str:
    if not stat.S_ISREG(state.st_mode):
        return say("not a regular file: not read")
    if state.st_size > MAX_BYTES:
        return say("{count:,} bytes: a task file has at most {limit:,}", count=state.st_size, limit=MAX_BYTES)
    if not path.isascii() and not _is_utf8(path):
        return say("the file's name is not UTF-8: rename it")
    return FileStat(state.st_size, state.st_mtime_ns, state.st_ino)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _put(path: str, judged: FileStat | str, found: Scan) -> None:
    if isinstance(judged, str):
        found.skipped[_printable(path)] = judged
    else:
        found.files[path] = judged


def _is_below(root: str, path: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _short(path: str) -> str:
    return path if len(path) <= 200 else path[:200] + "..."
