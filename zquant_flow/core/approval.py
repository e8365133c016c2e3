"""What does a node say that waits for somebody's answer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

APPROVAL = "approval"
"""What an execution waits for that waits for an answer."""


class OnTimeout(StrEnum):
    """What stands for an answer that did not come in time."""

    REJECT = "reject"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question for people. `who` names those that may answer, everybody where it is empty; `timeout` None waits for ever."""

    message: str = ""
    who: tuple[str, ...] = ()
    timeout: timedelta | None = None
    on_timeout: OnTimeout = OnTimeout.REJECT


def encode_approval(approval: Approval) -> dict[str, Any]:
    """As plain JSON values, in the words of files; defaults are left out."""
    out: dict[str, Any] = {}
    if approval.message:
        out["message"] = approval.message
    if approval.who:
        out["who"] = list(approval.who)
    if approval.timeout is not None:
        out["timeout"] = approval.timeout.total_seconds()
    if approval.on_timeout is not OnTimeout.REJECT:
        out["on_timeout"] = approval.on_timeout.value
    return out


def decode_approval(encoded: Mapping[str, Any]) -> Approval:
    """The inverse of `encode_approval`."""
    timeout = encoded.get("timeout")
    return Approval(
        message=encoded.get("message", ""),
        who=tuple(encoded.get("who", ())),
        timeout=None if timeout is None else timedelta(seconds=timeout),
        on_timeout=OnTimeout(encoded.get("on_timeout", "reject")),
    )
