"""The bookkeeping of the watched folder, with a clock and a file system made of a dict."""

import math

import pytest

from zquant_flow.definitions.folder import ODD, Changes, Doubt, Folder
from zquant_flow.definitions.scan import FileStat


def stat(number=1, mtime=0):
    return FileStat(number, mtime, number)


class Disk(dict):
    """What the folder holds now."""

    def scan_into(self, folder, now, *, replaced=False, old_enough=-math.inf):
        folder.scanned(dict(self), (), now, replaced=replaced, old_enough=old_enough)


@pytest.fixture
def disk():
    return Disk({f"{name}.yaml": stat() for name in "abcd"})


@pytest.fixture
def folder(disk):
    return Folder(known=dict(disk), settle=2.0, removal_grace=0.1, confirm_after=60.0)


def event(changed=(), removed=()):
    return Changes(frozenset(changed), frozenset(removed), by_event=True)


def scanned(changed=(), removed=()):
    return Changes(frozenset(changed), frozenset(removed), by_event=False)


def test_a_file_is_told_when_its_writer_closes_it_and_once(folder, disk):
    folder.being_written("a.yaml")
    assert folder.take(0, disk.get) == []
    disk["a.yaml"] = stat(2)
    folder.written("a.yaml")
    folder.written("a.yaml")
    assert folder.take(0, disk.get) == [event(["a.yaml"])]
    disk.scan_into(folder, 1)
    assert folder.take(10, disk.get) == []


def test_a_file_that_is_held_open_is_never_taken_for_settled(folder, disk):
    folder.being_written("a.yaml")
    for now in range(0, 1000, 60):
        disk["a.yaml"] = stat(2)
        disk.scan_into(folder, now)
        assert folder.take(now + 30, disk.get) == []


def test_what_only_a_scan_sees_must_stand_still(folder, disk):
    disk["a.yaml"] = stat(2)
    disk.scan_into(folder, 0)
    assert folder.take(1.9, disk.get) == []
    disk["a.yaml"] = stat(3)
    assert folder.take(2, disk.get) == []
    assert folder.next_look() == 4
    assert folder.take(3.9, disk.get) == []
    assert folder.take(4, disk.get) == [scanned(["a.yaml"])]
    assert folder.next_look() is None


def test_files_older_than_the_settling_time_are_told_at_the_first_scan():
    disk = Disk({"old.yaml": stat(1, mtime=100), "new.yaml": stat(1, mtime=900)})
    folder = Folder()
    disk.scan_into(folder, 0, old_enough=500)
    assert folder.take(0, disk.get) == [scanned(["old.yaml"])]
    assert folder.take(2, disk.get) == [scanned(["new.yaml"])]


def test_a_known_file_of_the_last_run_is_told_only_if_it_differs():
    disk = Disk(
        {"same.yaml": FileStat(5, 6, 7), "other.yaml": FileStat(5, 8, 9), "unknown.yaml": FileStat(1, 1, 1)}
    )
    folder = Folder(
        known={"same.yaml": FileStat(5, 6, 0), "other.yaml": FileStat(5, 6, 0), "unknown.yaml": None}
    )
    disk.scan_into(folder, 0, old_enough=math.inf)
    assert folder.take(0, disk.get) == [scanned(["other.yaml", "unknown.yaml"])]


def test_a_removal_is_believed_after_a_moment(folder, disk):
    del disk["a.yaml"]
    folder.gone("a.yaml", 0)
    assert folder.take(0.05, disk.get) == []
    assert folder.next_look() == 0.1
    assert folder.take(0.1, disk.get) == [event(removed=["a.yaml"])]
    disk.scan_into(folder, 1)
    assert folder.take(100, disk.get) == []


def test_an_editor_that_moves_the_file_away_and_writes_it_anew_removes_nothing(folder, disk):
    folder.gone("a.yaml", 0)  # vim: a.yaml -> a.yaml~
    folder.being_written("a.yaml")
    disk["a.yaml"] = stat(2)
    folder.written("a.yaml")
    assert folder.take(0.01, disk.get) == [event(["a.yaml"])]
    assert folder.take(1, disk.get) == []


def test_a_file_that_is_still_written_after_a_removal_waits_for_its_end(folder, disk):
    folder.gone("a.yaml", 0)
    folder.being_written("a.yaml")
    disk["a.yaml"] = stat(2)
    assert folder.take(0.2, disk.get) == []
    folder.written("a.yaml")
    assert folder.take(5, disk.get) == [event(["a.yaml"])]


def test_a_folder_that_goes_takes_its_files_along(disk):
    disk.update({"sub/x.yaml": stat(), "sub/deep/y.yaml": stat(), "subway.yaml": stat()})
    folder = Folder(known=dict(disk))
    del disk["sub/x.yaml"], disk["sub/deep/y.yaml"]
    folder.folder_gone("sub", 0)
    assert folder.take(1, disk.get) == [event(removed=["sub/x.yaml", "sub/deep/y.yaml"])]


