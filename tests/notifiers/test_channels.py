"""Channels of the settings: what is wrong with one is told and hurts no other."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from zquant_flow.config import load_settings
from zquant_flow.errors import BadRequest, NotFound
from zquant_flow.executors import builtin
from zquant_flow.notifiers.channels import Channels
from zquant_flow.plugin import Config, Message, Notifier
from zquant_flow.plugin.channels import NotifySettings
from zquant_flow.plugin.plugins import Plugins, load_plugins
from zquant_flow.plugin.sources import Sources


class Pager(Notifier):
    name = "pager"

    class Config(Config):
        key: SecretStr
        sent: ClassVar[list[Message]] = []

    def send(self, message: Message, config: Any) -> None:
        raise RuntimeError(f"no line for {config.key.get_secret_value()}")


class Webhook(Notifier):
    """Its name is taken."""

    name = "webhook"

    def send(self, message: Message, config: Any) -> None: ...


class Half(Notifier):
    name = "half"


def plugins(**made: object) -> Plugins:
    return load_plugins(Sources(entry_points=False), {"builtin": builtin, **made})


def channels(**said: Any) -> Channels:
    made = Channels(NotifySettings.model_validate({"channels": said}))
    made.use(plugins(pager=Pager).notifiers)
    return made


def test_a_plugin_brings_a_notifier_by_its_class_alone() -> None:
    found = plugins(pager=Pager)
    assert found.notifiers["pager"] is Pager
    assert [plugin.notifiers for plugin in found.known] == [("apprise", "email", "webhook"), ("pager",)]


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Webhook, "notifier 'webhook' is left out: the name is taken by"),
        (Half, "write `def send(self, message, config)`"),
    ],
)
def test_what_is_wrong_with_a_plugin_s_notifier_is_told(cls: type[Notifier], fault: str) -> None:
    [plugin] = [plugin for plugin in plugins(other=cls).known if plugin.name == "other"]
    assert plugin.error is not None and fault in plugin.error


def test_an_error_is_shown_without_the_secrets_of_its_config() -> None:
    made = channels(ops={"type": "pager", "key": "abc"})
    assert made.trial("ops") == "RuntimeError: no line for ***"
    [state] = made.listed()
    assert (state.tally.failed, state.tally.last_error) == (1, "RuntimeError: no line for ***")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"type": "smoke"}, "no notifier is named 'smoke': there are webhook, email, apprise, pager"),
        ({"type": "webhook", "url": "ftp://secret-words/"}, "url must begin with http:// or https://"),
        ({"type": "webhook"}, "it has one of url and url_env"),
        ({"type": "webhook", "url": "http://a/", "retires": 3}, "retires"),
        (
            {"type": "email", "host": "a", "from": "a@b.c", "to": "a@b.c", "user": "x"},
            "a user has one of password",
        ),
        ({"type": "apprise"}, "it has one of urls and urls_env"),
        ({"type": "pager", "key": "abc", "title": "{{ taks }}"}, "knows no 'taks'"),
    ],
)
def test_a_channel_that_is_written_wrongly_is_not_ready_and_says_why(
    said: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = channels(bad=said, good={"type": "pager", "key": "abc"})
    bad, good = made.listed()
    assert bad.error is not None and fault in bad.error and "secret" not in bad.error + caplog.text
    assert good.error is None


def test_a_test_by_a_channel_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(NotFound, match="no channel is named 'opps': there are ops"):
        channels(ops={"type": "pager", "key": "a"}).trial("opps")


def test_plugins_that_change_make_a_channel_ready() -> None:
    made = Channels(NotifySettings.model_validate({"channels": {"ops": {"type": "pager", "key": "a"}}}))
    made.use(plugins().notifiers)
    assert made.listed()[0].error is not None
    made.use(plugins(pager=Pager).notifiers)
    assert made.listed()[0].error is None
    made.stop()
    made.stop()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (
            {"rules": [{"channels": ["ops"]}]},
            "a rule names the channel 'ops', which is not there: there are none",
        ),
        ({"channels": {"ops": {"url": "secret"}}}, "type"),
        ({"channels": {"ops": {"type": "webhook", "every": -1}}}, "every"),
        ({"rules": [{"on": ["failures"], "channels": ["a"]}], "channels": {"a": {"type": "x"}}}, "on"),
        ({"chanels": {}}, "chanels"),
        ({"public_url": "ftp://x"}, "public_url"),
    ],
)
def test_settings_that_are_wrong_are_refused_without_their_values(said: Any, fault: str) -> None:
    with pytest.raises(BadRequest) as caught:
        load_settings(notify=said)
    assert fault in str(caught.value) and "secret" not in str(caught.value)
