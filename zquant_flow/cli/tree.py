"""How does a run look while it goes on? A live tree in a terminal, a line for each change without one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zquant_flow.cli.language import t

if TYPE_CHECKING:
    from rich.console import RenderableType

Show = Callable[[dict[str, Any]], None]

_SIGNS = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "paused": ("⏸", "yellow"),
    "success": ("✔", "green"),
    "completed": ("◐", "yellow"),
    "failed": ("✘", "red"),
    "terminated": ("■", "red"),
    "skipped": ("↷", "dim"),
}
_ROWS = 30
"""Nodes shown at once; beyond that, those that run or failed come first."""


@contextmanager
def follow(name: str, *, quiet: bool) -> Iterator[Show]:
    """A function that shows the execution as it is now."""
    if quiet:
        yield lambda execution: None
    elif sys.stdout.isatty():
        with _live() as show:
            yield lambda execution: show(_tree(name, execution))
    else:
        yield _lines(name)


@contextmanager
def _live() -> Iterator[Callable[[RenderableType], None]]:
    from rich.live import Live

    with Live(refresh_per_second=10, transient=False) as live:
        yield live.update


def _lines(name: str) -> Show:
    """Print each change of a status once."""
    seen: dict[str, str] = {}

    def show(execution: dict[str, Any]) -> None:
        for item in [*(execution.get("children") or []), execution]:
            label = item["node"] if item is not execution else name
            if seen.get(label) == item["status"] or item["status"] == "pending":
                continue
            seen[label] = item["status"]
            sys.stdout.write(f"{item['status']:<10} {label}{_tail(item)}\n")
        sys.stdout.flush()

    return show


def _tail(item: dict[str, Any]) -> str:
    parts = []
    if item["duration_seconds"] is not None:
        parts.append(f"{item['duration_seconds']:.2f} s")
    if item["error_message"]:
        parts.append(str(item["error_message"]))
    return "  " + "  ".join(parts) if parts else ""


def _tree(name: str, execution: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True)
    _row(table, "", name, execution)
    children = execution.get("children") or []
    shown = children
    if len(children) > _ROWS:
        urgent = [
            child for child in children if child["status"] in ("running", "failed", "terminated", "paused")
        ]
        rest = [child for child in reversed(children) if child not in urgent[:_ROWS]]
        shown = [*urgent[:_ROWS], *rest[: max(0, _ROWS - len(urgent))]]
    for position, child in enumerate(shown):
        branch = "└─" if position == len(shown) - 1 else "├─"
        _row(table, branch, child["node"], child)
    if len(children) > len(shown):
        table.add_row("", "   " + t("and {count} more nodes", count=len(children) - len(shown)), "", "")
    return table


def _row(table: Any, branch: str, label: str, item: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.progress_bar import ProgressBar

    sign, style = _SIGNS[item["status"]]
    percent = item["progress_percent"]
    bar: Any = ""
    if item["status"] == "running" and percent is not None:
        bar = ProgressBar(total=100, completed=percent, width=24)
    elif item["status"] == "running" and item.get("node"):
        bar = "[dim]…[/dim]"
    facts = _tail(item)
    if item["status"] == "running" and item.get("current_item"):
        facts = f"  {item['current_item']}"
    table.add_row(
        f"[dim]{branch}[/dim][{style}]{sign}[/{style}]", escape(label), bar, f"[dim]{escape(facts)}[/dim]"
    )
