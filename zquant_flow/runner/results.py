"""How does what a task returns become the result of an outcome?"""

from __future__ import annotations

import json
import sys
from typing import Any

from zquant_flow.result_files import IN_ROW, LARGEST, beside_log, write
from zquant_flow.runner.protocol import Frame

SENT = 4 * 1024 * 1024
"""Bytes of JSON up to which a result goes into the row where another machine needs it."""

ERROR_LIMIT = 4000

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def success(value: Any, order: Frame) -> Frame:
    """The facts of an attempt that returned `value`; a failure when that is not JSON, too large, or not to be written.

    Halves of UTF-16 pairs, which no encoding has, become question marks.
    """
    if value is None:
        return {"kind": "success"}
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        error = f"the result is not JSON: {find_fault(value) or exc}"
        tell(f"{error}\n")
        return {"kind": "failed", "code": "result_not_json", "error": error}
    facts = kept(text, order)
    return {"kind": "failed" if "code" in facts else "success", **facts}


def kept(text: str, order: Frame) -> Frame:
    """A result as an outcome has it: the text of a small one, the size of one that now lies in its file; or why it is neither."""
    data = text.encode(errors="replace")
    if len(data) <= (SENT if order.get("in_row") else IN_ROW):
        return {"result": data.decode()}
    if len(data) > LARGEST:
        error = f"the result has {len(data)} bytes as JSON, more than {LARGEST}: store it, return where it is"
        return {"code": "result_too_large", "error": error}
    try:
        write(beside_log(order["log"], order["id"]), data)
    except OSError as exc:
        error = f"the result of {len(data)} bytes can't be written: {exc.strerror}"
        return {"code": "result_not_kept", "error": error}
    return {"result_size": len(data)}


def find_fault(value: Any, path: str = "result", depth: int = 0) -> str | None:
    """Where in a value is what JSON has no word for? None where nowhere."""
    if depth > 50:
        return f"{path} is nested too deeply"
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                return f"a key of {path} is of type {type(key).__name__}"
            fault = find_fault(item, f"{path}.{key}", depth + 1)
            if fault:
                return fault
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            fault = find_fault(item, f"{path}[{index}]", depth + 1)
            if fault:
                return fault
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"{path} is {value}"
    elif not isinstance(value, str | int | float | bool | None):
        return f"{path} is of type {type(value).__name__}"
    return None


def tell(text: str) -> None:
    """Write to the log of the attempt, whatever the task has done to stderr."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        return


def clean(text: str) -> str:
    """A text that every database takes: no NUL, no lone surrogates, not too long."""
    text = text.replace("\0", "\\0")
    if len(text) > ERROR_LIMIT:
        text = text[:ERROR_LIMIT] + " ..."
    return text.encode("utf-8", "backslashreplace").decode()
