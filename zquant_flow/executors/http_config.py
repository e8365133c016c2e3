"""How is an HTTP request described? `http_request` makes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zquant_flow.executors.json_path import steps_of
from zquant_flow.wording import say

STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True, defer_build=True)
Text = Annotated[str, Field(min_length=1)]
Path = Annotated[str, Field(min_length=1, max_length=1000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Scalar = str | int | float | bool


class Auth(BaseModel):
    """`username` with a password, or a bearer token; `_env` names a variable that holds the secret."""

    model_config = STRICT

    username: Text | None = None
    password: str | None = None
    password_env: Text | None = None
    token: Text | None = None
    token_env: Text | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Auth:
        bearer = (self.token, self.token_env)
        basic = (self.password, self.password_env)
        secrets = [secret for secret in (*bearer, *basic) if secret is not None]
        if len(secrets) != 1 or (self.username is None) != any(bearer):
            raise ValueError(
                say("auth is a username with password or password_env, or one of token and token_env")
            )
        return self


class Until(BaseModel):
    """Ask again until what stands at `path` of the answer `equals` a value, or is `in` a list; true in any form without both."""

    model_config = STRICT

    path: Path
    equals: Any = None
    in_: list[Any] | None = Field(default=None, alias="in")
    every_seconds: Seconds = 10
    at_most_seconds: Annotated[float, Field(gt=0, le=604_800)] = 3600

    @field_validator("path")
    @classmethod
    def _leads(cls, path: str) -> str:
        steps_of(path)
        return path

    @model_validator(mode="after")
    def _is_one(self) -> Until:
        if {"equals", "in_"} <= self.model_fields_set:
            raise ValueError(say("until has equals or in, not both"))
        return self

    def holds(self, value: Any) -> bool:
        """Whether this is the value that was waited for."""
        if "equals" in self.model_fields_set:
            return bool(value == self.equals)
        return bool(value) if self.in_ is None else value in self.in_


class HttpConfig(BaseModel):
    model_config = STRICT

    url: Annotated[str, Field(min_length=1, max_length=10_000)]
    method: Annotated[str, Field(pattern="^[A-Za-z]+$", max_length=20)] = "GET"
    params: dict[str, Scalar | list[Scalar] | None] = {}
    headers: dict[str, str] = {}
    json_: Any = Field(default=None, alias="json")
    data: dict[str, Scalar | list[Scalar]] | None = None
    content: str | None = None
    auth: Auth | None = None
    request_timeout_seconds: Seconds = 60
    follow_redirects: bool = True
    verify: bool | str = True
    retries: Annotated[int, Field(ge=0, le=20)] = 0
    retry_seconds: Annotated[float, Field(ge=0, le=3600)] = 1
    expected_status: list[int | Annotated[str, Field(pattern="^[1-5][0-9]{2}-[1-5][0-9]{2}$")]] = ["200-299"]
    result: Path | None = None
    until: Until | None = None
    save_to: Text | None = None

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.lower().startswith(("http://", "https://", "{{")):
            raise ValueError(say("url must begin with http:// or https://"))
        return url

    @field_validator("result")
    @classmethod
    def _leads(cls, path: str | None) -> str | None:
        steps_of(path or "")
        return path

    @model_validator(mode="after")
    def _fits_together(self) -> HttpConfig:
        said = self.model_fields_set
        if sum(name in said for name in ("json_", "data", "content")) > 1:
            raise ValueError(say("json, data and content: a request has one of them"))
        if self.save_to is not None and (self.result is not None or self.until is not None):
            raise ValueError(say("save_to goes without result and until: a file is not looked into"))
        return self

    def expects(self, status: int) -> bool:
        """Whether this status is a success."""
        for wanted in self.expected_status:
            first, _, last = str(wanted).partition("-")
            if int(first) <= status <= int(last or first):
                return True
        return False
