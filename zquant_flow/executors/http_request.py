"""How is an HTTP request made, repeated, and read? Runs in a worker.

What is told of it, in log and errors, is method, host, path and status: a query, headers and bodies may hold secrets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import httpx

from zquant_flow.executors import json_path
from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.http_config import Auth, HttpConfig, Until

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of an answer that are read into memory; what is larger is for `save_to`."""
TEXT_LIMIT = 64 * 1024
"""Characters of a text that becomes the result."""
LONGEST_PAUSE = 60.0
AGAIN = frozenset({429, 500, 502, 503, 504})
"""What a server may answer better the next time (RFC 9110, RFC 6585)."""

logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log whole URLs


class Request:
    """One request of one attempt, with its repetitions."""

    def __init__(self, context: Context, config: HttpConfig) -> None:
        self._context = context
        self._config = config
        self._named = f"{config.method.upper()} {_named(config.url)}"
        self._body: dict[str, Any] = {}
        if "json_" in config.model_fields_set:
            self._body["content"] = json.dumps(config.json_, ensure_ascii=False).encode()
        elif config.data is not None:
            self._body["data"] = config.data
        elif config.content is not None:
            self._body["content"] = config.content.encode()

    async def carry_out(self) -> Any:
        """What is the result of the attempt; raises Failure."""
        config = self._config
        async with self._client() as client:
            if config.save_to is not None:
                return await self._again(client, self._saved)
            if config.until is not None:
                return await self._awaited(client, config.until)
            status, value = await self._again(client, self._read)
            return self._result(status, value)

    async def look(self) -> tuple[bool, Any]:
        """Whether the answer is the one that is waited for, with the result or why not. Raises Failure where it can't be asked for at all."""
        config = self._config
        async with self._client() as client:
            try:
                if config.save_to is not None:
                    return True, await self._again(client, self._saved)
                status, value = await self._again(client, self._read)
            except Failure as exc:
                return False, str(exc)
            if config.until is not None:
                found = _found(value, config.until.path)
                if not config.until.holds(found):
                    return False, f"{self._named}: {_shown(config.until.path, found)}"
            return True, self._result(status, value)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        config = self._config
        try:
            client = httpx.AsyncClient(
                headers=_headers(config),
                auth=_auth(config.auth),
                timeout=config.request_timeout_seconds,
                follow_redirects=config.follow_redirects,
                verify=_verified(config.verify),
            )
        except (OSError, ValueError, UnicodeEncodeError) as exc:
            raise Failure(
                "http_failed", f"{self._named}: this request can't be made: {type(exc).__name__}"
            ) from None
        async with client:
            yield client

    async def _again(self, client: httpx.AsyncClient, take: Any) -> Any:
        """One answer that is expected, after as many retries as are allowed."""
        config = self._config
        for retry in range(config.retries + 1):
            last = retry == config.retries
            try:
                async with self._answer(client) as answer:
                    if config.expects(answer.status_code):
                        return await take(answer)
                    if last or answer.status_code not in AGAIN:
                        raise Failure("unexpected_status", await self._unexpected(answer))
                    why, pause = f"status {answer.status_code}", _retry_after(answer)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as exc:
                why, pause = _reason(exc, config.request_timeout_seconds), None
                if last or not isinstance(exc, httpx.TransportError):
                    raise Failure("http_failed", f"{self._named}: {why}") from None
            pause = min(LONGEST_PAUSE, config.retry_seconds * 2**retry) if pause is None else pause
            print(f"{self._named}: {why}; again in {pause:g} s")  # noqa: T201  (this is its log)
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _answer(self, client: httpx.AsyncClient) -> AsyncIterator[httpx.Response]:
        config, began = self._config, time.monotonic()
        url = httpx.URL(config.url).copy_merge_params(config.params)
        async with client.stream(config.method.upper(), url, **self._body) as answer:
            seconds = time.monotonic() - began
            print(f"{self._named}: {answer.status_code} after {seconds:.2f} s")  # noqa: T201
            yield answer

    async def _unexpected(self, answer: httpx.Response) -> str:
        expected = ", ".join(map(str, self._config.expected_status))
        text = f"{self._named}: status {answer.status_code}, expected is {expected}"
        start = (await _bytes(answer, 1000, cut=True)).decode(answer.encoding or "utf-8", "replace").strip()
        return f"{text}: {start[:300]}" if start else text

    async def _read(self, answer: httpx.Response) -> tuple[int, Any]:
        """The status, and the body: a value for JSON, else text."""
        data = await _bytes(answer, BODY_LIMIT)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or kind.endswith("+json")
        if is_json or self._config.result is not None or self._config.until is not None:
            try:
                return answer.status_code, httpx.Response(200, content=data).json()
            except ValueError:
                if data.strip():
                    raise Failure("http_failed", f"{self._named}: the answer is no JSON") from None
                return answer.status_code, None
        return answer.status_code, _Text(data.decode(answer.encoding or "utf-8", "replace"))

    def _result(self, status: int, value: Any) -> Any:
        if self._config.result is not None:
            return self._part(value, self._config.result)
        if isinstance(value, _Text):
            cut = {"truncated": True} if len(value) > TEXT_LIMIT else {}
            return {"status": status, "text": value[:TEXT_LIMIT], **cut}
        return {"status": status, "json": value}

    def _part(self, value: Any, path: str) -> Any:
        try:
            return json_path.find(value, path)
        except LookupError as exc:
            raise Failure("http_failed", f"{self._named}: {exc.args[0]}") from None

    async def _awaited(self, client: httpx.AsyncClient, until: Until) -> Any:
        """Ask until the answer is the one that was waited for."""
        deadline = time.monotonic() + until.at_most_seconds
        while True:
            status, value = await self._again(client, self._read)
            found = _found(value, until.path)
            if until.holds(found):
                return self._result(status, value)
            told = _shown(until.path, found)
            if time.monotonic() + until.every_seconds > deadline:
                raise Failure("http_failed", f"{self._named}: after {until.at_most_seconds:g} s {told} still")
            self._context.progress(message=told)
            self._context.checkpoint()
            await asyncio.sleep(until.every_seconds)

    async def _saved(self, answer: httpx.Response) -> dict[str, Any]:
        """The body in a file, which is there under its name when it is whole."""
        assert self._config.save_to is not None
        path = os.path.abspath(self._config.save_to)
        part = f"{path}.{self._context.execution_id}-{self._context.attempt}.part"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            size = await self._write(answer, part)
            os.replace(part, path)
        except OSError as exc:
            raise Failure("http_failed", f"{path} can't be written: {exc.strerror}") from None
        finally:
            if os.path.exists(part):
                os.remove(part)
        return {"status": answer.status_code, "file": path, "bytes": size}

    async def _write(self, answer: httpx.Response, path: str) -> int:
        size, total = 0, _length(answer)
        with open(path, "wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
                size += len(chunk)
                self._context.progress(
                    current_item="bytes", processed=answer.num_bytes_downloaded, total=total
                )
        return size


class _Text(str):
    """A body that is no JSON."""

    __slots__ = ()


async def _bytes(answer: httpx.Response, limit: int, *, cut: bool = False) -> bytes:
    pieces, size = [], 0
    async for chunk in answer.aiter_bytes():
        pieces.append(chunk)
        size += len(chunk)
        if size > limit and cut:
            break
        if size > limit:
            raise Failure("http_failed", f"the answer has over {limit} bytes: use save_to")
    return b"".join(pieces)[:limit]


def _found(value: Any, path: str) -> Any:
    """What stands there; None where nothing does yet."""
    try:
        return json_path.find(value, path)
    except LookupError:
        return None


def _shown(path: str, found: Any) -> str:
    return f"{path} is {found!r}"[:200]


def _named(url: str) -> str:
    """The address without user, password and query."""
    try:
        parsed = httpx.URL(url)
        return f"{parsed.scheme}://{parsed.netloc.decode()}{parsed.path}"
    except (httpx.InvalidURL, UnicodeError):
        return "(an address that can't be read)"


def _headers(config: HttpConfig) -> dict[str, str]:
    if "json_" not in config.model_fields_set or any(
        name.lower() == "content-type" for name in config.headers
    ):
        return config.headers
    return {**config.headers, "Content-Type": "application/json"}


def _auth(auth: Auth | None) -> httpx.Auth | None:
    if auth is None:
        return None
    if auth.username is not None:
        return httpx.BasicAuth(auth.username, _secret(auth.password, auth.password_env))
    token = _secret(auth.token, auth.token_env)
    return _Bearer(token)


class _Bearer(httpx.Auth):
    """As auth, not as a header of the client, so that a redirect to another host does not get it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _secret(said: str | None, variable: str | None) -> str:
    if variable is None:
        return said or ""
    if variable not in os.environ:
        raise Failure("http_failed", f"the variable {variable} is not set")
    return os.environ[variable]


@lru_cache(maxsize=8)
def _verified(verify: bool | str) -> Any:
    """Whom to trust; kept, for a warm worker makes it once (20 ms)."""
    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    return httpx.create_ssl_context() if verify else False


def _reason(exc: Exception, timeout_seconds: float) -> str:
    if isinstance(exc, httpx.TimeoutException):
        return f"no answer within {timeout_seconds:g} s ({type(exc).__name__})"
    return f"{type(exc).__name__}: {exc}" if isinstance(exc, httpx.TransportError) else type(exc).__name__


def _retry_after(answer: httpx.Response) -> float | None:
    """The seconds that the server asks for, if it names a number and not too large a one."""
    told = answer.headers.get("retry-after", "")
    return min(LONGEST_PAUSE, float(told)) if told.isdecimal() else None


def _length(answer: httpx.Response) -> int | None:
    told = answer.headers.get("content-length", "")
    return int(told) if told.isdecimal() else None
