"""How do rows go into a file, piece by piece? The file has its name only when it is whole."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from zquant_flow.executors.failure import Failure, library
from zquant_flow.executors.sql_values import plain

Row = Sequence[Any]
_ARROW = (bool, int, float, str, bytes, Decimal, date, time, timedelta)


class Sink(Protocol):
    """Where pieces of rows go."""

    def write(self, rows: Sequence[Row]) -> None: ...


@contextmanager
def sink(path: str, columns: Sequence[str], mark: str) -> Iterator[Sink]:
    """A CSV or Parquet file; a hidden one beside it, named by `mark`, until the block has ended well."""
    folder, name = os.path.split(os.path.abspath(path))
    part = os.path.join(folder, f".{name}.{mark}.part")
    try:
        os.makedirs(folder, exist_ok=True)
        with ExitStack() as stack:
            kind = _Parquet if name.endswith(".parquet") else _Csv
            yield kind(part, columns, stack)
        os.replace(part, path)
    except OSError as exc:
        raise Failure("sql_failed", f"{path} can't be written: {exc.strerror or exc}") from None
    finally:
        if os.path.exists(part):
            os.remove(part)


class _Csv:
    """RFC 4180 in UTF-8; null is empty."""

    def __init__(self, path: str, columns: Sequence[str], stack: ExitStack) -> None:
        file = Path(path).open("w", encoding="utf-8", newline="")  # noqa: SIM115  (the stack closes it)
        stack.callback(file.close)
        self._writer = csv.writer(file)
        self._writer.writerow(columns)

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows([_text(value) for value in row] for row in rows)


class _Parquet:
    """The first piece says of which type a column is; one that is all null there is text."""

    def __init__(self, path: str, columns: Sequence[str], stack: ExitStack) -> None:
        self._arrow = library("pyarrow", "parquet")
        self._path, self._columns, self._stack = path, columns, stack
        self._types: list[Any] = []
        self._writer: Any = None
        if len(set(columns)) < len(columns):
            raise Failure(
                "sql_failed", "a Parquet file needs columns of different names: give them others by AS"
            )
        stack.callback(self._finish)

    def write(self, rows: Sequence[Row]) -> None:
        values = [list(map(_arrow_value, column)) for column in zip(*rows, strict=True)]
        if self._writer is None:
            self._open(values)
        arrays = [
            self._array(name, column, kind)
            for name, column, kind in zip(self._columns, values, self._types, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, names=list(self._columns)))

    def _open(self, values: Iterable[list[Any]]) -> None:
        arrow = self._arrow
        found = [self._array(name, column, None) for name, column in zip(self._columns, values, strict=True)]
        self._types = [arrow.string() if arrow.types.is_null(a.type) else a.type for a in found]
        schema = arrow.schema(list(zip(self._columns, self._types, strict=True)))
        self._writer = library("pyarrow.parquet", "parquet").ParquetWriter(self._path, schema)

    def _array(self, name: str, values: list[Any], kind: Any) -> Any:
        try:
            return self._arrow.array(values, type=kind)
        except (self._arrow.ArrowException, OverflowError) as exc:
            raise Failure("sql_failed", f"column {name!r} has values of several types: {exc}") from None

    def _finish(self) -> None:
        if self._writer is None:
            self._types = [self._arrow.string() for _ in self._columns]
            self._open([[] for _ in self._columns])
        self._writer.close()


def _text(value: Any) -> Any:
    value = plain(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _arrow_value(value: Any) -> Any:
    """As Arrow knows it; what it does not is text, and so are lists and mappings, as JSON."""
    return value if value is None or isinstance(value, _ARROW) else _text(value)
