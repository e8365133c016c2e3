import os
import socket
import time

import pytest

from zquant_flow.definitions.scan import FileStat, is_ignored, is_task_path, scan, stat_of


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    return folder


def write(folder, *names):
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("name: a\n")


def test_yaml_and_python_files_are_found_at_any_depth(tasks):
    write(tasks, "a.yaml", "b.yml", "c.py", "日/历 x.yaml", "d.txt", "e.yaml.md", "sub/deep/f.yaml")
    found = scan(tasks)
    assert sorted(found.files) == ["a.yaml", "b.yml", "c.py", "sub/deep/f.yaml", "日/历 x.yaml"]
    assert found.skipped == {}
    state = (tasks / "a.yaml").stat()
    assert found.files["a.yaml"] == FileStat(state.st_size, state.st_mtime_ns, state.st_ino)


@pytest.mark.parametrize(
    "name",
    [
        ".a.yaml",
        ".#a.yaml",
        "#a.yaml#",
        "a.yaml~",
        ".a.yaml.swp",
        "a.yaml.tmp",
        "a.yaml.bak",
        "a.py.orig",
        "4913",
        "a.yaml.part",
        "__pycache__",
        ".git",
        "..data",
    ],
)
def test_hidden_files_and_editors_leftovers_are_passed_over_in_silence(tasks, name):
    write(tasks, name, f"sub/{name}")
    assert is_ignored(name)
    assert not is_task_path(f"sub/{name}")
    assert not is_task_path(f"{name}/a.yaml")
    found = scan(tasks)
    assert (found.files, found.skipped) == ({}, {})


def test_files_in_hidden_folders_are_not_found(tasks):
    write(tasks, ".git/a.yaml", "__pycache__/b.py", "sub/.venv/c.py")
    assert scan(tasks).files == {}


def test_odd_files_are_skipped_with_a_message(tasks, tmp_path):
    outside = tmp_path / "outside"
    write(outside, "secret.yaml")
    os.mkfifo(tasks / "fifo.yaml")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tasks / "socket.yaml"))
    os.symlink("/dev/zero", tasks / "zero.yaml")
    os.symlink(outside / "secret.yaml", tasks / "link.yaml")
    os.symlink(outside, tasks / "folder")
    os.symlink("loop.yaml", tasks / "loop.yaml")
    os.symlink("nowhere", tasks / "dangling.yaml")
    with open(tasks / "large.yaml", "wb") as file:
        file.truncate(2 << 30)
    with open(os.fsencode(tasks) + b"/\xff.yaml", "wb"):
        pass
    os.mkdir(os.fsencode(tasks) + b"/\xfe")
    found = scan(tasks)
    assert found.files == {}
    assert {path: reason.split(":")[0] for path, reason in found.skipped.items()} == {
        "fifo.yaml": "not a regular file",
        "socket.yaml": "not a regular file",
        "zero.yaml": "this link leads out of the tasks folder",
        "link.yaml": "this link leads out of the tasks folder",
        "folder": "this link leads out of the tasks folder",
        "loop.yaml": "this link can't be followed",
        "dangling.yaml": "this link leads nowhere",
        "large.yaml": "2,147,483,648 bytes",
        "\\udcff.yaml": "the file's name is not UTF-8",
        "\\udcfe": "the folder's name is not UTF-8",
    }


def test_links_below_the_folder_are_followed_as_kubernetes_lays_them(tasks):
    write(tasks, "..2026_01/a.yaml", "..2026_01/sub/b.yaml")
    os.symlink("..2026_01", tasks / "..data")
    os.symlink("..data/a.yaml", tasks / "a.yaml")
    os.symlink("..data/sub", tasks / "sub")
    assert sorted(scan(tasks).files) == ["a.yaml", "sub/b.yaml"]


def test_the_folder_itself_may_be_a_link(tasks, tmp_path):
    write(tasks, "a.yaml")
    os.symlink(tasks, tmp_path / "current")
    assert list(scan(tmp_path / "current").files) == ["a.yaml"]


def test_a_folder_that_two_ways_lead_to_is_read_once_by_its_real_path(tasks):
    write(tasks, "z/a.yaml")
    os.symlink("z", tasks / "a-link")
    os.symlink("..", tasks / "z/up")
    assert list(scan(tasks).files) == ["z/a.yaml"]


def test_very_deep_folders_end_somewhere(tasks):
    here = os.open(tasks, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    found = scan(tasks)
    assert found.files == {}
    assert len(found.skipped) == 1
    assert len(next(iter(found.skipped))) < 300
    _remove_deep(tasks)


def _remove_deep(tasks):
    """pytest can't remove what is deeper than a path is long."""
    while (tasks / "d").exists():
        for _ in range(100):
            if not (tasks / "d/d").exists():
                os.rmdir(tasks / "d")
                return
            os.rename(tasks / "d/d", tasks / "e")
            os.rmdir(tasks / "d")
            os.rename(tasks / "e", tasks / "d")


def test_a_folder_that_is_missing_is_the_callers_concern(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        stat_of(tmp_path, "none.yaml")


def test_one_file_is_judged_as_the_scan_judges_it(tasks, tmp_path):
    write(tasks, "a.yaml")
    os.symlink("/dev/zero", tasks / "zero.yaml")
    assert stat_of(tasks, "a.yaml") == scan(tasks).files["a.yaml"]
    assert stat_of(tasks, "zero.yaml") == scan(tasks).skipped["zero.yaml"]


def test_ten_thousand_files_are_scanned_in_a_moment(tasks):
    for number in range(10_000):
        (tasks / f"{number}.yaml").touch()
    start = time.perf_counter()
    assert len(scan(tasks).files) == 10_000
    assert time.perf_counter() - start < 2  # 40 ms alone on the machine
