"""How does what a task returns become the result of an outcome?"""

from __future__ import annotations

import json
import sys
from typing import Any

from zquant_flow.runner.protocol import Frame

RESULT_LIMIT = 4 * 1024 * 1024
"""Characters of JSON. What is larger belongs into a file or a table, and its place into the result."""

ERROR_LIMIT = 4000

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def success(value: Any) -> Frame:
    """The facts of an attempt that returned `value`; a failure when that is not JSON.

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
    if len(text) > RESULT_LIMIT:
        error = f"the result has {len(text)} characters as JSON, more than {RESULT_LIMIT}: store it, return where it is"
        return {"kind": "failed", "code": "result_too_large", "error": error}
    return {"kind": "success", "result": text.encode(errors="replace").decode()}


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
