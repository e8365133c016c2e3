"""In which language does an answer speak?

In the one that `Accept-Language` prefers (RFC 9110 §12.5.4), else in that of the setting `locale`. The messages that the
origin prints are Chinese unless English is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import Request

from zquant_flow.wording import Language, Message, say, translated

LANGUAGES: tuple[Language, ...] = ("en", "zh")
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_ORIGIN = {"triggered": say("task triggered")}


def language_of(request: Request, default: Language | None = None) -> Language:
    """The language of an answer to this request; `default` stands in for the setting."""
    asked = ",".join(request.headers.getlist("accept-language"))
    return preferred(asked, default or _setting(request))


def preferred(asked: str, default: Language) -> Language:
    """The language that an `Accept-Language` prefers among ours; `default` where it names none of them.

    `zh-CN` and `zh-TW` are `zh`. Of equal ones the first that is named wins; `*` is any that is not named, the default first.
    """
    weights: dict[str, float] = {}
    for tag, weight in _weights(asked):
        weights.setdefault(tag, weight)
    rest = weights.pop("*", 0.0)
    for language in sorted(LANGUAGES, key=lambda language: language != default):
        weights.setdefault(language, rest)
    best = max(LANGUAGES, key=lambda language: (weights[language], -list(weights).index(language)))
    return best if weights[best] > 0 else default


def _weights(asked: str) -> Iterator[tuple[str, float]]:
    """The primary language of each entry with its weight from 0 to 1; what can't be read is passed over."""
    for entry in asked.lower().split(","):
        tag, *params = (part.strip() for part in entry.split(";"))
        weight = next((param[2:] for param in params if param.startswith("q=")), "1")
        if tag and _WEIGHT.fullmatch(weight):
            yield tag.split("-")[0], float(weight)


def _setting(request: Request) -> Language:
    return "zh" if request.app.state.control.locale == "zh" else "en"


def message(key: str, request: Request) -> str:
    """A message that the origin prints."""
    return translated(_ORIGIN[key], language_of(request, "zh"))


def said(value: Any, language: Language) -> Any:
    """A JSON value with every message in it in that language."""
    if isinstance(value, Message):
        return translated(value, language)
    if isinstance(value, dict):
        return {key: said(item, language) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [said(item, language) for item in value]
    return value


def headers_of(language: Language) -> dict[str, str]:
    """What an answer in a language says of itself, to readers and to caches."""
    return {"Content-Language": language, "Vary": "Accept-Language"}
