"""How does the engine see a result that lies in a file?

As where it is and how large. It is read only where the engine itself names a part of it, and beside the engine's thread; all
others read the file where they run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zquant_flow.core.references import Absent
from zquant_flow.engine.memory import Filed, Result
from zquant_flow.logs import size
from zquant_flow.result_files import copy, open_first, result_path
from zquant_flow.wording import say

READ = 16 * 1024 * 1024
"""Bytes of a result that an expression, a template or `for_each` may look into."""


def result_of_row(row: Any) -> Result | None:
    """The result of an execution; of one that was taken over, its own file may not be made yet."""
    if row.result_size is None:
        return None if row.result is None else str(row.result)
    return Filed((row.id,) if row.reused_from is None else (row.id, row.reused_from), row.result_size)


def result_of_outcome(outcome: Mapping[str, Any]) -> Result | None:
    """The result of an attempt; `filed` is what has been read of it."""
    size = outcome.get("result_size")
    if size is None:
        return outcome.get("result")
    found: Filed | None = outcome.get("filed")
    return found or Filed((outcome["id"],), size)


class LargeResults:
    """The results that lie in files of a data folder. Safe from any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def paths(self, filed: Filed) -> list[str]:
        """Where it is, or if not there then in the next."""
        return [result_path(self._data_dir, id_) for id_ in filed.execution_ids]

    def read(self, filed: Filed) -> Filed:
        """With its text, or with the fault why there is none."""
        if filed.text is not None or filed.fault is not None:
            return filed
        if filed.size > READ:
            fault = say(
                "its result has {size} bytes, more than the {limit} that can be looked into: take it as an argument of a Python task, or from $ZQUANT_FLOW_RESULTS",
                size=filed.size,
                limit=READ,
            )
            return replace(filed, fault=fault)
        try:
            with open_first(self.paths(filed)) as file:
                return replace(filed, text=file.read().decode())
        except FileNotFoundError:
            fault = say("its result is not there any more: {file}", file=self.paths(filed)[0])
        except (OSError, ValueError) as exc:
            fault = say("its result can't be read: {error}", error=str(exc))
        return replace(filed, fault=fault)

    def is_there(self, result: Result | None) -> bool:
        """Whether its file is as large as it should be; what is in a row is."""
        return not isinstance(result, Filed) or any(size(path) == result.size for path in self.paths(result))

    def copy(self, filed: Filed, execution_id: int) -> None:
        """Let the result be that of this execution, too; raises OSError."""
        copy(self.paths(filed), result_path(self._data_dir, execution_id))


class Unread(Mapping[str, Any]):
    """A node whose result the engine has not read: who asks for it learns why."""

    def __init__(self, name: str, filed: Filed) -> None:
        self._name = name
        self._filed = filed

    def __getitem__(self, key: str) -> Any:
        if key == "result":
            raise Absent(say("nodes.{name}: {fault}", name=self._name, fault=self._filed.fault or "?"))
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("result",))

    def __len__(self) -> int:
        return 1
