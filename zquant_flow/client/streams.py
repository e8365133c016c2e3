"""How does a client follow what the server tells as it happens? Server-sent events that survive a lost connection."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import httpx

from zquant_flow.client.connection import ApiError, Connection, as_query, error_of

SILENCE = 60.0
"""Seconds without a byte after which a connection is believed dead; the server speaks every few seconds."""
PATIENCE = 60.0
"""Seconds that a server which was there may be away, for a restart, before a stream gives up."""
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: `type` is `execution`, `task` or `load_errors` (docs/rest.md has the fields of `data`).

    `reset`: so much was missed that it is not told any more; look at what you follow once more.
    """

    type: str
    data: Mapping[str, Any]
    seq: int | None = None
    """Where the stream can go on after this event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """A piece of a log: `text` at a byte `offset`; or the beginning of the next `attempt`; or the `end` with the `status`."""

    type: Literal["log", "attempt", "end"]
    attempt: int | None = None
    offset: int | None = None
    text: str = ""
    status: str | None = None


class Frame(NamedTuple):
    """A server-sent event as it crosses."""

    event: str
    data: str
    id: str | None


def frames(pieces: Iterable[bytes]) -> Iterator[Frame | None]:
    """Events out of bytes in pieces of any size; None for each comment, which says only that the line is alive.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    event, data, identity = "", list[str](), None
    for line in _lines(pieces):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Frame(event or "message", "\n".join(data), identity)
            event, data, identity = "", [], None
        elif not name:
            yield None
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            identity = value


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines end with LF or CRLF, and with nothing else that Unicode counts as an end of a line."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")


class Streams(Connection):
    """The calls that follow."""

    def stream_events(
        self,
        *,
        types: Iterable[str] = (),
        task_id: int | Iterable[int] = (),
        root_execution_id: int | None = None,
        status: Iterable[str] = (),
        include: Literal["nodes"] | None = None,
        last_event_id: int | None = None,
        hello: bool = False,
    ) -> Iterator[Event]:
        """What happens from now on, or from after `last_event_id`; it goes on by itself where the connection is lost.

        With `hello` the first event says that the stream stands: nothing that happens after it is missed. Raises
        ApiError, and Unreachable where the server is not there, or stays away for a minute.
        """
        query = {
            "types": ",".join(types) or None,
            "task_id": [task_id] if isinstance(task_id, int) else list(task_id),
            "root_execution_id": root_execution_id,
            "status": list(status),
            "include": include,
        }
        last = None if last_event_id is None else str(last_event_id)
        for event in self._events(query, last):
            if event is not None and (hello or event.type != "hello"):
                yield event

    def stream_log(self, execution_id: int, *, attempt: int | None = None) -> Iterator[LogEvent]:
        """The log from its beginning, and what is written meanwhile, until the execution has ended."""
        path = f"/executions/{execution_id}/log/stream"
        for frame in self._frames(path, {"attempt": attempt}, None):
            if frame is None or frame.event not in ("log", "attempt", "end"):
                continue
            data = json.loads(frame.data)
            yield LogEvent(
                type=frame.event,  # type: ignore[arg-type]  # one of the three
                **{name: data[name] for name in ("attempt", "offset", "text", "status") if name in data},
            )
            if frame.event == "end":
                return

    def _events(
        self, query: Mapping[str, Any], last: str | None = None, *, deadline: float | None = None
    ) -> Iterator[Event | None]:
        """Events, `hello` among them, and None whenever the server only shows that it is there."""
        for frame in self._frames("/events/stream", query, last, deadline):
            if frame is None:
                yield None
                continue
            data = json.loads(frame.data)
            seq = int(frame.id) if frame.id and frame.id.isdigit() else data.get("seq")
            yield Event(type=frame.event, data=data, seq=seq)

    def _frames(
        self, path: str, query: Mapping[str, Any], last: str | None, deadline: float | None = None
    ) -> Iterator[Frame | None]:
        """The frames of a stream; where it breaks off it is asked for again, from the last one on.

        None when the server shows that it is there, and when the deadline (monotonic) is over.
        """
        been_there, lost, failures = False, 0.0, 0
        while True:
            try:
                for frame in self._once(path, query, last, _silence(deadline)):
                    been_there, failures = True, 0
                    if frame is not None and frame.id:
                        last = frame.id
                    yield frame
                problem: Exception | None = None
            except httpx.TransportError as exc:
                problem = self._unreachable(exc)
            except ApiError as exc:
                if exc.status not in (502, 503, 504):
                    raise
                problem = exc
            if _left(deadline) <= 0:
                yield None
            if failures == 0:
                lost = time.monotonic()
            if problem is not None and (not been_there or time.monotonic() - lost > PATIENCE):
                raise problem
            time.sleep(max(0.0, min(_PAUSES[min(failures, len(_PAUSES) - 1)], _left(deadline))))
            failures += 1
            if _left(deadline) <= 0:
                yield None

    def _once(
        self, path: str, query: Mapping[str, Any], last: str | None, silence: float
    ) -> Iterator[Frame | None]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        timeout = httpx.Timeout(self._timeout, read=silence)
        with self._http.stream(
            "GET", path, params=as_query(query), headers=headers, timeout=timeout
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise error_of(answer)
            yield from frames(answer.iter_bytes())


def _silence(deadline: float | None) -> float:
    return max(0.05, min(SILENCE, _left(deadline)))


def _left(deadline: float | None) -> float:
    """Seconds until then."""
    return math.inf if deadline is None else deadline - time.monotonic()
