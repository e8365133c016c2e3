"""Task files while their tasks are due: half written again and again, and thousands replaced at once as by a checkout."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import start_server  # noqa: F401  (fixture)
from tests.e2e.serving import Server, drop, until
from tests.faults.fires import assert_each_second_once, recorded

FILES = int(os.environ.get("ZQUANT_FLOW_TEST_FILES", "1000"))
"""Of a checkout; SCORECARD D6 has 10,000."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 + FILES // 20)]


# ── files that are half written ─────────────────────────────────────────────────────────────────────────────────────


def slowly(path: Path, text: str) -> None:
    """A byte at a time, each of them on the disk."""
    with path.open("wb", buffering=0) as file:
        for byte in text.encode():
            file.write(bytes([byte]))


def emptied_then_filled(path: Path, text: str) -> None:
    """`>` and then the content in two pieces."""
    with path.open("w") as file:
        file.flush()
        file.write(text[: len(text) // 2])
        file.flush()
        file.write(text[len(text) // 2 :])


def in_place(path: Path, text: str) -> None:
    """Over the old content, then cut."""
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def test_a_command_that_is_cut_by_its_writer_never_runs(start_server: Callable[[], Server]) -> None:  # noqa: F811
    """Each beginning of this command is a command too. It is written 300 times in four ways while it is due each second."""
    server = start_server()
    ledger, path = server.root / "ledger", server.tasks / "cut.yaml"
    note = server.root / "note"
    note.write_text(f'#!/bin/sh\necho "$*" >> {ledger}\n')
    note.chmod(0o755)

    def text(number: int) -> str:
        words = " ".join(f"word{number}" for _ in range(20))
        return f"name: cut\ninterval: 1\noverlap: allow\ncommand: {note} {words} end\n"

    drop(path, text(0))
    until(lambda: recorded(server, "cut"), "a fire")
    ways = (slowly, emptied_then_filled, in_place, drop)
    for number in range(1, 301):
        ways[number % 4](path, text(number))
        if number % 60 == 0:
            fires = len(recorded(server, "cut"))
            until(lambda fires=fires: len(recorded(server, "cut")) > fires, "a fire meanwhile")  # type: ignore[misc]
    until(lambda: "word300 end" in ledger.read_text(), "the newest one")
    lines = ledger.read_text().splitlines()
    assert len(lines) >= 6
    for line in lines:
        words = line.split()
        assert len(words) == 21 and len(set(words)) == 2 and words[-1] == "end", line
    assert_each_second_once(recorded(server, "cut"))


# ── thousands of files ──────────────────────────────────────────────────────────────────────────────────────────────


def checkout(folder: Path, word: str) -> None:
    """Write all files anew, as git does: beside, and renamed into place."""
    for number in range(FILES):
        drop(
            folder / f"d{number % 50}" / f"t{number}.yaml",
            f"name: t{number}\ndescription: {word}\ncommand: 'true'\n",
        )


def executions_of(server: Server, name: str) -> int:
    return int(server.client.get("/executions", q=name, limit=1)["total"])


def known(server: Server, **query: Any) -> int:
    return int(server.client.get("/tasks", limit=1, **query)["total"])


def test_a_checkout_of_thousands_of_files_disturbs_no_fire_and_keeps_all_ids(
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    server = start_server()
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    drop(server.tasks / "gone.yaml", 'name: gone\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    patience = 30 + FILES / 50
    checkout(server.tasks, "first")
    until(lambda: known(server) == FILES + 2, "all tasks in the list", patience)
    first = recorded(server, "tick")
    begin = time.monotonic()
    checkout(server.tasks, "second")
    (server.tasks / "gone.yaml").unlink()
    until(lambda: known(server, q="second") == FILES, "all new versions", patience)
    until(lambda: server.client.find("gone") is None, "the end of the one that was removed")
    took = time.monotonic() - begin
    last_of_gone = executions_of(server, "gone")
    until(lambda: len(recorded(server, "tick")) >= len(first) + took + 2, "fires that went on", patience)
    assert_each_second_once(recorded(server, "tick"))
    assert executions_of(server, "gone") == last_of_gone > 0
    ids = {task["name"]: task["id"] for task in server.client.get("/tasks", limit=1000)["tasks"]}
    for folder in server.tasks.glob("d*"):
        shutil.rmtree(folder)
    until(lambda: known(server) == 1, "the end of all that were removed", patience)
    checkout(server.tasks, "third")
    until(lambda: known(server, q="third") == FILES, "all of them again", patience)
    after = {task["name"]: task["id"] for task in server.client.get("/tasks", limit=1000)["tasks"]}
    assert after == ids, "under their old ids"
    assert_each_second_once(recorded(server, "tick"))