def test_names_that_are_no_task_files_are_no_concern(folder, disk):
    for name in ("notes.txt", ".a.yaml.swp", "a.yaml~", "4913", "__pycache__/a.py"):
        folder.written(name)
        folder.being_written(name)
        folder.touched(name, stat(), 0)
        folder.gone(name, 0)
    assert folder.take(10, disk.get) == []


def test_a_touched_file_is_told_when_it_stands_still(folder, disk):
    folder.touched("a.yaml", stat(), 0)
    assert folder.take(1, disk.get) == []
    assert folder.take(2, disk.get) == [scanned(["a.yaml"])]


def test_a_file_that_vanishes_before_it_is_told_is_a_removal(folder, disk):
    folder.written("a.yaml")
    del disk["a.yaml"]
    assert folder.take(0, disk.get) == []
    assert folder.take(0.2, disk.get) == [event(removed=["a.yaml"])]


def test_a_file_that_must_not_be_read_is_not_told_and_keeps_its_last_version(folder, disk):
    disk["a.yaml"] = ODD  # a link that leads out of the folder, or 2 GB
    folder.written("a.yaml")
    assert folder.take(0, disk.get) == []
    assert "a.yaml" in folder.known
    disk["a.yaml"] = stat(2)
    folder.written("a.yaml")
    assert folder.take(1, disk.get) == [event(["a.yaml"])]


# Doubt: an unmounted disk looks like a wish to delete all tasks


def test_a_loss_of_up_to_half_seen_by_a_scan_is_believed(folder, disk):
    del disk["a.yaml"], disk["b.yaml"]
    disk.scan_into(folder, 0)
    assert folder.doubt is None
    assert folder.take(0, disk.get) == [scanned(removed=["a.yaml", "b.yaml"])]


def test_a_loss_of_more_than_half_waits_until_it_has_stood_still(folder, disk):
    del disk["a.yaml"], disk["b.yaml"], disk["c.yaml"]
    for now in range(0, 60, 6):
        disk.scan_into(folder, now)
        assert folder.doubt is Doubt.EMPTIED
        assert folder.take(now, disk.get) == []
    disk.scan_into(folder, 60)
    assert folder.take(60, disk.get) == [scanned(removed=["a.yaml", "b.yaml", "c.yaml"])]
    assert folder.doubt is None


def test_a_loss_that_goes_on_changing_begins_to_wait_anew(folder, disk):
    del disk["a.yaml"], disk["b.yaml"], disk["c.yaml"]
    disk.scan_into(folder, 0)
    del disk["d.yaml"]
    disk.scan_into(folder, 50)
    assert folder.take(100, disk.get) == []
    assert len(folder.take(110, disk.get)[0].removed) == 4


def test_files_that_come_back_end_the_doubt(folder, disk):
    lost = {path: disk.pop(path) for path in ("a.yaml", "b.yaml", "c.yaml")}
    disk.scan_into(folder, 0)
    disk.update(lost)
    disk.scan_into(folder, 30)
    assert folder.doubt is None
    assert folder.take(100, disk.get) == []


def test_a_missing_folder_archives_nothing_until_it_has_been_missing_for_long(folder, disk):
    folder.gone("a.yaml", 0)
    folder.unseen(Doubt.MISSING, 0)
    assert folder.doubt is Doubt.MISSING
    assert folder.take(59, lambda path: None) == []
    assert len(folder.take(60, lambda path: None)[0].removed) == 4


def test_a_folder_that_can_not_be_read_proves_nothing(folder):
    folder.unseen(Doubt.UNREADABLE, 0)
    assert folder.take(10_000, lambda path: None) == []
    assert folder.doubt is Doubt.UNREADABLE


def test_another_folder_in_its_place_is_read_but_archives_nothing_yet(folder, disk):
    del disk["a.yaml"]
    disk["new.yaml"] = stat()
    disk.scan_into(folder, 0, replaced=True, old_enough=math.inf)
    assert folder.doubt is Doubt.REPLACED
    assert folder.take(0, disk.get) == [scanned(["new.yaml"])]
    disk.scan_into(folder, 60, replaced=True)
    assert folder.take(60, disk.get) == [scanned(removed=["a.yaml"])]


def test_another_folder_that_lacks_nothing_is_no_reason_for_doubt(folder, disk):
    disk.scan_into(folder, 0, replaced=True)
    assert folder.doubt is None


def test_a_person_can_confirm_a_loss(folder, disk):
    disk.clear()
    disk.scan_into(folder, 0)
    assert folder.take(1, disk.get) == []
    folder.confirm()
    assert len(folder.take(1, disk.get)[0].removed) == 4


def test_a_removal_by_event_waits_while_the_folder_is_in_doubt(folder, disk):
    folder.unseen(Doubt.MISSING, 0)
    folder.gone("a.yaml", 0)
    assert folder.take(1, lambda path: None) == []
