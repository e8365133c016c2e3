"""The watcher on a real folder: events of the kernel, waited for with a timeout."""

import os
import shutil
import statistics
import subprocess
import threading
import time

import pytest

from zquant_flow.definitions.folder import Doubt
from zquant_flow.definitions.scan import FileStat
from zquant_flow.definitions.watcher import Watcher, is_network

PATIENCE = 10


class Heard:
    """What the watcher has told, to be waited for."""

    def __init__(self):
        self.changes = []
        self.states = []
        self.times = {}
        self._news = threading.Condition()

    def __call__(self, changes):
        now = time.perf_counter()
        with self._news:
            self.changes.append(changes)
            self.times.update(dict.fromkeys(changes.changed, now))
            self._news.notify_all()

    def state(self, doubt):
        with self._news:
            self.states.append(doubt)
            self._news.notify_all()

    def wait(self, until):
        with self._news:
            assert self._news.wait_for(lambda: until(self), PATIENCE), self.changes

    def changed(self, *paths):
        self.wait(lambda heard: set(paths) <= {path for changes in heard.changes for path in changes.changed})

    def removed(self, *paths):
        self.wait(lambda heard: set(paths) <= {path for changes in heard.changes for path in changes.removed})

    def all_changed(self):
        return [path for changes in self.changes for path in changes.changed]

    def clear(self):
        with self._news:
            self.changes.clear()


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    return folder


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def watch(tasks, heard):
    made = []

    def watch(**keys):
        # The first file tells that the watcher has begun: everything before it is the first scan.
        (tasks / "ready.yaml").write_text("x")
        os.utime(tasks / "ready.yaml", (1, 1))
        watcher = Watcher(tasks, heard, on_state=heard.state, **{"settle": 0.1, **keys})
        made.append(watcher)
        watcher.start()
        heard.changed("ready.yaml")
        heard.clear()
        return watcher

    yield watch
    for watcher in made:
        watcher.stop()


def test_a_closed_file_and_a_moved_one_are_told_at_once(watch, tasks, heard, tmp_path):
    watch()
    (tasks / "a.yaml").write_text("x")
    heard.changed("a.yaml")
    (tmp_path / "b.yaml").write_text("x")
    os.rename(tmp_path / "b.yaml", tasks / "b.yaml")
    heard.changed("b.yaml")
    assert all(changes.by_event for changes in heard.changes)


def test_a_file_moved_in_is_told_within_milliseconds(watch, tasks, heard, tmp_path):
    watch()
    taken = []
    for number in range(50):
        name = f"{number}.yaml"
        (tmp_path / name).write_text("x")
        start = time.perf_counter()
        os.rename(tmp_path / name, tasks / name)
        heard.changed(name)
        taken.append(heard.times[name] - start)
    assert statistics.median(taken) < 0.005


def test_an_open_file_is_not_told_before_it_is_closed(watch, tasks, heard):
    watcher = watch()
    with open(tasks / "open.yaml", "wb", buffering=0) as file:
        for byte in b"command: rm -rf /data/tmp/x":
            file.write(bytes([byte]))
        watcher.rescan()
        (tasks / "other.yaml").write_text("x")
        heard.changed("other.yaml")
        assert "open.yaml" not in heard.all_changed()
    heard.changed("open.yaml")


def test_removals_are_told(watch, tasks, heard):
    (tasks / "a.yaml").write_text("x")
    watch()
    (tasks / "a.yaml").unlink()
    heard.removed("a.yaml")


def test_an_editor_saves_and_one_reload_follows(watch, tasks, heard):
    (tasks / "a.yaml").write_text("1")
    watch()
    # vim, with a backup and its test file
    (tasks / "4913").touch()
    (tasks / "4913").unlink()
    os.rename(tasks / "a.yaml", tasks / "a.yaml~")
    (tasks / "a.yaml").write_text("2")
    (tasks / "a.yaml~").unlink()
    # sed -i, rsync
    (tasks / ".sedXYZ").write_text("3")
    os.rename(tasks / ".sedXYZ", tasks / "b.yaml")
    # nano, plain
    (tasks / "c.yaml").write_text("4")
    heard.changed("a.yaml", "b.yaml", "c.yaml")
    told = [path for path in heard.all_changed() if path != "a.yaml"]
    assert sorted(told) == ["b.yaml", "c.yaml"]
    assert not any(changes.removed for changes in heard.changes)


