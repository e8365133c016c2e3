"""What did an ended attempt leave behind, and who ends that?

The runner is a subreaper (Linux): whatever loses its parent becomes its child, also after setsid and a double fork. An
orphan that belongs to no running attempt is ended: SIGTERM, grace, SIGKILL. All that is signalled here descends from
us, and its start time is compared through a pidfd, so that a reused pid is never met.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zquant_flow.environment import RUNNER_MARK
from zquant_flow.runner.environment import ATTEMPT, EXECUTION_ID
from zquant_flow.runner.loop import Loop, Timer
from zquant_flow.runner.processes import Processes
from zquant_flow.runner.protocol import Key

GRACE = 10.0
ROUND = 0.25
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A process that can't be taken for another: pid and start time (clock ticks since boot)."""

    pid: int
    start: int
    session: int


def become_subreaper() -> bool:
    """Adopt the orphans of all our descendants from now on; False where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Strays:
    """Ends the orphans that no running attempt owns.

    `owners()` gives the attempts that run now; their daemons are let be until they end.
    """

    def __init__(self, loop: Loop, processes: Processes, owners: Callable[[], set[Key]]) -> None:
        self._loop = loop
        self._processes = processes
        self._owners = owners
        self._due = False
        self._timer: Timer | None = None
        self._deadlines: dict[Key, float] = {}
        self._ended_leaders: set[int] = set()
        self._asked: dict[Process, float] = {}
        self._suspects: dict[Process, set[Key]] = {}
        self._works = become_subreaper() and processes.can_list_orphans()
        loop.at_turn_end(self._at_turn_end)
        processes.on_orphan_exit = self._orphan_ended

    @property
    def busy(self) -> bool:
        """Whether something is being ended."""
        return self._due or bool(self._asked)

    def attempt_ended(self, key: Key, pid: int | None = None, deadline: float | None = None) -> None:
        """Look for what this attempt left; SIGKILL comes at `deadline` (monotonic), else after the grace.

        `pid`: the leader of its group, reaped or about to be; signalled here only where orphans can't be listed.
        """
        if not self._works:
            if pid is not None:
                _end_group(pid)
            return
        if pid is not None:
            self._ended_leaders.add(pid)
        if deadline is not None:
            self._deadlines[key] = deadline
        self._due = True

    def _orphan_ended(self) -> None:
        self._due = self._due or bool(self._asked)

    def _at_turn_end(self) -> None:
        if self._due:
            self._due = False
            self._sweep()

    def _sweep(self) -> None:
        roots = self._processes.orphans()
        if not roots:
            self._deadlines.clear()
            self._ended_leaders.clear()
            self._asked.clear()
            self._suspects.clear()
            return
        now = time.monotonic()
        seen: set[Process] = set()
        for process in _trees(roots):
            seen.add(process)
            self._judge(process, now)
        self._asked = {process: due for process, due in self._asked.items() if process in seen}
        self._suspects = {process: keys for process, keys in self._suspects.items() if process in seen}
        if self._asked:
            self._loop.cancel(self._timer)
            self._timer = self._loop.later(ROUND, self._sweep)

    def _judge(self, process: Process, now: float) -> None:
        if process in self._asked:
            if now >= self._asked[process]:
                send(process, signal.SIGKILL)
            return
        key = owner(process.pid)
        if self._belongs_to_living(process, key):
            return
        deadline = self._deadlines.get(key, now + GRACE) if key else now + GRACE
        self._asked[process] = deadline
        send(process, signal.SIGTERM if now < deadline else signal.SIGKILL)
        send(process, signal.SIGCONT)

    def _belongs_to_living(self, process: Process, key: Key | None) -> bool:
        owners = self._owners()
        if key is not None:
            return key in owners
        if process.session in self._processes:
            return True
        if process.session in self._ended_leaders:
            return False
        # It hides whose it is: it may be that of any attempt that ran when it was first seen.
        suspects = self._suspects.setdefault(process, owners)
        return bool(suspects & owners)


def owner(pid: int) -> Key | None:
    """The attempt whose environment a process has."""
    environment = _environment(pid)
    try:
        return int(environment[EXECUTION_ID.encode()]), int(environment[ATTEMPT.encode()])
    except (KeyError, ValueError):
        return None


def end_leftovers(data_dir: str, patience: float = 2.0) -> None:
    """End the attempts of a runner that was killed: they are recorded as lost, and may be tried again at any moment."""
    mark = os.fsencode(data_dir)
    found = [
        process for process in _all_processes() if _environment(process.pid).get(RUNNER_MARK.encode()) == mark
    ]
    for process in found:
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)
    deadline = time.monotonic() + patience
    while any(map(is_alive, found)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in found:
        send(process, signal.SIGKILL)


def send(process: Process, number: int) -> None:
    """Signal exactly this process; nothing happens when it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        return
    try:
        if inspect(process.pid) == process:
            signal.pidfd_send_signal(fd, number)
    except OSError:
        return
    finally:
        os.close(fd)


def is_alive(process: Process) -> bool:
    return inspect(process.pid) == process


def inspect(pid: int) -> Process | None:
    """The process that has this pid now; None for a zombie, too."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[19]), int(fields[3]))


def _trees(pids: list[int]) -> Iterator[Process]:
    """These processes and all their descendants; parents first."""
    stack = list(pids)
    while stack:
        pid = stack.pop()
        process = inspect(pid)
        if process is not None:
            yield process
            stack.extend(_children(pid))


def _children(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                yield from map(int, file.read().split())
        except OSError:
            continue


def _environment(pid: int) -> dict[bytes, bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in data.split(b"\0"))
    return {name: value for name, _, value in pairs}


def _all_processes() -> Iterator[Process]:
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for pid in pids:
        process = inspect(pid) if pid != os.getpid() else None
        if process is not None:
            yield process


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGTERM)
        os.killpg(pid, signal.SIGCONT)
    except OSError:
        return
