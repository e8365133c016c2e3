"""What can a plugin show on the page? A panel: blocks of plain values, which the page draws with its own parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST_BLOCKS = 100
MOST_ROWS = 5_000

Text = Annotated[str, Field(max_length=10_000)]
Cell = str | int | float | bool | None


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(max_length=200)] = ""


class Stat(_Block):
    """One figure."""

    type: Literal["stat"] = "stat"
    value: Cell
    unit: str = ""


class Table(_Block):
    """Rows below columns."""

    type: Literal["table"] = "table"
    columns: Annotated[list[str], Field(max_length=100)]
    rows: Annotated[list[list[Cell]], Field(max_length=MOST_ROWS)]


class Series(_Block):
    """Points over time or over numbers: `[[x, y], ...]`; times in microseconds since 1970."""

    type: Literal["series"] = "series"
    points: Annotated[list[tuple[float, float | None]], Field(max_length=MOST_ROWS)]
    time: bool = True
    unit: str = ""


class Words(_Block):
    """Plain text."""

    type: Literal["text"] = "text"
    text: Text


class Link(_Block):
    """A way to another page: of ours (`/tasks/3`), or `https://`."""

    type: Literal["link"] = "link"
    text: Text
    url: Annotated[str, Field(max_length=2_000, pattern=r"^(/$|/[^/\\\\]|https?://)")]


Block = Annotated[Stat | Table | Series | Words | Link, Field(discriminator="type")]
_BLOCKS = TypeAdapter(Annotated[list[Block], Field(max_length=MOST_BLOCKS)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel at `/x/PLUGIN/NAME`. `blocks` is called for each look at it: dicts of the shapes above."""

    name: str
    title: str
    blocks: Callable[[], Sequence[Any]]


def blocks_of(panel: Panel) -> list[dict[str, Any]]:
    """What the panel shows now, checked. Raises what the plugin raises, and ValueError for what is no block."""
    given = [block.model_dump() if isinstance(block, BaseModel) else block for block in panel.blocks()]
    return [block.model_dump(mode="json") for block in _BLOCKS.validate_python(given)]