def test_folders_come_move_and_go_with_their_files(watch, tasks, heard, tmp_path):
    watch()
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/x.yaml").write_text("x")
    os.rename(outside, tasks / "sub")
    heard.changed("sub/deep/x.yaml")
    (tasks / "sub/deep/y.yaml").write_text("y")
    heard.changed("sub/deep/y.yaml")
    os.rename(tasks / "sub", tasks / "moved")
    heard.changed("moved/deep/x.yaml", "moved/deep/y.yaml")
    heard.removed("sub/deep/x.yaml", "sub/deep/y.yaml")
    (tasks / "moved/deep/z.yaml").write_text("z")
    heard.changed("moved/deep/z.yaml")
    shutil.rmtree(tasks / "moved")
    heard.removed("moved/deep/x.yaml", "moved/deep/y.yaml", "moved/deep/z.yaml")


def test_files_written_into_a_folder_that_was_just_made_are_found(watch, tasks, heard):
    watch()
    for number in range(20):
        (tasks / f"new{number}/deep").mkdir(parents=True)
        (tasks / f"new{number}/deep/x.yaml").write_text("x")
    heard.changed(*(f"new{number}/deep/x.yaml" for number in range(20)))


def test_a_swap_of_dotdot_data_tells_all_that_it_changes(watch, tasks, heard):
    for version in ("1", "2"):
        (tasks / f"..{version}").mkdir()
        for name in ("a.yaml", "b.yaml"):
            (tasks / f"..{version}" / name).write_text("x" * int(version))
    os.symlink("..1", tasks / "..data")
    for name in ("a.yaml", "b.yaml"):
        os.symlink(f"..data/{name}", tasks / name)
    watch()
    heard.clear()
    os.symlink("..2", tasks / "..tmp")
    os.rename(tasks / "..tmp", tasks / "..data")
    heard.changed("a.yaml", "b.yaml")
    assert not any(changes.removed for changes in heard.changes)


def test_links_are_whole_when_they_appear(watch, tasks, heard):
    (tasks / ".hidden").mkdir()
    (tasks / ".hidden/t.yaml").write_text("x")
    watch()
    os.symlink(".hidden/t.yaml", tasks / "soft.yaml")
    os.link(tasks / ".hidden/t.yaml", tasks / "hard.yaml")
    heard.changed("soft.yaml", "hard.yaml")


def test_a_link_that_leads_out_is_passed_over_with_a_message(watch, tasks, heard, tmp_path):
    watcher = watch()
    (tmp_path / "outside.yaml").write_text("x")
    os.symlink(tmp_path / "outside.yaml", tasks / "out.yaml")
    (tasks / "after.yaml").write_text("x")
    heard.changed("after.yaml")
    assert heard.all_changed() == ["after.yaml"]
    assert "leads out" in watcher.skipped["out.yaml"]


def test_a_burst_is_joined_without_delaying_its_first(tasks):
    first, go_on, seen = threading.Event(), threading.Event(), []
    enough = threading.Event()

    def slow(changes):
        seen.append(changes)
        if changes.changed:
            first.set()
            go_on.wait(PATIENCE)
        if sum(len(each.changed) for each in seen) >= 500:
            enough.set()

    watcher = Watcher(tasks, slow, settle=0.1)
    watcher.start()
    try:
        (tasks / "0.yaml").write_text("x")
        assert first.wait(PATIENCE)
        for number in range(1, 500):
            (tasks / f"{number}.yaml").write_text("x")
        go_on.set()
        assert enough.wait(PATIENCE)
        assert len(seen) < 50
    finally:
        go_on.set()
        watcher.stop()


def test_lost_events_are_made_good_by_a_scan(watch, tasks, heard):
    from zquant_flow.definitions.inotify import Event, Kind

    watcher = watch()
    watcher._tree._on_event = lambda event: None  # the kernel's queue was full
    (tasks / "lost.yaml").write_text("x")
    watcher._put(Event(Kind.OVERFLOW, ""))
    heard.changed("lost.yaml")


def test_a_listener_that_fails_does_not_end_the_watch(tasks):
    heard, failed = Heard(), threading.Event()

    def listener(changes):
        heard(changes)
        if not failed.is_set():
            failed.set()
            raise RuntimeError("no")

    watcher = Watcher(tasks, listener, settle=0.1)
    watcher.start()
    try:
        (tasks / "a.yaml").write_text("x")
        heard.changed("a.yaml")
        (tasks / "b.yaml").write_text("x")
        heard.changed("b.yaml")
    finally:
        watcher.stop()


