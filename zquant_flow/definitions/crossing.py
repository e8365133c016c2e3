"""How does an error get from one process to another as a message that can still be translated?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zquant_flow.wording import packed, restored

Error = tuple[int, int, str, str, str]
"""Line, column, field, code, message."""


def sent(error: Error) -> list[Any]:
    """The error in JSON values: its English text, and what a translation needs."""
    return [*error, packed(error[-1])]


def received(sent: Sequence[Any]) -> Error:
    """The inverse of `sent`."""
    line, column, field, code, text, message = sent
    return line, column, field, code, restored(text, message)
