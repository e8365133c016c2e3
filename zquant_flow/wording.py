"""How does a message speak several languages?

A `Message` is English text that remembers what it was made of, so that whoever shows it can say it in another language:
the template is looked up in a gettext catalogue (`locale/`), and its values are filled in again, translated themselves
where they are messages. English never opens a catalogue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal

Language = Literal["en", "zh"]
Value = str | int | float | bool | None
Values = Mapping[str, Value] | tuple[str, ...]
"""What fills a template by name; or the parts that a template stands between."""

DOMAIN = "zquant_flow"
CATALOGUES = os.path.join(os.path.dirname(__file__), "locale")


class Message(str):
    """English text, and the `template` and `values` it was made of. `say` and `joined` make it."""

    __slots__ = ("template", "values")
    template: str
    values: Values

    def __new__(cls, template: str, values: Values) -> Message:
        self = super().__new__(cls, _filled(template, values))
        self.template, self.values = template, values
        return self

    def __reduce__(self) -> tuple[type[Message], tuple[str, Values]]:
        return type(self), (self.template, self.values)


def say(template: str, /, **values: Value) -> Message:
    """`say("no task has the id {id}", id=7)`. The template is a literal, so that it can be found and translated.

    Without values it is taken as it is: braces in it are text.
    """
    return Message(template, values)


def joined(separator: str, parts: Iterable[str]) -> Message:
    """The parts in one text; messages among them stay translatable, and so does the separator."""
    return Message(separator, tuple(parts))


def spoken(error: BaseException) -> str:
    """What an exception was raised with, as the Message that it perhaps is; `str(error)` forgets that."""
    told: object = error.args[0] if len(error.args) == 1 else None
    if isinstance(told, Message):
        return told
    return str(error)


def translated(text: str, language: Language) -> str:
    """The text in that language; English where it is no Message, or where the catalogue has nothing to say. Never raises."""
    if language == "en" or not isinstance(text, Message):
        return str(text)
    return _rendered(text, _catalogue(language))


def packed(message: str) -> str | None:
    """A Message as ASCII text that `unpacked` reads, for a database or another process; None for other text."""
    if not isinstance(message, Message):
        return None
    return json.dumps(_plain(message), separators=(",", ":"), default=str)


def unpacked(text: str) -> Message:
    """The inverse of `packed`; raises ValueError for text that it did not write."""
    try:
        return _message(json.loads(text))
    except (TypeError, LookupError, AttributeError) as exc:
        raise ValueError(f"no message: {text:.100}") from exc


def restored(text: str, message: str | None) -> str:
    """The Message that was packed beside its English text; the text itself where there is none, or none that can be read."""
    try:
        return unpacked(message) if message else text
    except ValueError:
        return text


def _filled(template: str, values: Values) -> str:
    if isinstance(values, tuple):
        return template.join(values)
    return template.format(**values) if values else template


def _rendered(message: Message, lookup: Callable[[str], str]) -> str:
    template = lookup(message.template) if message.template else ""  # gettext answers its header for ""
    values: Values
    if isinstance(message.values, tuple):
        values = tuple(
            _rendered(part, lookup) if isinstance(part, Message) else part for part in message.values
        )
    else:
        values = {
            name: _rendered(value, lookup) if isinstance(value, Message) else value
            for name, value in message.values.items()
        }
    try:
        return _filled(template, values)
    except (LookupError, ValueError, TypeError, AttributeError):
        return str(message)


@cache
def _catalogue(language: Language) -> Callable[[str], str]:
    import gettext  # what English never pays, and workers neither
    import logging
    import struct

    try:
        return gettext.translation(DOMAIN, CATALOGUES, [language]).gettext
    except (OSError, ValueError, struct.error) as exc:
        logging.getLogger(__name__).warning(
            "the texts in %s can't be read: %s", language, exc, extra={"action": "catalogue_unreadable"}
        )
        return str


def _plain(value: Value) -> Any:
    if not isinstance(value, Message):
        return value
    if isinstance(value.values, tuple):
        return [value.template, [_plain(part) for part in value.values]]
    return [value.template, {name: _plain(item) for name, item in value.values.items()}]


def _message(plain: Any) -> Message:
    template, values = plain
    if isinstance(values, list):
        return Message(template, tuple(map(_value, values)))
    return Message(template, {name: _value(item) for name, item in values.items()})


def _value(plain: Any) -> Any:
    if isinstance(plain, dict):
        raise ValueError("a message holds scalars and messages")
    return _message(plain) if isinstance(plain, list) else plain
