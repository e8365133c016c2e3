"""How does a command follow an execution on a server? By its events, from the first state to the last."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from zquant_flow.cli.language import t
from zquant_flow.cli.logs import follow_log, print_logs
from zquant_flow.cli.tree import follow
from zquant_flow.client import ApiError, Client
from zquant_flow.core.status import FINAL

_POLL_SECONDS = 0.2
_TOLD = (
    "status",
    "progress_percent",
    "current_item",
    "retry_count",
    "start_time",
    "end_time",
    "duration_seconds",
    "error_code",
    "error_message",
    "waiting_for",
)


def states(client: Client, execution_id: int) -> Iterator[dict[str, Any]]:
    """The execution with its nodes after each change of them; the last one is final."""
    try:
        yield from _told(client, execution_id)
        return
    except ApiError as exc:
        if exc.status in (401, 403) or exc.code == "execution_not_found":
            raise
    while (execution := _now(client, execution_id))["status"] not in FINAL:
        yield execution
        time.sleep(_POLL_SECONDS)
    yield execution


def see_through(client: Client, execution_id: int, name: str, *, as_json: bool, with_log: bool) -> int:
    """Show it to its end; 0 where that is a success, else 1. Ctrl-C leaves it to go on, and says so."""
    execution: dict[str, Any] = {}
    try:
        if with_log and not as_json and not _now(client, execution_id)["children"]:
            follow_log(client, execution_id)
            execution = _now(client, execution_id)
        with follow(name, quiet=as_json) as show:
            for execution in states(client, execution_id):
                show(execution)
    except KeyboardInterrupt:
        sys.stderr.write(
            t("\nexecution {id} goes on; `zquant-flow executions terminate {id}` ends it", id=execution_id)
            + "\n"
        )
        raise
    if as_json:
        sys.stdout.write(final(client, execution_id).model_dump_json() + "\n")
    elif with_log and execution.get("children"):
        print_logs(
            execution, lambda id_, attempt: client.read_log(id_, attempt=attempt).decode(errors="replace")
        )
    return 0 if execution["status"] == "success" else 1


def final(client: Client, execution_id: int) -> Any:
    """The execution with its nodes and attempts."""
    return client.get_execution(execution_id, include=("attempts", "children"))


def _told(client: Client, execution_id: int) -> Iterator[dict[str, Any]]:
    events = client.stream_events(
        types=["execution"], root_execution_id=execution_id, include="nodes", hello=True
    )
    execution: dict[str, Any] = {}
    for event in events:
        if event.type in ("hello", "reset"):
            execution = _now(client, execution_id)
        else:
            _apply(execution, event.data)
        if execution["status"] in FINAL:
            yield _now(client, execution_id)
            return
        yield execution


def _apply(execution: dict[str, Any], told: Mapping[str, Any]) -> None:
    """Bring the execution, or the node of it that is told of, to what an event says.

    An event may be older than what was read when the stream began: a final state is never left for it.
    """
    news = {name: told[name] for name in _TOLD if name in told}
    for item in (execution, *execution["children"]):
        is_meant = told["id"] == item["id"] or (
            item["id"] is None
            and item["node"] == told.get("node")
            and told.get("parent_execution_id") == execution["id"]
        )
        if is_meant and item["status"] not in FINAL:
            item.update(news, id=told["id"])


def _now(client: Client, execution_id: int) -> dict[str, Any]:
    execution = client.get_execution(execution_id, include=("children",)).model_dump(mode="json")
    execution["children"] = execution["children"] or []
    return execution
