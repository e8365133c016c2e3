"""Which words does a command consist of, and does it need a shell?

SEMANTICS §5.1. Pure: used to check definitions as well as to run them. A template (`{{ params.symbol }}`) is opaque here:
it belongs to the word it stands in, blanks, quotes and all, and is rendered later.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from zquant_flow.errors import DefinitionError
from zquant_flow.wording import say, spoken

OPERATORS = frozenset("|&;<>$*?~`\n")
"""Characters that mean something to a shell when nothing quotes them."""

_ALIVE_IN_DOUBLE_QUOTES = frozenset("$`")
DEFAULT_SHELL = "/bin/sh"
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_MASK = "\ue000"
"""Stands for a template while words are told apart: private use, a letter to every rule of quoting."""


def needs_shell(command: str) -> bool:
    """Whether `command` has an operator that no quote protects; double quotes leave `$` and the backquote alive."""
    return find_operator(command) is not None


def find_operator(command: str) -> str | None:
    """The first such operator."""
    quote = ""
    characters = iter(_TEMPLATE.sub(_MASK, command))
    for character in characters:
        if quote == "'":
            quote = "" if character == "'" else quote
        elif character == "\\":
            next(characters, None)
        elif character == '"':
            quote = "" if quote else '"'
        elif quote:
            if character in _ALIVE_IN_DOUBLE_QUOTES:
                return character
        elif character == "'":
            quote = "'"
        elif character in OPERATORS:
            return character
    return None


def split_command(command: str | Sequence[str], shell: str | bool | None = None) -> list[str]:
    """The argv of a command: a list as it is, a plain string as POSIX words, any other through the shell.

    `shell`: path of the shell to use, or False to forbid one. Raises DefinitionError when there is nothing to run,
    a quote stays open, or a shell is needed and forbidden.
    """
    if not isinstance(command, str):
        words = list(command)
        if not words or not words[0]:
            raise DefinitionError(say("the command is empty"), field="command")
        return words
    command = command.strip()
    if not command:
        raise DefinitionError(say("the command is empty"), field="command")
    operator = find_operator(command)
    if operator is None:
        return _words(command)
    if shell is False:
        raise DefinitionError(
            say(
                "the command has {operator!r}, which only a shell understands, and `shell` is false: quote it, or write the command as a list",
                operator=operator,
            ),
            field="command",
        )
    return [shell if isinstance(shell, str) and shell else DEFAULT_SHELL, "-c", command]


def _words(command: str) -> list[str]:
    templates = iter(_TEMPLATE.findall(command))
    try:
        words = shlex.split(_TEMPLATE.sub(_MASK, command))
    except ValueError as exc:
        raise DefinitionError(
            say("the command can't be split into words: {error}", error=spoken(exc)), field="command"
        ) from exc
    if not words or not words[0]:
        raise DefinitionError(say("the command is empty"), field="command")
    return [re.sub(_MASK, lambda _: next(templates), word) for word in words]
