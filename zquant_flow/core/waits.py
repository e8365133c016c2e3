"""When has all arrived that a task waits for?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from zquant_flow.core.status import Status


class On(StrEnum):
    """Which end of a task another one waits for."""

    SUCCESS = "success"
    FAILURE = "failure"
    EITHER = "either"

    def takes(self, status: Status) -> bool:
        """Whether an execution that ended so counts; one that was skipped never ran."""
        if status is Status.SKIPPED:
            return False
        good = status in (Status.SUCCESS, Status.COMPLETED)
        return self is On.EITHER or good is (self is On.SUCCESS)


@dataclass(frozen=True, slots=True)
class Signal:
    """What has arrived from a source: when (microseconds), by which execution, and the logical time that this stood for."""

    source: str
    arrived: int
    execution_id: int
    logical_time: int | None = None


Kept = Mapping[str, Signal]
"""The newest signal of each source, as far as it has not been used."""


def arrived(
    sources: tuple[str, ...], within: int | None, kept: Kept, signal: Signal
) -> tuple[Kept, tuple[Signal, ...] | None]:
    """What is kept after this signal, and the signals that are complete with it, if they are.

    All of `sources` are needed, each within `within` microseconds of the newest; of each the newest counts, and what has
    been used counts no more.
    """
    now = {**kept, signal.source: signal}
    if within is not None:
        now = {source: other for source, other in now.items() if signal.arrived - other.arrived <= within}
    if not all(source in now for source in sources):
        return now, None
    return {}, tuple(now[source] for source in sources)
