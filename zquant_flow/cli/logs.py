"""How do logs reach the terminal? As they are: at once, as they are written, or what failed nodes printed last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zquant_flow.cli.language import t
from zquant_flow.errors import ZquantFlowError

if TYPE_CHECKING:
    from zquant_flow.client import Client

LAST_LINES = 40


def show_log(client: Client, execution_id: int, *, attempt: int | None, tail: int | None) -> None:
    """The log of an attempt, or its end. That of a workflow is in its nodes: it says so."""
    data = client.read_log(execution_id, attempt=attempt, tail=tail)
    if not data and (nodes := _nodes_of(client, execution_id)):
        sys.stderr.write(t("the logs of a workflow are those of its nodes: {ids}", ids=nodes) + "\n")
    sys.stdout.buffer.write(data if data.endswith(b"\n") or not data else data + b"\n")
    sys.stdout.flush()


def follow_log(client: Client, execution_id: int, *, attempt: int | None = None) -> str:
    """Print the log as it is written, to the end of the execution; its status."""
    fresh_line = True
    for event in client.stream_log(execution_id, attempt=attempt):
        if event.type == "end":
            if not fresh_line:
                sys.stdout.write("\n")
            return event.status or ""
        if event.type == "attempt":
            sys.stdout.write(("" if fresh_line else "\n") + t("── attempt {n} ──", n=event.attempt) + "\n")
            fresh_line = True
        elif event.text:
            sys.stdout.write(event.text)
            fresh_line = event.text.endswith("\n")
        sys.stdout.flush()
    return ""


def print_logs(execution: Mapping[str, Any], read: Callable[[int, int], str]) -> None:
    """What the attempt printed; of a workflow, what its failed nodes printed last. `read` takes id and attempt."""
    children = [
        child for child in execution.get("children") or [] if child["status"] in ("failed", "terminated")
    ]
    for item in children or ([execution] if not execution.get("children") else []):
        text = read(item["id"], item["retry_count"] + 1).rstrip()
        if text and children:
            sys.stdout.write(t("── log of {node} ──", node=item["node"]) + "\n")
        if text:
            lines = text.splitlines()
            sys.stdout.write("\n".join(lines[-LAST_LINES:] if children else lines) + "\n")


def _nodes_of(client: Client, execution_id: int) -> str:
    try:
        children = client.get_execution(execution_id, include=("children",)).children or []
    except ZquantFlowError:
        return ""
    return ", ".join(f"{child.node} {child.id}" for child in children if child.id is not None)
