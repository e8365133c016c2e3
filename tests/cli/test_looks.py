"""How things read: in a terminal, without one, in Chinese, and in the documentation."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.main

from zquant_flow.cli.app import app
from zquant_flow.cli.instants import distance, instant, lasting, moment
from zquant_flow.cli.starters import identifier, module, slug
from zquant_flow.cli.tables import Cell, print_facts, print_table, status, width
from zquant_flow.errors import BadRequest

DOCS = Path(__file__).parents[2] / "docs" / "command-line.md"


def as_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the test itself: standard output is another object before it begins."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
ROWS = [("1", "每日同步", status("failed")), ("2", "hello", status("success"))]


def test_columns_align_with_chinese_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "name", "status"], ROWS)
    assert capsys.readouterr().out == ("ID  NAME      STATUS\n1   每日同步  failed\n2   hello     success\n")


def test_a_terminal_has_colours_and_the_same_columns(capsys: Capture, monkeypatch: Patch) -> None:
    as_in_a_terminal(monkeypatch)
    print_table(["id", "name", "status"], ROWS)
    out = capsys.readouterr().out
    assert "\x1b[31mfailed" in out
    plain = re.sub(r"\x1b\[[\d;]*m", "", out).splitlines()
    assert {
        width(line[: line.index(word)])
        for line, word in zip(plain, ("status", "failed", "success"), strict=True)
    } == {14}


def test_what_a_task_says_is_never_taken_for_markup(capsys: Capture, monkeypatch: Patch) -> None:
    as_in_a_terminal(monkeypatch)
    print_facts([("error", Cell("[red]not[/] markup", "red")), ("empty", ""), ("name", "[bold]x")])
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "[red]not[/] markup" in out and "[bold]x" in out and "empty" not in out


def test_a_row_for_scripts_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["id", "error"], [("1", "first\nsecond\tthird")])
    assert capsys.readouterr().out.splitlines()[1] == "1   first second third"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.3, "now"), (5, "in 5 s"), (-90, "2 min ago"), (3 * 3600, "in 3 h"), (-40 * 86_400, "40 d ago")],
)
def test_distances_in_words(seconds: float, words: str) -> None:
    assert distance(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.014, "0.01 s"),
        (59, "59 s"),
        (185, "3 min 5 s"),
        (7_500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert lasting(seconds) == words


def test_times_are_relative_in_a_terminal_and_exact_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    when = datetime.now(UTC) - timedelta(hours=2)
    assert datetime.fromisoformat(moment(when)) == when.replace(microsecond=0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert moment(when) == "2 h ago"


def test_instants_are_iso_or_spans_back_from_now() -> None:
    assert instant("2026-01-31", "--since") == datetime(2026, 1, 31)
    assert instant("2026-01-31T18:30:00+08:00", "--since") == datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
    assert instant(None, "--since") is None
    back, ahead = instant("2h", "--since"), instant("2h", "--expires", ahead=True)
    assert back and ahead
    assert timedelta(hours=3, minutes=59) < ahead - back < timedelta(hours=4, minutes=1)
    with pytest.raises(BadRequest, match="--since 'soon'"):
        instant("soon", "--since")


@pytest.mark.parametrize(
    ("name", "function", "file", "kept"),
    [
        ("Nightly Sync", "nightly_sync", "nightly-sync", "nightly_sync"),
        ("class", "class_", "class", "class_"),
        ("1st", "task_1st", "1st", "task_1st"),
        ("../../etc", "etc", "etc", "etc"),
        ("!!", "task_", "task", "task_"),
        ("同步", "同步", "同步", "task_"),
    ],
)
def test_names_of_files_are_near_to_those_of_tasks(name: str, function: str, file: str, kept: str) -> None:
    assert (identifier(name), slug(name)) == (function, file)
    assert module("task", name).startswith(kept) and module("task", name).isascii()


# The documentation


def commands(group: Any = None, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command by its words."""
    found: dict[str, Any] = {}
    for name, command in (group or typer.main.get_command(app)).commands.items():
        words = (*prefix, name)
        found |= commands(command, words) if hasattr(command, "commands") else {" ".join(words): command}
    return found


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, title
    return found[1]


def documented(group: str) -> dict[str, set[str]]:
    """The options of each command of a group, by the table `of | option | meaning`; an empty first cell goes on."""
    found: dict[str, set[str]] = {}
    of: list[str] = []
    for row in section(DOCS.read_text(encoding="utf-8"), group).splitlines():
        cells = row.split("|")
        if len(cells) == 5:
            of = re.findall(r"`([a-z]+)`", cells[1]) or of
            for command in of:
                found.setdefault(command, set()).update(re.findall(r"`(--?[a-z-]+)", cells[2]))
    return found


@pytest.mark.parametrize("name", [name for name in commands() if " " in name])
def test_every_command_of_a_group_is_documented_with_its_options(name: str) -> None:
    group, _, command = name.partition(" ")
    flags = {
        flag
        for parameter in commands()[name].params
        for flag in [*parameter.opts, *parameter.secondary_opts]
        if flag.startswith("-")
    }
    assert flags - {"-h", "--help", "--json", "--server", "--data"} == documented(group)[command]


@pytest.mark.parametrize("name", commands())
def test_every_command_says_what_it_does(name: str) -> None:
    assert commands()[name].help
