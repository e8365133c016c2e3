"""How does a task read in one line? Its name, and its schedule in words with the zone it is read in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from zquant_flow.cli.language import language, t
from zquant_flow.cli.language import shown as told
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import zone_of
from zquant_flow.core.starters import starters_of
from zquant_flow.core.words import describe

SHOWN = 20


def listing(tasks: Iterable[TaskDef], zone: ZoneInfo, *, shown: int = SHOWN) -> list[str]:
    """A line for each task, by name, and one for the rest; `zone` is the default zone."""
    ordered = sorted(tasks, key=lambda task: task.name)
    names = [task.name for task in ordered[:shown]]
    width = min(40, max(map(_width, names), default=0))
    lines = [
        f"  {task.name}{' ' * max(0, width - _width(task.name))}  {_when(task, zone)}"
        for task in ordered[:shown]
    ]
    if len(ordered) > shown:
        lines.append("  " + t("and {count} more", count=len(ordered) - shown))
    return lines


def _when(task: TaskDef, zone: ZoneInfo) -> str:
    parts = [told(starter) for starter in starters_of(task)]
    if task.schedule is not None:
        read_in = zone_of(task.schedule, zone)
        parts.insert(0, f"{describe(task.schedule, language=language(), zone=read_in)}, {read_in.key}")
    words = "; ".join(parts) or t("when triggered")
    return words if task.enabled else t("{schedule} (disabled)", schedule=words)


def _width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
