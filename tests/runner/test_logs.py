"""Attempt logs: made late, kept raw, cut once."""

from __future__ import annotations

from pathlib import Path

import pytest

from zquant_flow import logs
from zquant_flow.logs import AttemptLog, log_path


def test_the_path_comes_from_ids_only() -> None:
    assert log_path("/data", 12345, 2) == "/data/logs/12/12345-2.log"


def test_the_file_is_made_by_the_first_byte(tmp_path: Path) -> None:
    log = AttemptLog(log_path(tmp_path, 1, 1))
    log.write(b"")
    assert not (tmp_path / "logs").exists()
    log.write(b"x")
    assert Path(log_path(tmp_path, 1, 1)).stat().st_mode & 0o777 == 0o600
    log.close()


def test_past_the_limit_one_line_says_so(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "a.log", limit=10)
    for _ in range(5):
        log.write(b"1234567")
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"1234567123\n[zquant-flow] log cut at 10 bytes\n"


def test_a_log_that_goes_on_counts_what_is_there(tmp_path: Path) -> None:
    for _ in range(2):
        log = AttemptLog(tmp_path / "a.log", limit=10)
        log.write(b"1234567")
        log.close()
    assert (tmp_path / "a.log").read_bytes().startswith(b"1234567123\n[zquant-flow] log cut")


def test_a_link_is_not_followed_and_a_full_disk_costs_only_lines(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "link.log").symlink_to(target)
    log = AttemptLog(tmp_path / "link.log")
    log.write(b"x")
    log.close()
    assert not target.exists()


def test_a_write_after_an_error_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AttemptLog(tmp_path / "a.log")
    log.write(b"one ")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(logs.os, "write", full)
        log.write(b"two ")
    log.write(b"three")
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"one three"


def test_reading_gives_bytes_and_the_next_offset(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"0123456789")
    assert logs.read(tmp_path / "a.log", 2, 3) == (b"234", 5)
    assert logs.read(tmp_path / "a.log", 10, 3) == (b"", 10)
    assert logs.read(tmp_path / "none.log", 4) == (b"", 4)
