"""What runs now? A table that is told of every change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zquant_flow.cli.connect import live
from zquant_flow.cli.instants import distance, lasting, local
from zquant_flow.cli.language import t
from zquant_flow.cli.tables import Row, faint, rich_table, status
from zquant_flow.client import Client, Event
from zquant_flow.core.status import ACTIVE, FINAL

if TYPE_CHECKING:
    from rich.console import RenderableType

_ENDED_SHOWN = 10
_FIELDS = (
    "id",
    "task_id",
    "task_name",
    "status",
    "node",
    "progress_percent",
    "current_item",
    "start_time",
    "end_time",
    "duration_seconds",
    "error_message",
    "waiting_for",
    "trigger_type",
)


def watch(*, as_json: bool, server: str | None, data: Path | None) -> None:
    """Show until Ctrl-C; as JSON each event in a line, without a terminal a line for each change of a status."""
    with live(server, data) as client:
        if as_json:
            for event in client.stream_events():
                line = {"type": event.type, "seq": event.seq, **event.data}
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                sys.stdout.flush()
        elif sys.stdout.isatty():
            _live(client)
        else:
            _lines(client)


class Board:
    """What runs or waits, and what ended last, by what the server tells."""

    def __init__(self) -> None:
        self.active: dict[int, dict[str, Any]] = {}
        self.ended: list[dict[str, Any]] = []

    def replace(self, executions: Iterator[Mapping[str, Any]]) -> None:
        """Begin with these."""
        self.active = {execution["id"]: dict(execution) for execution in executions}

    def take(self, told: Mapping[str, Any]) -> bool:
        """Whether the status of an execution is another than before."""
        known = self.active.get(told["id"], {})
        news = {name: told.get(name) for name in _FIELDS if name in told}
        if told["status"] in FINAL:
            self.active.pop(told["id"], None)
            self.ended = [{**known, **news}, *(item for item in self.ended if item["id"] != told["id"])][
                :_ENDED_SHOWN
            ]
        else:
            self.active[told["id"]] = {**known, **news}
        return bool(known.get("status") != told["status"])

    def rows(self) -> list[Row]:
        """Active ones by age, then those that ended last."""
        return [_row(item) for _, item in sorted(self.active.items())] + [_row(item) for item in self.ended]

    def __rich__(self) -> RenderableType:
        title = [t("id"), t("task"), t("status"), t("began"), t("took"), ""]
        if not self.active and not self.ended:
            return faint_text(t("nothing runs; Ctrl-C ends this"))
        return rich_table(title, self.rows())


def faint_text(text: str) -> RenderableType:
    """Dim words for a terminal."""
    from rich.text import Text

    return Text(text, style="dim")


def _changes(client: Client, board: Board) -> Iterator[Event]:
    """The board is brought up to date at the beginning, and whenever the connection was lost."""
    for event in client.stream_events(types=["execution"], hello=True):
        if event.type in ("hello", "reset"):
            active = client.iter_executions(status=sorted(ACTIVE))
            board.replace(execution.model_dump(mode="json") for execution in active)
        yield event


def _live(client: Client) -> None:
    from rich.live import Live

    board = Board()
    with Live(board, refresh_per_second=4, transient=False):
        for event in _changes(client, board):
            if event.type == "execution":
                board.take(event.data)


def _lines(client: Client) -> None:
    board = Board()
    for event in _changes(client, board):
        if event.type in ("hello", "reset"):
            changed = [item for _, item in sorted(board.active.items())]
        else:
            changed = [dict(event.data)] if board.take(event.data) else []
        for item in changed:
            when = local(datetime.now(UTC))
            remark = item.get("error_message") or ""
            words = (when, str(item["id"]), f"{item['status']:<10}", _name(item), remark)
            sys.stdout.write("  ".join(words).rstrip() + "\n")
        sys.stdout.flush()


def _row(item: Mapping[str, Any]) -> Row:
    began = _instant(item.get("start_time"))
    now = datetime.now(UTC)
    took = item.get("duration_seconds")
    if took is None and began is not None and item["status"] in ACTIVE:
        took = max(0.0, (now - began).total_seconds())
    return (
        str(item["id"]),
        _name(item),
        status(item["status"]),
        "" if began is None else distance(began - now),
        lasting(took if took is None or took < 10 or item["status"] in FINAL else float(int(took))),
        faint(_remark(item)),
    )


def _remark(item: Mapping[str, Any]) -> str:
    if item.get("error_message"):
        return str(item["error_message"])
    if item.get("waiting_for"):
        return t("waits for {what}", what=item["waiting_for"])
    percent = item.get("progress_percent")
    if percent is None or item["status"] in FINAL:
        return ""
    done = int(percent / 5)
    return f"{'━' * done}{'╌' * (20 - done)} {percent:3.0f} %  {item.get('current_item') or ''}".rstrip()


def _name(item: Mapping[str, Any]) -> str:
    name = str(item.get("task_name") or item.get("task_id") or "")
    return f"{name} / {item['node']}" if item.get("node") else name


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
