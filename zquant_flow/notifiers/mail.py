"""How is it sent by e-mail? SMTP, encrypted unless the settings say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from zquant_flow.notifiers.reached import Reached
from zquant_flow.notifiers.secret_words import secret_of
from zquant_flow.plugin.contract import Config
from zquant_flow.plugin.notifiers import Message, Notifier
from zquant_flow.wording import say

if TYPE_CHECKING:
    from email.message import EmailMessage
    from smtplib import SMTP

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\r\n\x00]+$")]
_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class EmailConfig(Config):
    host: Line
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    security: Literal["starttls", "ssl", "none"] = "starttls"
    user: Line | None = None
    password: SecretStr | None = None
    password_env: Line | None = None
    sender: Annotated[Line, Field(alias="from")]
    to: Annotated[list[Line], Field(min_length=1, max_length=100)]
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 15.0

    @field_validator("to", mode="before")
    @classmethod
    def _list_of_one(cls, to: object) -> object:
        return [to] if isinstance(to, str) else to

    @model_validator(mode="after")
    def _fits_together(self) -> EmailConfig:
        said = [word for word in (self.password, self.password_env) if word is not None]
        if len(said) != (self.user is not None):
            raise ValueError(say("a user has one of password and password_env, and nobody else has"))
        return self


class EmailNotifier(Notifier):
    name = "email"
    Config: ClassVar[type[Config]] = EmailConfig

    def __init__(self) -> None:
        self._reached = Reached()

    def send(self, message: Message, config: EmailConfig) -> None:
        """To all of `to` in one letter; those whom the server refuses are tried again, and nobody gets it twice."""
        left = self._reached.left(message.id, config.to)
        password = secret_of(config.password, config.password_env)
        with _connected(config) as server:
            if config.user is not None:
                server.login(config.user, password or "")
            refused = server.send_message(_letter(message, config), to_addrs=left)
        self._reached.note(message.id, (who for who in left if who not in refused))
        if refused:
            raise RuntimeError(say("the server refuses {addresses}", addresses=", ".join(sorted(refused))))


def _connected(config: EmailConfig) -> SMTP:
    import smtplib
    import ssl

    port, timeout = config.port or _PORTS[config.security], config.timeout_seconds
    if config.security == "ssl":
        return smtplib.SMTP_SSL(config.host, port, timeout=timeout, context=ssl.create_default_context())
    server = smtplib.SMTP(config.host, port, timeout=timeout)
    if config.security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def _letter(message: Message, config: EmailConfig) -> EmailMessage:
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    letter = EmailMessage()
    letter["Subject"] = " ".join(message.title.split())
    letter["From"] = config.sender
    letter["To"] = ", ".join(config.to)
    letter["Date"] = formatdate()
    letter["Message-ID"] = make_msgid(message.id, domain="zquant-flow.invalid")
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.body.encode(errors="replace").decode())
    return letter
