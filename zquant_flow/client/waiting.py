"""When has an execution ended? The event stream tells; looking again and again only where there is none."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from zquant_flow.api.models import ExecutionOut
from zquant_flow.client.connection import ApiError
from zquant_flow.client.streams import Streams
from zquant_flow.core.status import FINAL
from zquant_flow.wording import say

_SLOWEST = 2.0


class Waiting(Streams):
    """The calls that wait."""

    def get_execution(self, execution_id: int, *, include: Collection[str] = ()) -> ExecutionOut:
        """One execution; `include` may name `attempts` and `children`. Raises ApiError."""
        query = {"include": ",".join(include) or None}
        return self._ask(ExecutionOut, "GET", f"/executions/{execution_id}", query=query)

    def wait_for_execution(self, execution_id: int, timeout: float | None = None) -> ExecutionOut:
        """The execution, once it has ended, whatever its status. Raises TimeoutError after `timeout` seconds, ApiError."""
        return next(self.as_ended([execution_id], timeout=timeout))

    def as_ended(
        self, execution_ids: Iterable[int], *, timeout: float | None = None
    ) -> Iterator[ExecutionOut]:
        """Each of these executions as soon as it has ended, those that have already first. Raises as `wait_for_execution`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        active: dict[int, ExecutionOut] = {}
        for id_ in execution_ids:
            execution = self.get_execution(id_)
            if execution.status in FINAL:
                yield execution
            else:
                active[id_] = execution
        if active:
            yield from self._told(set(active), _query_of(list(active.values())), deadline)

    def _told(
        self, left: set[int], query: Mapping[str, Any], deadline: float | None
    ) -> Iterator[ExecutionOut]:
        try:
            for event in self._events(query, deadline=deadline):
                if event is not None and event.type in ("hello", "reset"):
                    yield from self._over(left)  # what ended before the stream stood, or while it was away
                elif event is not None and event.data["id"] in left and event.data["status"] in FINAL:
                    left.discard(event.data["id"])
                    yield self.get_execution(event.data["id"])
                if not left:
                    return
                _refuse_late(left, deadline)
        except ApiError as exc:
            if exc.status in (401, 403) or exc.code == "execution_not_found":
                raise
        yield from self._looked_after(left, deadline)

    def _over(self, left: set[int]) -> Iterator[ExecutionOut]:
        for id_ in sorted(left):
            execution = self.get_execution(id_)
            if execution.status in FINAL:
                left.discard(id_)
                yield execution

    def _looked_after(self, left: set[int], deadline: float | None) -> Iterator[ExecutionOut]:
        pause = 0.05
        while left:
            yield from self._over(left)
            if left:
                _refuse_late(left, deadline)
                time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic())))
                pause = min(_SLOWEST, pause * 1.5)


def _query_of(executions: Sequence[ExecutionOut]) -> Mapping[str, Any]:
    """The least of the stream that tells of all of these; it leaves inline nodes out unless it is asked for them."""
    roots = {execution.root_execution_id or execution.id for execution in executions}
    return {
        "types": "execution",
        "include": "nodes" if any(execution.node is not None for execution in executions) else None,
        "root_execution_id": roots.pop() if len(roots) == 1 else None,
    }


def _refuse_late(left: Collection[int], deadline: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        shown = ", ".join(map(str, sorted(left)[:5]))
        raise TimeoutError(say("not ended in time: execution {ids}", ids=shown))
