"""How do things read in a terminal, and without one? Tables and facts: coloured by rich here, plain aligned columns there."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table
    from rich.text import Text

_STYLES = {
    "running": "cyan",
    "paused": "yellow",
    "success": "green",
    "completed": "yellow",
    "failed": "red",
    "terminated": "red",
    "fired": "green",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}
_FAINT = frozenset({"pending", "skipped", "disabled"})


class Cell(NamedTuple):
    """A text and how it looks in a terminal, in rich's words."""

    text: str
    style: str = ""


Row = Sequence[str | Cell]


def status(word: str | None) -> Cell:
    """A status in its colour."""
    if word is None:
        return Cell("")
    return Cell(word, "dim" if word in _FAINT else _STYLES.get(word, ""))


def faint(text: str) -> Cell:
    """What is not read first."""
    return Cell(text, "dim")


def print_table(titles: Sequence[str], rows: Iterable[Row]) -> None:
    """A table with a line of titles."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(titles, rows))
        return
    sys.stdout.write(_aligned([[title.upper() for title in titles], *(_texts(row) for row in rows)]))


def print_facts(facts: Iterable[tuple[str, str | Cell]]) -> None:
    """Names and values, a line for each; those without a value are left out."""
    known = [(name, value) for name, value in facts if (value.text if isinstance(value, Cell) else value)]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in known:
            grid.add_row(_rich(name), _rich(value))
        Console().print(grid)
        return
    sys.stdout.write(_aligned([[name, *_texts([value])] for name, value in known]))


def print_json(model: BaseModel) -> None:
    """The model as the API would answer it, in one line."""
    sys.stdout.write(model.model_dump_json(by_alias=True) + "\n")


def print_ids(ids: Iterable[object]) -> None:
    """One a line."""
    sys.stdout.write("".join(f"{id_}\n" for id_ in ids))


def note(text: str) -> None:
    """What is said beside the answer: on standard error, so that it never gets into a pipe."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def rich_table(titles: Sequence[str], rows: Iterable[Row]) -> Table:
    """The table for a terminal; long texts go on in the next line, ids and statuses stay whole."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(_rich, row))
    return table


def width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _rich(cell: str | Cell) -> Text:
    from rich.text import Text

    return Text(cell.text, style=cell.style) if isinstance(cell, Cell) else Text(cell)


def _texts(row: Row) -> list[str]:
    """One line each: a table for scripts has a row in a line."""
    return [" ".join((cell.text if isinstance(cell, Cell) else cell).split()) for cell in row]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            text + " " * (space - width(text)) for text, space in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