def test_a_folder_that_goes_away_archives_nothing_and_is_watched_again_when_it_is_back(
    watch, tasks, heard, tmp_path
):
    (tasks / "a.yaml").write_text("x")
    watcher = watch(confirm_after=1000, poll_interval=0.05, rescan_interval=0.2)
    os.rename(tasks, tmp_path / "away")
    heard.wait(lambda heard: heard.states == [Doubt.MISSING])
    assert watcher.unavailable is Doubt.MISSING
    os.rename(tmp_path / "away", tasks)
    heard.wait(lambda heard: heard.states == [Doubt.MISSING, None])
    assert not any(changes.removed for changes in heard.changes)
    (tasks / "b.yaml").write_text("x")
    heard.changed("b.yaml")


def test_another_folder_in_its_place_is_watched_and_believed_after_a_while(watch, tasks, heard, tmp_path):
    (tasks / "a.yaml").write_text("x")
    os.utime(tasks / "a.yaml", (1, 1))
    watch(confirm_after=0.5, rescan_interval=0.1)
    os.rename(tasks, tmp_path / "away")
    tasks.mkdir()
    (tasks / "new.yaml").write_text("x")
    heard.changed("new.yaml")
    heard.removed("a.yaml", "ready.yaml")
    (tasks / "after.yaml").write_text("x")
    heard.changed("after.yaml")


def test_prune_believes_a_loss_at_once(watch, tasks, heard):
    for name in "abcd":
        (tasks / f"{name}.yaml").write_text("x")
    watcher = watch(polling=True, poll_interval=0.05, confirm_after=1000)
    heard.wait(lambda heard: len(watcher._folder.known) == 5)
    for name in "abcd":
        (tasks / f"{name}.yaml").unlink()
    heard.wait(lambda heard: heard.states == [Doubt.EMPTIED])
    watcher.prune()
    heard.removed("a.yaml", "b.yaml", "c.yaml", "d.yaml")


def test_polling_waits_until_a_file_stands_still(watch, tasks, heard):
    watcher = watch(polling=True, poll_interval=0.02, settle=0.2)
    assert watcher.polling
    (tasks / "a.yaml").write_text("x")
    heard.changed("a.yaml")
    assert not heard.changes[-1].by_event
    (tasks / "a.yaml").unlink()
    heard.removed("a.yaml")


def test_known_files_are_not_told_again_and_vanished_ones_are(tasks, heard):
    (tasks / "a.yaml").write_text("x")
    (tasks / "b.yaml").write_text("x")
    os.utime(tasks / "b.yaml", (1, 1))
    state = (tasks / "a.yaml").stat()
    known = {"a.yaml": FileStat(state.st_size, state.st_mtime_ns, 0), "gone.yaml": None, "b.yaml": None}
    watcher = Watcher(tasks, heard, known=known)
    watcher.start()
    try:
        heard.changed("b.yaml")
        heard.removed("gone.yaml")
        assert heard.all_changed() == ["b.yaml"]
    finally:
        watcher.stop()


def test_stop_may_come_before_start_and_twice(tasks, heard):
    watcher = Watcher(tasks, heard)
    watcher.stop()
    watcher.start()
    watcher.start()
    watcher.stop()
    watcher.stop()
    watcher.start()
    watcher.stop()


def test_a_folder_that_is_not_there_yet_is_found_when_it_comes(tmp_path, heard):
    watcher = Watcher(tmp_path / "later", heard, poll_interval=0.05, settle=0.1, on_state=heard.state)
    watcher.start()
    try:
        heard.wait(lambda heard: heard.states == [Doubt.MISSING])
        (tmp_path / "later").mkdir()
        (tmp_path / "later/a.yaml").write_text("x")
        heard.changed("a.yaml")
    finally:
        watcher.stop()


def test_a_local_folder_is_no_network_folder(tmp_path):
    assert not is_network(tmp_path)
    if os.path.ismount("/proc"):
        assert not is_network("/proc")


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_a_git_checkout_removes_nothing_that_is_in_both_branches(watch, tasks, heard):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=tasks,
            check=True,
            capture_output=True,
        )

    git("init", "-q", "-b", "one")
    for number in range(30):
        (tasks / f"{number}.yaml").write_text("one")
    git("add", "."), git("commit", "-qm", "one"), git("checkout", "-qb", "two")
    for number in range(30):
        (tasks / f"{number}.yaml").write_text("second")
    git("commit", "-qam", "two")
    watch()
    git("checkout", "-q", "one")
    heard.changed(*(f"{number}.yaml" for number in range(30)))
    assert not any(changes.removed for changes in heard.changes)
