"""What does the command line say, in the language of the terminal?"""

from __future__ import annotations

from functools import cache

from zquant_flow.environment import terminal_language
from zquant_flow.wording import Language, Value, say, translated


def t(template: str, /, **values: Value) -> str:
    """`say`, translated at once: `t("{count} tasks", count=7)`. English reads no catalogue."""
    return shown(say(template, **values))


def shown(text: str) -> str:
    """A text in the language of the terminal, such as the message of an error."""
    return translated(text, language())


@cache
def language() -> Language:
    """The language of the terminal that this process began in."""
    return terminal_language()
