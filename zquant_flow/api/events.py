"""One stream of all that changes, as server-sent events: executions, tasks, load errors (CONTRACT)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from zquant_flow.api.control import MAX_ID, Ctl
from zquant_flow.api.feed import FURTHEST, Choice, Feed, frame
from zquant_flow.api.models import EventKind
from zquant_flow.api.security import Guard, signed_in
from zquant_flow.api.validation import meaningless
from zquant_flow.core.status import Status
from zquant_flow.wording import joined, say

router = APIRouter(tags=["events"], dependencies=[Depends(signed_in)])

ALIVE = 15.0
"""Seconds after which a silent stream says that it lives."""
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EVENT_STREAM = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Server-sent events",
    }
}
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=100, description="Go on after this event, as browsers do."),
]


@router.get(
    "/events/stream",
    operation_id="stream_events",
    response_class=StreamingResponse,
    responses=EVENT_STREAM,  # type: ignore[arg-type]
)
async def stream_events(
    control: Ctl,
    guard: Guard,
    types: Annotated[str, Query(max_length=100, description="Kinds with commas between; all without.")] = "",
    task_id: Annotated[list[int] | None, Query()] = None,
    root_execution_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    status: Annotated[list[Status] | None, Query()] = None,
    include: Annotated[str, Query(pattern="^(nodes)?$", description="`nodes`: inline nodes too.")] = "",
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """What changes from now on, or after `Last-Event-ID`. Its ids are numbers of changes and rise.

    `hello` says where the stream begins; `execution` and `task` show things as they are now, so that changes which come
    fast are told as one; `load_errors` says how many files can't be read; `reset`: too much was missed, load anew.
    """
    choice = Choice(
        kinds=_kinds(types),
        task_ids=frozenset(task_id or ()),
        root_id=root_execution_id,
        statuses=frozenset(status or ()),
        inline=include == "nodes",
    )
    stream = guard(_frames(control.feed, choice, _number(last_event_id)))
    return StreamingResponse(stream, media_type="text/event-stream", headers=STREAM_HEADERS)


async def _frames(feed: Feed, choice: Choice, after: int | None) -> AsyncGenerator[bytes]:
    now = await feed.listen(choice)
    try:
        number = now if after is None else min(after, now)
        if now - number > FURTHEST:
            yield frame("reset", {"seq": now}, now)
            number = now
        yield frame("hello", {"seq": number, "load_errors": feed.load_errors}, number)
        place, told = feed.place(number, choice), monotonic()
        while not feed.closed:
            found = None if place is None else feed.since(place, choice)
            if found is None:
                frames, number = await asyncio.to_thread(feed.caught_up, number, choice)
                following = feed.place(number, choice)
            else:
                frames, following, number = found
            if frames:
                yield b"".join(frames)
                told = monotonic()
            elif following == place:
                await feed.news(max(0.0, told + ALIVE - monotonic()))
            if monotonic() - told >= ALIVE:
                yield b": alive\n\n"
                told = monotonic()
            place = following
    finally:
        feed.leave(choice)


def _kinds(types: str) -> frozenset[str]:
    wanted = frozenset(word for word in types.split(",") if word)
    if not wanted <= set(EventKind):
        raise meaningless(
            say("types: any of {known}, with commas between", known=joined(", ", EventKind)), "types"
        )
    return wanted


def _number(last_event_id: str | None) -> int | None:
    """What a browser sends back; anything else is no number of ours, and the stream begins now."""
    if last_event_id is None or not last_event_id.isdecimal():
        return None
    return min(int(last_event_id), MAX_ID)
