"""Real files in real folders: each is handed over once, whole, whoever writes it and whenever."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import until
from zquant_flow.clock import SystemClock
from zquant_flow.core.model import OnFile
from zquant_flow.engine import filewatch
from zquant_flow.engine.arrivals import GRANULARITY_NS
from zquant_flow.engine.filewatch import FileWatch
from zquant_flow.store import seen_files
from zquant_flow.testing import Harness, command_task


class Watch:
    """A harness whose tasks wait for files; its clock is the machine's, as that of the files is."""

    def __init__(self, h: Harness, *, polling: bool = False) -> None:
        self.h, self.folder, self.polling = h, h.folder / "in", polling
        self.folder.mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        self.watch = FileWatch(
            self.h.operations, self.h.database, self.h.folder / "tasks", SystemClock(), polling=self.polling
        )
        self.h.engine.listen(self.watch.committed)
        self.watch.start()

    def wait_for(self, glob: str = "../in/*.csv", name: str = "t", settle: Any = None, **keys: Any) -> int:
        """A task that waits, once it is watched for."""
        task = command_task(name, on_file=OnFile(glob=glob, settle=settle), max_active_runs=1000, **keys)
        [task_id] = self.h.define(task)
        until(lambda: self.watch.follows(task_id))
        return task_id

    def ran(self) -> list[str]:
        return sorted(order["params"]["file"].rpartition("/")[2] for order in self.h.backend.orders)

    def until_ran(self, *names: str) -> None:
        until(lambda: len(self.ran()) >= len(names))
        assert self.ran() == sorted(names)


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path, slots=2000, clock=SystemClock()) as harness:  # type: ignore[arg-type]
        yield harness


@pytest.fixture
def w(h: Harness) -> Iterator[Watch]:
    made = Watch(h)
    yield made
    made.watch.stop()


def test_files_that_are_written_moved_or_linked_run_the_task_and_others_do_not(w: Watch) -> None:
    w.wait_for()
    (w.h.folder / "moved").write_text("whole")
    (w.folder / "written.csv").write_text("1")
    (w.h.folder / "moved").rename(w.folder / "moved.csv")
    os.link(w.folder / "written.csv", w.folder / "linked.csv")
    (w.folder / "other").write_text("not meant")
    (w.folder / "link.csv").symlink_to(w.folder / "other")
    (w.folder / ".hidden.csv").write_text("not meant")
    (w.folder / "folder.csv").mkdir()
    os.mkfifo(w.folder / "fifo.csv")
    (w.folder / "inner").mkdir()
    (w.folder / "inner" / "deep.csv").write_text("not meant")
    w.until_ran("written.csv", "moved.csv", "linked.csv", "link.csv")


def test_what_was_there_before_runs_nothing_also_after_a_restart(
    w: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zquant_flow.engine.settling.STILL", 0.0)
    (w.folder / "old.csv").write_text("before")
    os.utime(w.folder / "old.csv", (1, 1))
    until(lambda: time.time_ns() > (w.folder / "old.csv").stat().st_ctime_ns + 2 * GRANULARITY_NS)
    task_id = w.wait_for()
    until(lambda: seen_files.all_of(w.h.database, task_id))
    w.watch.stop()
    (w.folder / "old.csv").chmod(0o600)
    w.h.restart()
    w.start()
    (w.folder / "new.csv").write_text("1")
    w.until_ran("new.csv")
    assert len(seen_files.all_of(w.h.database, task_id)) == 2


def test_a_file_that_is_being_written_runs_when_it_is_closed(
    w: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zquant_flow.engine.settling.STILL", 0.0)
    w.wait_for()
    with (w.folder / "slow.csv").open("w") as file:
        file.write("half")
        file.flush()
        (w.folder / "quick.csv").write_text("1")
        w.until_ran("quick.csv")
        file.write("whole")
    w.until_ran("quick.csv", "slow.csv")
    assert w.h.backend.orders[1]["params"]["file"].endswith("slow.csv")


def test_a_file_that_is_written_anew_runs_again(w: Watch) -> None:
    w.wait_for()
    (w.folder / "a.csv").write_text("1")
    w.until_ran("a.csv")
    (w.folder / "a.csv").write_text("12")
    w.until_ran("a.csv", "a.csv")


def test_what_came_while_nobody_watched_runs_after_the_start_and_nothing_twice(
    w: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zquant_flow.engine.settling.STILL", 0.0)
    w.wait_for()
    (w.folder / "a.csv").write_text("1")
    w.until_ran("a.csv")
    w.watch.stop()
    (w.folder / "b.csv").write_text("1")
    w.h.restart()
    w.start()
    w.until_ran("a.csv", "b.csv")


def test_a_burst_of_files_runs_each_once(w: Watch) -> None:
    task_id = w.wait_for("../in/**/*.csv")
    for number in range(300):
        folder = w.folder / str(number % 7)
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.csv").write_text("1")
    w.until_ran(*(f"{number}.csv" for number in range(300)))
    assert len(w.h.engine.memory.tasks[task_id].active) == 300


def test_a_folder_that_is_not_there_yet_is_watched_when_it_is(
    w: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filewatch, "POLL", 0.05)
    w.wait_for("../later/*.csv")
    (w.h.folder / "later").mkdir()
    (w.h.folder / "later" / "a.csv").write_text("1")
    monkeypatch.setattr("zquant_flow.engine.settling.STILL", 0.1)
    w.until_ran("a.csv")


def test_without_the_kernels_events_files_have_to_stand_still(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filewatch, "POLL", 0.02)
    monkeypatch.setattr("zquant_flow.engine.settling.STILL", 0.1)
    w = Watch(h, polling=True)
    try:
        w.wait_for()
        (w.folder / "a.csv").write_text("1")
        w.until_ran("a.csv")
    finally:
        w.watch.stop()


def test_a_name_that_is_no_text_harms_nobody(w: Watch) -> None:
    w.wait_for()
    with open(os.fsencode(w.folder) + b"/\xff.csv", "w") as file:
        file.write("1")
    (w.folder / "a\n'\" ü.csv").write_text("1")
    w.until_ran("a\n'\" ü.csv")


def test_it_can_be_stopped_twice_and_before_its_start(h: Harness) -> None:
    watch = FileWatch(h.operations, h.database, h.folder / "tasks", SystemClock())
    watch.stop()
    watch.start()
    watch.stop()
    watch.stop()
