"""What would run when, if every execution took as long as executions of its task do?

Fires come from the timetables; `simulated_run` lets them pass, once with usual durations and once with slow ones. A task
that fires very often is no row of single fires: it counts as an even load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zquant_flow.core.simulated_run import Run
from zquant_flow.core.workload import Report, Work
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

MOST = 5_000_000
"""So many fires are followed one by one."""
DENSE = 150_000
"""A task with more fires than that in the span counts as an even load."""
_CHUNK = 28 * 24 * 3_600_000_000
"""The fires of so long are sorted at a time."""


def simulate(
    works: Sequence[Work],
    start: int,
    end: int,
    *,
    slots: int,
    pools: Mapping[str, int],
    dense: int = DENSE,
) -> Report:
    """Run all that fires in [start, end], to its end. A task with more than `dense` fires counts as an even load.

    Raises BadRequest where there are too many fires to follow; KeyError for a pool that `pools` doesn't name.
    """
    fires = fires_of(works, start, end)
    heard = {signal for work in works for signal in work.waits_for}
    even = {
        number
        for number, count in enumerate(fires)
        if count > dense and not heard.intersection(works[number].gives)
    }
    usual = Run(works, [work.usual for work in works], slots, pools)
    slow = Run(works, [work.slow for work in works], slots, pools)
    single = sum(fires) - sum(fires[number] for number in even)
    if single > MOST:
        raise BadRequest(
            say(
                "{count:,} fires are more than a simulation takes ({most:,}): name a shorter span",
                count=single,
                most=MOST,
            )
        )
    for run in (usual, slow):
        for number in sorted(even):
            run.spread(number, fires[number], start, end)
    singles = [work if number not in even else None for number, work in enumerate(works)]
    for keys in _chunks(singles, start, end):
        usual.take(keys)
        slow.take(keys)
    return Report(
        fires=fires,
        usual=usual.outcome(end),
        slow=slow.outcome(end),
        steady=[works[number].name for number in sorted(even)],
    )


def fires_of(works: Sequence[Work], start: int, end: int) -> list[int]:
    """How often each fires in [start, end]."""
    return [0 if work.table is None else work.table.count(start - 1, end) for work in works]


def _chunks(works: Sequence[Work | None], start: int, end: int) -> Iterator[list[int]]:
    """The fires in the order of time, as `instant * len(works) + number`."""
    size = len(works)
    for begin in range(start, end + 1, _CHUNK):
        until = min(begin + _CHUNK - 1, end)
        keys: list[int] = []
        for number, work in enumerate(works):
            if work is not None and work.table is not None:
                keys += [moment * size + number for moment in work.table.instants(begin - 1, until)]
        keys.sort()
        yield keys
