"""How does another system hear of it? A POST of JSON, signed where a secret is said."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, model_validator

from zquant_flow.notifiers.addresses import address_of
from zquant_flow.notifiers.secret_words import secret_of
from zquant_flow.plugin.contract import Config
from zquant_flow.plugin.notifiers import Message, Notifier
from zquant_flow.wording import say

Variable = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=120)]


class WebhookConfig(Config):
    url: SecretStr | None = None
    url_env: Variable | None = None
    secret: SecretStr | None = None
    secret_env: Variable | None = None
    headers: Annotated[dict[str, SecretStr], Field(default_factory=dict)]
    allow_private: bool = False
    timeout_seconds: Seconds = 10.0

    @model_validator(mode="after")
    def _is_somewhere(self) -> WebhookConfig:
        if (self.url is None) == (self.url_env is None):
            raise ValueError(say("it has one of url and url_env"))
        if self.url is not None and not self.url.get_secret_value().lower().startswith(
            ("http://", "https://")
        ):
            raise ValueError(say("url must begin with http:// or https://"))
        return self


class WebhookNotifier(Notifier):
    name = "webhook"
    Config: ClassVar[type[Config]] = WebhookConfig

    def send(self, message: Message, config: WebhookConfig) -> None:
        """Any answer of 200 to 299 is a success. Redirections and proxies are not followed: they lead elsewhere than was checked."""
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and secrets with them
        url = httpx.URL(secret_of(config.url, config.url_env) or "")
        host, port = url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        if not host or not port:
            raise ValueError(say("url must begin with http:// or https://"))
        address = address_of(host, port, allow_private=config.allow_private)
        body = _body(message)
        with httpx.Client(trust_env=False, timeout=config.timeout_seconds) as client:
            with client.stream(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=_headers(message, config, body) | {"Host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": host},
            ) as answer:
                if not answer.is_success:
                    raise RuntimeError(say("the answer was {status}", status=answer.status_code))


def _body(message: Message) -> bytes:
    said: dict[str, Any] = {
        "id": message.id,
        "event": message.event,
        "level": message.level,
        "title": message.title,
        "text": message.body,
        **message.facts,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _headers(message: Message, config: WebhookConfig, body: bytes) -> dict[str, str]:
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    headers |= {
        "Content-Type": "application/json",
        "User-Agent": "zquant-flow",
        "X-Event-Type": message.event,
        "Idempotency-Key": message.id,
    }
    secret = secret_of(config.secret, config.secret_env)
    if secret is not None:
        headers["X-Hub-Signature-256"] = (
            f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
        )
    return headers
