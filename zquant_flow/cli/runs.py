"""What does `run` need of the place where a run happens, and which task of a file is meant?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from zquant_flow.errors import BadRequest
from zquant_flow.wording import Message, joined, say


class Runs(Protocol):
    """Where the run happens: a server, or a scheduler of our own."""

    def name_of(self, path: Path | None, target: str) -> str: ...
    def trigger(self, name: str, params: dict[str, Any]) -> int: ...
    def states(self, execution_id: int) -> Iterator[dict[str, Any]]: ...
    def log(self, execution_id: int, attempt: int) -> str: ...
    def terminate(self, execution_id: int) -> None: ...
    def close(self) -> None: ...


def choose(path: Path, names: Sequence[str], workflows: Collection[str]) -> str:
    """The task of a file that is meant: its only one, or the only one of `names` that is a workflow. Raises BadRequest."""
    found = names if len(names) == 1 else [name for name in names if name in workflows]
    if len(found) == 1:
        return found[0]
    if not names:
        raise BadRequest(say("{path} defines no task", path=str(path)))
    shown = joined(", ", (repr(name) for name in names))
    raise BadRequest(say("{path} defines {names}; name the one to run", path=str(path), names=shown))


def fault_at(path: str, line: int, column: int, message: str) -> Message:
    """What is wrong with a file, behind its place."""
    return say("{path}:{line}:{column}: {message}", path=path, line=line, column=column, message=message)
