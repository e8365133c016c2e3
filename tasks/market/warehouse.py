"""The tables of the market pipeline: one SQLite file in the output folder. Every write replaces, so steps can be run again."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (day TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS stocks (symbol TEXT PRIMARY KEY, name TEXT, industry TEXT);
CREATE TABLE IF NOT EXISTS bars (
    symbol TEXT, day TEXT, open REAL, high REAL, low REAL, close REAL, volume INTEGER, PRIMARY KEY (symbol, day));
CREATE TABLE IF NOT EXISTS basics (
    symbol TEXT, day TEXT, change REAL, amplitude REAL, PRIMARY KEY (symbol, day));
CREATE TABLE IF NOT EXISTS factors (
    symbol TEXT, day TEXT, ma5 REAL, ma20 REAL, momentum20 REAL, volatility20 REAL, PRIMARY KEY (symbol, day));
"""


@contextmanager
def open_warehouse(output: str) -> Iterator[sqlite3.Connection]:
    """A connection whose work is one transaction. Two steps may write at once: the later one waits."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "market.db", timeout=30)) as database:
        database.executescript(SCHEMA)
        with database:
            yield database


def replace(database: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> int:
    """Write rows over those with the same key; how many they were."""
    rows = list(rows)
    if rows:
        places = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)
    return len(rows)


def symbols(database: sqlite3.Connection) -> list[str]:
    return [symbol for (symbol,) in database.execute("SELECT symbol FROM stocks ORDER BY symbol")]
