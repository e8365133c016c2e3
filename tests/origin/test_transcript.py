"""The transcript of docs/origin.md is true: a server gives every answer that it prints."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.serving import PATIENCE, PREFIX, Server

PAGE = Path(__file__).parents[2] / "docs" / "origin.md"
LEFT_OUT = "..."


@dataclass(frozen=True, slots=True)
class Call:
    """One command of the page, and what it prints: the status line, and the body if there is one."""

    words: list[str]
    status: str
    body: Any

    @property
    def method(self) -> str:
        if "-X" in self.words:
            return self.words[self.words.index("-X") + 1]
        return "POST" if "--json" in self.words else "GET"


def is_instant(value: Any) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None


def is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 60


PLACEHOLDERS: dict[str, Callable[[Any], bool]] = {"<instant>": is_instant, "<seconds>": is_duration}


def calls(text: str) -> Iterator[Call]:
    """The commands of all console blocks, in order; a command goes on while a quote is open."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for entry in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = entry.splitlines()
            number = next(n for n in range(1, len(lines) + 1) if _is_whole("\n".join(lines[:n])))
            status, *body = [line for line in lines[number:] if line.strip()]
            words = shlex.split("\n".join(lines[:number]))
            yield Call(words, status, json.loads("\n".join(body)) if body else None)


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def perform(call: Call, http: httpx.Client, values: dict[str, str]) -> httpx.Response:
    """What curl would send for these words; an option that is not known here fails, so that every command is replayed."""
    program, *words = call.words
    assert program == "curl"
    url, headers, content = "", {}, None
    rest = iter(words)
    for word in rest:
        if word == "-i":
            continue
        if word == "-X":
            next(rest)
        elif word == "-H":
            name, _, value = _filled(next(rest), values).partition(":")
            headers[name] = value.strip()
        elif word == "--json":
            content = next(rest).encode()
            headers |= {"Content-Type": "application/json", "Accept": "application/json"}
        else:
            assert not word.startswith("-"), f"an option that this test does not know: {word}"
            url = _filled(word, values)
    return http.request(call.method, url, headers=headers, content=content)


def _filled(word: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], word)


def differences(printed: Any, found: Any, where: str = "body") -> list[str]:
    """Where an answer is not what is printed."""
    if isinstance(printed, str) and printed in PLACEHOLDERS:
        return [] if PLACEHOLDERS[printed](found) else [f"{where}: {found!r} is no {printed}"]
    if isinstance(printed, dict) and isinstance(found, dict):
        more = [] if LEFT_OUT in printed else sorted(found.keys() - printed.keys())
        wrong = [f"{where}.{key}: not printed" for key in more]
        for key, value in printed.items():
            if key == LEFT_OUT:
                continue
            wrong += (
                differences(value, found[key], f"{where}.{key}")
                if key in found
                else [f"{where}.{key}: not answered"]
            )
        return wrong
    if isinstance(printed, list) and isinstance(found, list) and len(printed) == len(found):
        pairs = enumerate(zip(printed, found, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{where}.{n}")]
    same = printed == found and isinstance(printed, bool) == isinstance(found, bool)
    return [] if same else [f"{where}: {found!r}, printed is {printed!r}"]


def answer(call: Call, http: httpx.Client, values: dict[str, str]) -> list[str]:
    """The differences between the answer and the page. A reader may look again until what runs has ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = perform(call, http, values)
        wrong = [] if call.status == _status(found) else [f"{_status(found)}, printed is {call.status}"]
        wrong += differences(call.body, found.json() if found.content else None)
        if not wrong or call.method != "GET" or time.monotonic() > deadline:
            return wrong
        time.sleep(0.02)


def _status(found: httpx.Response) -> str:
    return f"{found.http_version} {found.status_code} {found.reason_phrase}"


def test_the_transcript_has_a_call_of_every_kind() -> None:
    found = list(calls(PAGE.read_text(encoding="utf-8")))
    assert {call.method for call in found} == {"GET", "POST", "PUT", "DELETE"}
    urls = {word for call in found for word in call.words if word.startswith("$ZQF")}
    for verb in ("trigger", "enable", "disable", "pause", "resume", "executions"):
        assert any(url.partition("?")[0].endswith(f"/{verb}") for url in urls), verb
    assert all(call.body is not None for call in found if call.method != "DELETE")


def test_every_command_of_the_transcript_gets_the_answer_that_is_printed(
    start_server: Callable[[], Server], far_from_18: None
) -> None:
    server = start_server()
    values = {"ZQF": server.client.url + PREFIX, "TOKEN": (server.data / "admin.token").read_text().strip()}
    with httpx.Client(timeout=10, trust_env=False) as http:
        for number, call in enumerate(calls(PAGE.read_text(encoding="utf-8")), 1):
            wrong = answer(call, http, values)
            assert not wrong, f"command {number}, {call.method} {call.words}:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "...": "..."}, {"b": 2}),
        ([1], [1, 2]),
        ({"a": None}, {"a": False}),
        ({"a": 1}, {"a": True}),
        ({"a": "<instant>"}, {"a": "2026-01-01T00:00:00"}),
        ({"a": "<seconds>"}, {"a": None}),
    ],
)
def test_an_answer_that_differs_is_noticed(printed: Any, found: Any) -> None:
    assert differences(printed, found)
    assert not differences(found, found)
