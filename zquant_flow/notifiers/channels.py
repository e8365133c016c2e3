"""Which channels are there, and are they ready? Made of the settings and of the notifiers that plugins bring."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from time import monotonic

from pydantic import BaseModel, ValidationError

from zquant_flow.clock import Clock, SystemClock
from zquant_flow.complaints import complaint
from zquant_flow.errors import ExpressionError, NotFound
from zquant_flow.notifiers.outbox import Outbox, Send, SendingFailed, Tally, not_ready
from zquant_flow.notifiers.secret_words import secrets_in, without
from zquant_flow.notifiers.texts import Occurrence, Writer
from zquant_flow.notifiers.throttle import Throttle
from zquant_flow.plugin.channels import Channel, NotifySettings
from zquant_flow.plugin.notifiers import Message, Notifier
from zquant_flow.wording import Language, joined, say, spoken
from zquant_flow.wording import Message as Words

log = logging.getLogger(__name__)

DRAIN_SECONDS = 2.0
"""So long a stop waits for all channels to send the last."""

Classes = Mapping[str, type[Notifier]]


class NotReady(Exception):
    """A channel is written wrongly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """A channel as it stands. `error`: why it is not ready, or does without a template."""

    name: str
    type: str
    error: str | None
    waiting: int
    tally: Tally


class Channels:
    """The channels of a process, each with a thread of its own once it is told something.

    `use` says which notifiers there are; `stop` sends what waits, and may be called twice.
    """

    def __init__(
        self,
        settings: NotifySettings,
        *,
        data_dir: Path = Path(),
        language: Language = "en",
        zone: tzinfo = UTC,
        link: Callable[[int], str | None] = lambda execution_id: None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self._language, self._zone, self._data_dir, self._link = language, zone, data_dir, link
        self._clock = clock or SystemClock()
        self._errors: dict[str, str] = {}
        self._template_errors: dict[str, str] = {}
        self._outboxes: dict[str, Outbox] = {}
        for name, channel in settings.channels.items():
            self._add(name, channel)

    @property
    def names(self) -> Sequence[str]:
        """All of them, ready or not."""
        return tuple(self.settings.channels)

    def use(self, classes: Classes) -> None:
        """These notifiers hold from now on. What is wrong with a channel is logged, and stands in `listed`."""
        for name, outbox in self._outboxes.items():
            channel = self.settings.channels[name]
            try:
                outbox.send = _sending(channel, classes)
            except NotReady as exc:
                self._errors[name] = why = spoken(exc)
                outbox.send = not_ready(why)
                log.error("channel %s is not ready: %s", name, why, extra={"action": "channel_not_ready"})
            else:
                self._errors.pop(name, None)

    def tell(self, name: str, occurrence: Occurrence) -> None:
        """Send of this by that channel; nothing where there is none. Returns at once."""
        outbox = self._outboxes.get(name)
        if outbox is not None:
            outbox.tell(occurrence)

    def trial(self, name: str) -> str | None:
        """Send a test by that channel, once and now; None, or why it did not get there. Raises NotFound."""
        outbox = self._outboxes.get(name)
        if outbox is None:
            raise NotFound(unknown_channel(name, self.names))
        return outbox.deliver(outbox.writer.trial(name))

    def listed(self) -> list[ChannelState]:
        """All channels by name."""
        return [
            ChannelState(
                name=name,
                type=channel.type,
                error=self._errors.get(name) or self._template_errors.get(name),
                waiting=self._outboxes[name].waiting,
                tally=self._outboxes[name].tally,
            )
            for name, channel in sorted(self.settings.channels.items())
        ]

    def stop(self) -> None:
        """Give what waits one more try, all together at most two seconds."""
        for outbox in self._outboxes.values():
            outbox.stop()
        end = monotonic() + DRAIN_SECONDS
        for outbox in self._outboxes.values():
            outbox.wait(max(0.0, end - monotonic()))

    def _add(self, name: str, channel: Channel) -> None:
        about = {"zone": self._zone, "data_dir": self._data_dir, "link": self._link}
        try:
            writer = Writer(channel, self._language, **about)  # type: ignore[arg-type]
        except ExpressionError as exc:
            self._template_errors[name] = exc.detail
            log.error(
                "a template of channel %s can't be used: %s",
                name,
                exc.detail,
                extra={"action": "channel_not_ready"},
            )
            plain = channel.model_copy(update={"title": None, "body": None})
            writer = Writer(plain, self._language, **about)  # type: ignore[arg-type]
        self._outboxes[name] = Outbox(
            name,
            send=not_ready(say("no plugins are loaded")),
            writer=writer,
            throttle=Throttle(every=channel.every, per_minute=channel.per_minute),
            clock=self._clock,
        )


def unknown_channel(name: str, known: Sequence[str]) -> Words:
    """That there is no such channel, and which there are."""
    return say(
        "no channel is named {name!r}: there are {known}",
        name=name,
        known=joined(", ", sorted(known)) if known else say("none"),
    )


def _sending(channel: Channel, classes: Classes) -> Send:
    """How a channel sends. Raises NotReady."""
    cls = classes.get(channel.type)
    if cls is None:
        raise NotReady(
            say(
                "no notifier is named {name!r}: there are {known}",
                name=channel.type,
                known=joined(", ", classes),
            )
        )
    try:
        config = cls.Config.model_validate(dict(channel.of_its_type))
        notifier = cls()
    except ValidationError as exc:
        faults = [
            complaint(error["type"], error["loc"], error.get("ctx", {}), error["msg"])
            for error in exc.errors(include_input=False, include_url=False)
        ]
        raise NotReady(joined("; ", faults)) from None
    except Exception as exc:
        raise NotReady(f"{type(exc).__name__}: {exc}") from None
    return lambda message: _send(notifier, message, config)


def _send(notifier: Notifier, message: Message, config: BaseModel) -> None:
    try:
        notifier.send(message, config)
    except Exception as exc:
        why = spoken(exc)
        if not isinstance(why, Words):
            why = f"{type(exc).__name__}: {why}" if why else type(exc).__name__
        hidden = without(secrets_in(config), why)
        raise SendingFailed(why if hidden == str(why) else hidden) from None
