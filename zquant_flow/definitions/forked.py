"""How does code that nobody trusts run without hurting who calls it?

In a forked child with a session, a time limit and a bounded voice of its own. Whatever it does (loops, exits, crashes,
floods, leaves threads behind), the caller gets an `Ending`, and the whole process group is gone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from zquant_flow.clock import SystemClock

_monotonic = SystemClock().monotonic
MAX_RESULT_BYTES = 64_000_000
MAX_TRACE_BYTES = 64_000
MAX_OUTPUT_BYTES = 16_000
_LOOK_EVERY_SECONDS = 0.05
_KILL_AFTER_SECONDS = 0.5
_DUMP_BEFORE_SECONDS = 0.1


@dataclass(slots=True)
class Ending:
    """How the child ended: its result, or why there is none. `trace`: faulthandler's, with the line that ran last."""

    result: bytes | None = None
    timed_out: bool = False
    exit_code: int | None = None
    signal: int | None = None
    trace: str = ""
    output: str = ""


@dataclass(slots=True)
class _Voice:
    """One pipe from the child, read up to a bound and thrown away beyond it."""

    limit: int
    reader: int = -1
    writer: int = -1
    data: bytearray = field(default_factory=bytearray)
    open: bool = True

    def __post_init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def drain(self) -> None:
        for _ in range(100):
            try:
                chunk = os.read(self.reader, 65_536)
            except BlockingIOError:
                return
            if not chunk:
                self.open = False
                return
            self.data += chunk[: max(0, self.limit - len(self.data))]


def run_forked(work: Callable[[], bytes], *, timeout: float, close: Sequence[int] = ()) -> Ending:
    """Runs `work` in a forked child for at most `timeout` seconds; its bytes must hold no newline.

    `close`: descriptors that the child must not keep.
    """
    result, trace, output = _Voice(MAX_RESULT_BYTES), _Voice(MAX_TRACE_BYTES), _Voice(MAX_OUTPUT_BYTES)
    voices = (result, trace, output)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(
            work, timeout, result.writer, trace.writer, output.writer, [*close, *(v.reader for v in voices)]
        )
    for voice in voices:
        os.close(voice.writer)
    try:
        return _await(pid, result, trace, output, _monotonic() + timeout + _KILL_AFTER_SECONDS)
    finally:
        for voice in voices:
            os.close(voice.reader)


def _await(pid: int, result: _Voice, trace: _Voice, output: _Voice, deadline: float) -> Ending:
    voices = (result, trace, output)
    poll = select.poll()
    by_reader = {voice.reader: voice for voice in voices}
    for reader in by_reader:
        poll.register(reader, select.POLLIN)
    status: int | None = None
    while status is None and not result.data.endswith(b"\n") and _monotonic() < deadline:
        for reader, _ in poll.poll(_LOOK_EVERY_SECONDS * 1000):
            by_reader[reader].drain()
            if not by_reader[reader].open:
                poll.unregister(reader)
        status = _status(pid)
    late = status is None and not result.data.endswith(b"\n")
    _end_group(pid)
    if status is None:
        status = os.waitpid(pid, 0)[1]
    for voice in voices:
        voice.drain()
    return _ending(result, trace, output, status, late)


def _ending(result: _Voice, trace: _Voice, output: _Voice, status: int, late: bool) -> Ending:
    text = trace.data.decode("utf-8", "replace")
    whole = result.data.endswith(b"\n")
    return Ending(
        result=bytes(result.data[:-1]) if whole else None,
        timed_out=not whole and (late or text.startswith("Timeout")),
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        trace=text,
        output=output.data.decode("utf-8", "replace"),
    )


def _status(pid: int) -> int | None:
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return status if done else None


def _end_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _child(
    work: Callable[[], bytes], timeout: float, result: int, trace: int, output: int, close: Sequence[int]
) -> NoReturn:
    """Never returns to the caller's code, whatever happens."""
    leave = os._exit
    try:
        os.setsid()
        for descriptor in close:
            os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        # Its watchdog thread is written in C: it sees and ends even code that never lets go of the GIL.
        faulthandler.enable(file=trace, all_threads=False)
        faulthandler.dump_traceback_later(max(0.05, timeout - _DUMP_BEFORE_SECONDS), exit=True, file=trace)
        own = os.getpid()
        os._exit = lambda code: _leave_with_trace(leave, code, trace)  # type: ignore[assignment]
        data = work() + b"\n"
        while data and os.getpid() == own:  # a fork made by the file ends here as well, without a word
            data = data[os.write(result, data) :]
    except BaseException as exc:
        os.write(trace, f"{type(exc).__name__}: {exc}\n".encode("utf-8", "replace")[:4000])
        leave(70)
    leave(0)


def _leave_with_trace(leave: Callable[[int], NoReturn], code: int, trace: int) -> NoReturn:
    faulthandler.dump_traceback(file=trace, all_threads=False)
    leave(code)
