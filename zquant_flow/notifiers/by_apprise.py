"""How are the many other channels reached? By the library apprise (extra `notify`), whose addresses name them."""

from __future__ import annotations

import logging
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator

from zquant_flow.notifiers.reached import Reached
from zquant_flow.notifiers.secret_words import secret_of
from zquant_flow.plugin.contract import Config
from zquant_flow.plugin.notifiers import Message, Notifier
from zquant_flow.wording import joined, say

_KINDS = {"info": "info", "success": "success", "warning": "warning", "error": "failure"}


class AppriseConfig(Config):
    urls: Annotated[list[SecretStr], Field(default_factory=list, max_length=100)]
    urls_env: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @field_validator("urls", mode="before")
    @classmethod
    def _list_of_one(cls, urls: object) -> object:
        return [urls] if isinstance(urls, str) else urls

    @model_validator(mode="after")
    def _is_somewhere(self) -> AppriseConfig:
        if bool(self.urls) == (self.urls_env is not None):
            raise ValueError(say("it has one of urls and urls_env"))
        return self


class AppriseNotifier(Notifier):
    name = "apprise"
    Config: ClassVar[type[Config]] = AppriseConfig

    def __init__(self) -> None:
        self._reached = Reached()

    def send(self, message: Message, config: AppriseConfig) -> None:
        """To all addresses, one after the other; those that fail are tried again, and nobody gets it twice."""
        apprise = _library()
        faults = []
        left = self._reached.left(message.id, _urls(config))
        for number, url in enumerate(_urls(config), start=1):
            if url not in left:
                continue
            service = apprise.Apprise()
            with _Told() as told:
                if not service.add(url):
                    raise ValueError(say("address {number} is none that apprise knows", number=number))
                sent = service.notify(
                    title=" ".join(message.title.split()),
                    body=message.body,
                    notify_type=_KINDS[message.level],
                    body_format="text",
                )
            if sent:
                self._reached.note(message.id, [url])
            else:
                faults.append(say("address {number}: {said}", number=number, said=told.last))
        if faults:
            raise RuntimeError(joined("; ", faults))


class _Told(logging.Handler):
    """What apprise logs while `with` lasts: the only place where it says why something failed.

    It works in threads of its own, so that words can't be told from those about another channel: where two send at once, there are none.
    """

    _under_way: ClassVar[list[_Told]] = []

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: str = ""
        self._alone = True

    @property
    def last(self) -> str:
        return self._said if self._said and self._alone else say("it does not say why")

    def emit(self, record: logging.LogRecord) -> None:
        self._said = record.getMessage()[:500]

    def __enter__(self) -> _Told:
        self._under_way.append(self)
        if len(self._under_way) > 1:
            for each in tuple(self._under_way):
                each._alone = False
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)
        self._under_way.remove(self)


def _urls(config: AppriseConfig) -> list[str]:
    if config.urls_env is not None:
        return (secret_of(None, config.urls_env) or "").split()
    return [url.get_secret_value() for url in config.urls]


def _library() -> Any:
    import sys

    try:
        import apprise
    except ImportError as exc:
        raise RuntimeError(
            say(
                "apprise is not installed: {command}",
                command=f"{sys.executable} -m pip install 'zquant-flow[notify]'",
            )
        ) from exc
    logging.getLogger("apprise").propagate = False  # its words may hold addresses, and secrets with them
    return apprise
