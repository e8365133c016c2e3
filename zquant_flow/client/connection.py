"""How does a question reach a server, and what becomes of an error on the way?"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from zquant_flow import __version__
from zquant_flow.errors import BadRequest, Unavailable, ZquantFlowError
from zquant_flow.wording import say

PREFIX = "/api/v1/scheduler"

M = TypeVar("M", bound=BaseModel)


RESTING = "http://resting.localhost"
"""The address of a scheduler that rests: nothing begins there, and nothing ends."""


class ApiError(ZquantFlowError):
    """The server answered with an error: `status` of HTTP, `code` and `detail` as docs/errors.md has them.

    `errors` has the faults of fields where there are some, `retry_after` seconds where the server named them.
    """

    code: str  # type: ignore[misc]  # the server's word, not the class's
    status: int  # type: ignore[misc]

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after: float | None = None, **facts: Any
    ) -> None:
        super().__init__(detail, **facts)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Faults of fields: `field`, `code`, `message`."""
        return list(self.facts.get("errors") or ())


ApiError.code, ApiError.status = ZquantFlowError.code, ZquantFlowError.status


class Unreachable(Unavailable):
    """No answer came from that address."""


class NoServer(Unreachable):
    """No server runs on the data folder, or it does not answer."""


class Connection:
    """HTTP to one server, with its token. Threads: any, as httpx's client."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        language: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`timeout` in seconds, for each answer; `language` (`en`, `zh`) is that of messages. Raises BadRequest for no address."""
        self.url = url.rstrip("/").removesuffix(PREFIX)
        self._timeout = timeout
        headers = {"User-Agent": f"zquant-flow/{__version__}", "Authorization": f"Bearer {token}"}
        if language:
            headers["Accept-Language"] = language
        self._http = httpx.Client(
            base_url=checked_url(self.url) + PREFIX,
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=not is_loopback(
                self.url
            ),  # a proxy of the environment knows nothing of this machine's ports
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """One request; `timeout` in seconds, for an answer that takes its time. Raises ApiError, Unreachable."""
        sent = {name: value for name, value in (headers or {}).items() if value is not None}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            answer = self._http.request(
                method,
                path,
                params=as_query(query or {}),
                content=None if body is None else json.dumps(body, default=_plain).encode(),
                headers=sent,
                timeout=timeout or self._timeout,
            )
        except httpx.TransportError as exc:
            raise self._unreachable(exc, timeout) from exc
        if not answer.is_success:
            raise error_of(answer)
        return answer

    def _ask(self, model: type[M], method: str, path: str, **more: Any) -> M:
        """One request, whose answer is that model."""
        return self._parsed(model, self._send(method, path, **more))

    def _parsed(self, model: type[M], answer: httpx.Response) -> M:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as exc:
            fault = exc.errors()[0]
            where = ".".join(map(str, fault["loc"])) or model.__name__
            raise ApiError(
                answer.status_code,
                "unexpected_answer",
                say(
                    "{url} does not answer like zquant-flow {version} ({where}: {fault}); is it another program, or release?",
                    url=self.url,
                    version=__version__,
                    where=where,
                    fault=fault["msg"],
                ),
            ) from exc

    def _unreachable(self, exc: httpx.TransportError, seconds: float | None = None) -> Unreachable:
        if isinstance(exc, httpx.ReadTimeout):
            return Unreachable(
                say(
                    "{url} did not answer within {seconds:g} s; is it busy?",
                    url=self.url,
                    seconds=seconds or self._timeout,
                )
            )
        return Unreachable(
            say(
                "{url} can't be reached ({error}); start the server there with `zquant-flow serve`, or name another address",
                url=self.url,
                error=str(exc) or type(exc).__name__,
            )
        )


def error_of(answer: httpx.Response) -> ApiError:
    """What an answer that is no success says; its body has been read."""
    try:
        body = answer.json()
        code, detail = str(body.pop("code")), str(body.pop("detail"))
    except (ValueError, LookupError, AttributeError, TypeError):
        shown = answer.text.strip()[:200] or answer.reason_phrase
        return ApiError(answer.status_code, "http_error", f"HTTP {answer.status_code}: {shown}")
    facts = {name: value for name, value in body.items() if name not in ("status", "retry_after", "self")}
    return ApiError(answer.status_code, code, detail, retry_after=_seconds(answer), **facts)


def as_query(query: Mapping[str, Any]) -> list[tuple[str, str | int | float | bool | None]]:
    """Parameters as a URL has them: None is left out, a list repeats its name, instants are ISO 8601."""
    pairs: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in query.items():
        for item in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
            if isinstance(item, datetime):
                pairs.append((name, item.isoformat()))
            elif item is not None:
                pairs.append((name, item))
    return pairs


def checked_url(url: str) -> str:
    """The address, as it is. Raises BadRequest for what is none."""
    try:
        parsed = httpx.URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return url
    except httpx.InvalidURL:
        pass
    raise BadRequest(
        say("{url!r} is no address of a server; write one such as http://127.0.0.1:8000", url=url)
    )


def is_loopback(url: str) -> bool:
    """Whether an address is of this machine."""
    try:
        host = httpx.URL(url).host
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False


def _seconds(answer: httpx.Response) -> float | None:
    try:
        return float(answer.headers["Retry-After"])
    except (LookupError, ValueError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
