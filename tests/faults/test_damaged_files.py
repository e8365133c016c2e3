"""The database file is cut, emptied, overwritten, of a newer release, or has bytes that are wrong: it is said, with the way out."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import EVERY_MINUTE, retrying
from zquant_flow.config import Settings
from zquant_flow.engine.assembly import assemble
from zquant_flow.errors import ZquantFlowError
from zquant_flow.store.health import damage_in
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROGRAM = Path(sys.executable).with_name("zquant-flow")
SEEDS = 200
BYTES = 64


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which something has happened, closed and whole."""
    folder = tmp_path_factory.mktemp("sound")
    with Harness(folder) as h:
        flow = workflow_task("flow", [command_node("a"), command_node("b", "a")])
        tick = command_task("tick", schedule=EVERY_MINUTE, action=retrying(1, 1))
        _, flow_id = h.define(tick, flow, path="all.yaml")
        for turn in range(60):
            h.tick(60)
            if turn % 3 == 0 and not any(order.get("node") for order in h.backend.active.values()):
                h.operations.trigger(flow_id, actor="me")
            for number in list(h.backend.active):
                h.end(number, "failed" if turn % 7 == 0 else "success")
    return folder / "test.db"


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The content with wrong bytes, spread over the file or all in one page."""
    data = bytearray(content)
    page = chance.randrange(len(data) // 4096) * 4096
    places = [
        chance.randrange(len(data)) if chance.random() < 0.5 else page + chance.randrange(4096)
        for _ in range(chance.choice([1, 8, BYTES]))
    ]
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


# ── at the start of a real server ───────────────────────────────────────────────────────────────────────────────────


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5000)


def emptied(path: Path) -> None:
    path.write_bytes(b"")
    (path.parent / "logs").mkdir()  # of executions that were


def overwritten(path: Path) -> None:
    path.write_text("It was a database, and is a text.\n" * 100)


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def page_of_nonsense(path: Path) -> None:
    """The root of a table that each start reads."""
    connection = sqlite3.connect(path)
    [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'engines'").fetchall()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x07" * 4096)


@pytest.mark.parametrize(
    ("damage", "why", "way_out"),
    [
        (cut, "malformed", "zqf db restore"),
        (emptied, "is empty", "zqf db restore"),
        (overwritten, "not a database", "zqf db restore"),
        (newer, "newer than this zquant-flow", "install a newer release"),
        (page_of_nonsense, "malformed", "zqf db restore"),
    ],
)
def test_serve_refuses_a_damaged_database_and_names_the_way_out(
    sound: Path, tmp_path: Path, damage: Callable[[Path], None], why: str, way_out: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(sound, data / "zquant-flow.db")
    damage(data / "zquant-flow.db")
    before = (data / "zquant-flow.db").read_bytes()
    ended = subprocess.run(
        [PROGRAM, "serve", "--port", "0", "--tasks", tmp_path / "tasks", "--data", data],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert str(data / "zquant-flow.db") in last or damage is newer
    assert why in last
    assert way_out in last
    assert (data / "zquant-flow.db").read_bytes() == before, "it is left as it is, for who wants to save it"


# ── random bytes ────────────────────────────────────────────────────────────────────────────────────────────────────


def started(folder: Path) -> str:
    """Start a scheduler over this database and stop it; what it says where it refuses."""
    scheduler = assemble(Settings(data_dir=folder, tasks_dir=folder / "tasks"), watch=False, rests=True)
    try:
        scheduler.start_engine()
    except ZquantFlowError as error:
        return error.detail
    finally:
        scheduler.stop(keep_attempts=True)
    return ""


def test_bytes_that_are_wrong_are_refused_with_the_way_out_or_found_by_the_check(
    sound: Path, tmp_path: Path
) -> None:
    """SQLite has no checksums: a wrong byte in a text is a text. What its own check finds is never a surprise to us."""
    content, seen = sound.read_bytes(), {"refused": 0, "found by the check": 0, "nothing to find": 0}
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        database = folder / "zquant-flow.db"
        database.write_bytes(flipped(content, random.Random(seed)))
        found = damage_in(f"sqlite:///{database}")
        try:
            said = started(folder)
        except BaseException as exc:
            exc.add_note(f"seed {seed}; the check finds {found}")
            raise
        if said:
            assert str(database) in said, (seed, said)
            seen["refused"] += 1
        elif found:
            seen["found by the check"] += 1
        else:
            seen["nothing to find"] += 1
        shutil.rmtree(folder)
    assert seen["refused"] > 5, seen
    assert seen["found by the check"] > 5, seen
