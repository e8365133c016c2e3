"""What is wrong with a definition, and where?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zquant_flow.errors import DefinitionError
from zquant_flow.wording import joined, say

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault: `path` in the words of the user's own text, a message with the way out, a code for machines."""

    path: Path
    message: str
    code: str = "invalid_value"

    @property
    def field(self) -> str:
        """The path as text: `tasks.1.dependencies.0`."""
        return ".".join(map(str, self.path))

    @property
    def described(self) -> str:
        """The message behind its field, where it has one."""
        if not self.path:
            return self.message
        return say("{field}: {message}", field=self.field, message=self.message)


class DefinitionErrors(DefinitionError):
    """All faults of one definition at once."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        detail = joined("; ", [error.described for error in errors])
        super().__init__(detail, field=self.errors[0].field if self.errors else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'cron'?)`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word[:200], list(known), n=1)
    return say(" (did you mean {word!r}?)", word=close[0]) if close else ""
