"""How is a command on another machine described? `ssh_session` runs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SshConfig(BaseModel):
    """Who is not said in `username` is whom OpenSSH would take; `known_hosts: false` believes any host."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, defer_build=True)

    host: Text
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    username: Text | None = None
    key_file: Text | None = None
    passphrase_env: Text | None = None
    password_env: Text | None = None
    agent: bool = True
    known_hosts: Text | Literal[False] | None = None
    command: Text
    environment: dict[Text, str] = {}
    input: str | None = None
    connect_seconds: Seconds = 30
    keepalive_seconds: Seconds = 15
