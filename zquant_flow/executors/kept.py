"""How does a task keep what its next attempt goes on from?

One file of JSON for each execution, replaced as a whole: whoever is killed leaves the one before.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from zquant_flow.logs import make_folders
from zquant_flow.runner.results import find_fault

STATE_LIMIT = 1024 * 1024
"""Bytes of JSON."""

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def keep(path: str, state: Any) -> None:
    """Replace what is kept there. Raises ValueError for what is not JSON or too large, OSError where it can't be written."""
    data = _as_json(state)
    beside = f"{path}.{os.getpid()}_{threading.get_ident()}"
    try:
        _write(beside, data)
        os.replace(beside, path)
    except BaseException:  # also Terminated, which may come at any time
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def read(paths: Sequence[str], log: logging.Logger) -> Any:
    """What is kept in the first of these files that there is; None where there is none. One that is damaged is left out."""
    for path in paths:
        try:
            with open(os.open(path, _READ), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as exc:
            log.warning("the state that was kept can't be read, and is left out: %s", exc)
    return None


def _as_json(state: Any) -> bytes:
    try:
        data = _encode(state).encode(errors="replace")
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"the state is not JSON: {find_fault(state, 'state') or exc}") from None
    if len(data) > STATE_LIMIT:
        raise ValueError(
            f"the state has {len(data)} bytes as JSON, more than {STATE_LIMIT}: keep the rest in a file, and its place in the state"
        )
    return data


def _write(path: str, data: bytes) -> None:
    try:
        descriptor = os.open(path, _WRITE, 0o600)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        descriptor = os.open(path, _WRITE, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
