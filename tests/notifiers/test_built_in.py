"""The notifiers that come with it, against real servers of this machine."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.executors.web import Answer, Web, serving
from tests.notifiers.mailbox import Mailbox, receiving
from zquant_flow.executors.installed import built_in
from zquant_flow.notifiers.addresses import PrivateAddress, address_of, is_public
from zquant_flow.notifiers.channels import Channels
from zquant_flow.plugin.channels import NotifySettings
from zquant_flow.plugin.notifiers import Message

MESSAGE = Message(
    title="load has\nfailed", body="状态：失败", event="failure", level="error", facts={"task": "load"}
)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as made:
        yield made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with receiving() as made:
        yield made


def send(kind: str, message: Message = MESSAGE, **said: Any) -> None:
    cls = built_in().notifiers[kind]
    cls().send(message, cls.Config.model_validate(said))


def trial(kind: str, **said: Any) -> str | None:
    """What a channel that is written so answers to a test."""
    channels = Channels(NotifySettings.model_validate({"channels": {"ops": {"type": kind, **said}}}))
    channels.use(built_in().notifiers)
    return channels.trial("ops")


# ── webhook ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_posts_what_happened_signed_as_our_own_webhooks_are(web: Web) -> None:
    send("webhook", url=f"{web.url}/in?a=1", secret="s3cret", allow_private=True, headers={"X-Team": "ops"})
    [asked] = web.asked
    assert (asked.method, asked.path) == ("POST", "/in?a=1")
    assert json.loads(asked.body) == {
        "id": MESSAGE.id,
        "event": "failure",
        "level": "error",
        "title": "load has\nfailed",
        "text": "状态：失败",
        "task": "load",
    }
    right = hmac.new(b"s3cret", asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["x-hub-signature-256"] == f"sha256={right}"
    assert asked.headers["idempotency-key"] == MESSAGE.id
    assert asked.headers["x-team"] == "ops"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/"]
)
def test_a_webhook_into_a_private_network_is_refused_before_anything_is_sent(web: Web, url: str) -> None:
    error = trial("webhook", url=url.format(port=web.url.rpartition(":")[2]))
    assert error is not None and "allow_private" in error
    assert web.asked == []


def test_a_name_is_looked_up_once_and_just_that_address_connected_to(web: Web, monkeypatch: Any) -> None:
    """A name that means a public machine when it is checked, and this one a moment later."""
    port = int(web.url.rpartition(":")[2])
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    real = socket.getaddrinfo

    def looked_up(host: Any, *args: Any, **options: Any) -> Any:
        if host != "rebinding.example":
            return real(host, *args, **options)
        found = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    send("webhook", url=f"http://rebinding.example:{port}/", allow_private=True)
    [asked] = web.asked
    assert asked.headers["host"] == f"rebinding.example:{port}"
    assert answers == [["10.0.0.1"]], "it was asked for once"
    with pytest.raises(PrivateAddress):
        send("webhook", url=f"http://rebinding.example:{port}/")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_of_the_internet(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_among_several_addresses_one_that_may_be_connected_to_is_taken(monkeypatch: Any) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("10.0.0.1", "8.8.8.8")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert address_of("mixed.example", 80, allow_private=False) == "8.8.8.8"


def test_an_answer_that_is_no_success_is_a_failure_and_redirections_are_not_followed(web: Web) -> None:
    web.says(Answer(500), Answer(302, headers={"Location": f"{web.url}/elsewhere"}))
    said = {"url": f"{web.url}/hook-of-many-secrets", "allow_private": True}
    assert trial("webhook", **said) == "the answer was 500"
    assert trial("webhook", **said) == "the answer was 302"
    assert len(web.asked) == 2


def test_a_webhook_that_nobody_serves_is_told_without_its_secrets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = trial("webhook", url=f"http://127.0.0.1:{port}/token-of-much-worth", allow_private=True)
    assert error is not None and "refused" in error and "token-of-much-worth" not in error


def test_an_address_with_its_secrets_stands_in_no_log(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = web.url.replace("//", "//user:password-of-much-worth@")
    assert trial("webhook", url=f"{url}/token-of-much-worth", allow_private=True) is None
    assert web.asked[0].path == "/token-of-much-worth"
    assert "worth" not in caplog.text


def test_the_host_of_an_address_is_no_secret_and_all_else_of_it_is() -> None:
    error = trial("webhook", url="http://10.11.12.13/token-of-much-worth")
    assert error is not None and error.startswith("10.11.12.13 is 10.11.12.13, an address of")


# ── e-mail ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_letter_goes_to_everybody_with_a_password_from_the_environment(
    mailbox: Mailbox, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "right")
    send(
        "email",
        host="127.0.0.1",
        port=mailbox.port,
        security="none",
        user="flow",
        password_env="SMTP_PASSWORD",
        **{"from": "flow@example.org", "to": ["a@example.org", "b@example.org"]},
    )
    [letter] = mailbox.letters
    assert mailbox.users == [("flow", "right")]
    assert (letter["Subject"], letter["To"]) == ("load has failed", "a@example.org, b@example.org")
    assert mailbox.text.strip() == "状态：失败"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"security": "starttls"}, "STARTTLS"),
        ({"user": "flow", "password": "wrong-and-secret"}, "*** is wrong"),
        ({"user": "flow", "password_env": "NOT_SET_AT_ALL"}, "NOT_SET_AT_ALL is not set"),
        ({"to": ["a@example.org", "nobody@example.org"]}, "refuses nobody@example.org"),
    ],
)
def test_a_letter_that_can_t_be_sent_says_why_and_no_secret(
    mailbox: Mailbox, said: dict[str, Any], fault: str
) -> None:
    mailbox.refuses = "nobody@"
    words = {
        "host": "127.0.0.1",
        "port": mailbox.port,
        "security": "none",
        "from": "f@example.org",
        "to": "a@b.c",
    }
    error = trial("email", **{**words, **said})
    assert error is not None and fault in error and "secret" not in error


def test_who_was_refused_is_tried_again_and_nobody_gets_a_letter_twice(mailbox: Mailbox) -> None:
    mailbox.refuses = "late@"
    cls = built_in().notifiers["email"]
    words = {"from": "f@example.org", "to": ["a@example.org", "late@example.org"]}
    config = cls.Config.model_validate(
        {"host": "127.0.0.1", "port": mailbox.port, "security": "none", **words}
    )
    notifier = cls()
    with pytest.raises(RuntimeError, match="refuses late@"):
        notifier.send(MESSAGE, config)
    mailbox.refuses = ""
    notifier.send(MESSAGE, config)
    assert mailbox.recipients == [["a@example.org"], ["late@example.org"]]


# ── apprise ──────────────────────────────────────────────────────────────────────────────────────────────────────


of_apprise = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""What the library itself imports."""


