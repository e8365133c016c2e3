"""What of an execution is told to people, and through which channels? What a task says about it under `notify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zquant_flow.core.status import FINAL, Status


class Notice(StrEnum):
    """What is worth a message."""

    FAILURE = "failure"
    SUCCESS = "success"
    RETRY = "retry"
    DEADLINE = "deadline"
    RECOVERY = "recovery"


WANTED = frozenset({"terminated", "replaced", "backfill_cancelled"})
"""Why an execution was terminated where somebody wanted just that: nobody is told of a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """The channels that are told, by what happened. Channels are made in the settings, so that a name may lead nowhere."""

    failure: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    deadline: tuple[str, ...] = ()
    recovery: tuple[str, ...] = ()

    def of(self, notice: Notice) -> tuple[str, ...]:
        """Who hears of that."""
        channels: tuple[str, ...] = getattr(self, notice.value)
        return channels

    def channels(self) -> Iterator[str]:
        """All names, some of them perhaps twice."""
        for notice in Notice:
            yield from self.of(notice)


def encode_notify(notify: Notify) -> dict[str, list[str]]:
    """It as plain JSON values, in the words of files; what nobody hears of is left out."""
    return {f"on_{notice}": list(notify.of(notice)) for notice in Notice if notify.of(notice)}


def decode_notify(encoded: Mapping[str, Any]) -> Notify:
    """The inverse of `encode_notify`."""
    return Notify(**{word.removeprefix("on_"): tuple(channels) for word, channels in encoded.items()})


def notice_of(what: str, status: str, error_code: str | None) -> Notice | None:
    """What a step of an execution is to people; None where it is nothing to them.

    `completed` is a failure: nodes have failed. Termination is one too, unless somebody asked for it. Whether a success is a
    recovery as well depends on what was before.
    """
    if what == "retry":
        return Notice.RETRY
    if what == "deadline_missed":
        return Notice.DEADLINE
    if what not in ("created", "started", "ended") or status not in FINAL:
        return None
    if status == Status.SUCCESS:
        return Notice.SUCCESS
    if status == Status.SKIPPED or (status == Status.TERMINATED and error_code in WANTED):
        return None
    return Notice.FAILURE
