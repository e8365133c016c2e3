"""What came of a run: an execution with its result, its log, and all that is below it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zquant_flow.api.shapes import shown_name, stored
from zquant_flow.core.status import FINAL, Status
from zquant_flow.logs import LIMIT, log_path, read
from zquant_flow.result_files import result_path
from zquant_flow.store import queries

if TYPE_CHECKING:
    from zquant_flow.store.database import Database

LOG_BYTES = LIMIT + 4096
"""So much of the log of each attempt is read: all that a log can have."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution. `name` is that of its node, or of its task; `begun`: whether an attempt has begun; `attempts` are the
    outcomes of those that are over.

    `log` is that of all attempts. `nodes` are those of a workflow, by name; the items of a `for_each` are `NAME[0]`, `NAME[1]`, ...
    """

    id: int
    name: str
    status: str
    begun: bool = False
    result: Any = None
    log: str = ""
    error_code: str | None = None
    error_message: str | None = None
    skip_reason: str | None = None
    attempts: tuple[str, ...] = ()
    nodes: Mapping[str, Run] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return Status(self.status) in FINAL

    def __getitem__(self, node: str) -> Run:
        """What became of a node. Raises KeyError that names those that there are."""
        if node not in self.nodes:
            raise KeyError(f"{self.name} has no node {node!r}; it has {', '.join(self.nodes) or 'none'}")
        return self.nodes[node]

    def __str__(self) -> str:
        """The tree as text, with what went wrong: what a failed assertion shows."""
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        why = f" ({self.error_code}: {self.error_message})" if self.error_code else ""
        yield f"{indent}{self.name}: {self.status}{why}"
        if self.error_code and not self.nodes:
            yield from (f"{indent}  | {line}" for line in self.log.splitlines()[-10:])
        for node in self.nodes.values():
            yield from node._lines(indent + "  ")


def run_of(database: Database, data_dir: Path, execution_id: int) -> Run:
    """An execution as it stands now, and all that is below it."""
    row = queries.execution_row(database, execution_id)
    if row is None:
        raise LookupError(f"there is no execution {execution_id}")
    return _run(database, data_dir, row, row.node or shown_name(_task_name(database, row.task_id)))


def _run(database: Database, data_dir: Path, row: Any, name: str) -> Run:
    attempts = queries.attempts_of(database, row.id)
    children = queries.children_of(database, row)
    return Run(
        id=row.id,
        name=name,
        status=row.status,
        begun=row.start_time is not None,
        result=_result(data_dir, row),
        log="".join(_log(data_dir, row.id, number) for number in range(1, len(attempts) + 2)),
        error_code=row.error_code,
        error_message=row.error_message,
        skip_reason=row.skip_reason,
        attempts=tuple(attempt.outcome for attempt in attempts),
        nodes={key: _run(database, data_dir, child, key) for key, child in _keyed(children, name)},
    )


def _keyed(children: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Nodes by their names; items of a `for_each`, which have that of the node itself, by number."""
    for number, child in enumerate(children):
        yield (child.node if child.node not in (None, name) else f"{name}[{number}]"), child


def _task_name(database: Database, task_id: int) -> str:
    row = queries.task_row(database, task_id)
    return "" if row is None else str(row.name)


def _log(data_dir: Path, execution_id: int, attempt: int) -> str:
    return read(log_path(data_dir, execution_id, attempt), 0, LOG_BYTES)[0].decode(errors="replace")


def _result(data_dir: Path, row: Any) -> Any:
    """The result, from its file where it is too large for its row."""
    path = result_path(data_dir, row.id)
    if row.result is None and row.result_size and os.path.exists(path):
        return json.loads(Path(path).read_bytes())
    return stored(row.result)
