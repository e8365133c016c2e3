"""Where do the secrets of a channel come from, and how are they kept out of what is shown?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from zquant_flow.wording import say

HIDDEN = "***"
_SHORTEST = 6
"""Parts of an address shorter than this are words, not secrets."""


def secret_of(value: SecretStr | None, variable: str | None) -> str | None:
    """A secret as it is said, or as the environment variable has it. Raises LookupError for a variable that is not set."""
    if value is not None:
        return value.get_secret_value()
    if variable is None:
        return None
    found = os.environ.get(variable)
    if found is None:
        raise LookupError(say("the environment variable {name} is not set", name=variable))
    return found


def secrets_in(config: BaseModel) -> list[str]:
    """Every secret of a channel, the longest first; of addresses their parts too."""
    found = set(_parts(_values(config)))
    return sorted(found, key=len, reverse=True)


def without(secrets: Iterable[str], text: str) -> str:
    """The text with all of them hidden."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            said = getattr(value, name)
            yield from _values(said)
            if name.endswith("_env") and isinstance(said, str):
                yield os.environ.get(said, "")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _values(item)


def _parts(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        if secret:
            yield secret
        for word in secret.split():
            scheme, found, rest = word.partition("://")
            if found:
                hosts = (_host_of(word),) if scheme.lower() in ("http", "https") else ()
                words = re.split(r"[/?&=@:]+", rest)
                yield from (part for part in words if len(part) >= _SHORTEST and part.lower() not in hosts)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