@of_apprise
def test_apprise_reaches_its_channels(web: Web, monkeypatch: Any) -> None:
    monkeypatch.setenv(
        "CHANNELS", f"{web.url.replace('http', 'json')}/one {web.url.replace('http', 'json')}/two"
    )
    send("apprise", urls_env="CHANNELS")
    assert [asked.path for asked in web.asked] == ["/one", "/two"]
    said = json.loads(web.asked[0].body)
    assert (said["title"], said["message"], said["type"]) == ("load has failed", "状态：失败", "failure")


class RootLog(logging.Handler):
    """What a server would log; pytest's own handler listens to apprise's logger, too."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()


@of_apprise
def test_apprise_says_which_address_failed_and_no_secret(web: Web) -> None:
    logged = RootLog()
    logging.getLogger().addHandler(logged)
    web.says(Answer(500))
    address = web.url.replace("http://", "json://user:password-of-much-worth@")
    error = trial("apprise", urls=[address])
    assert error is not None and error.startswith("address 1: ") and "500" in error
    assert (
        trial("apprise", urls=["nothing-like-that://secret-words"]) == "address 1 is none that apprise knows"
    )
    logging.getLogger().removeHandler(logged)
    assert "worth" not in error + logged.text and "secret-words" not in logged.text


@of_apprise
def test_an_address_that_fails_is_tried_again_alone(web: Web) -> None:
    web.says(Answer(500), Answer(200), Answer(200))
    cls = built_in().notifiers["apprise"]
    address = web.url.replace("http", "json")
    config = cls.Config.model_validate({"urls": [f"{address}/one", f"{address}/two"]})
    notifier = cls()
    with pytest.raises(RuntimeError, match="address 1"):
        notifier.send(MESSAGE, config)
    notifier.send(MESSAGE, config)
    assert [asked.path for asked in web.asked] == ["/one", "/two", "/one"]
