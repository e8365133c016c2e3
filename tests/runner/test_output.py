"""What a command says through ZQUANT_FLOW_OUTPUT."""

from __future__ import annotations

import os
from pathlib import Path

from zquant_flow.runner.output import OutputFile, parse


def test_lines_are_pairs_or_objects_and_the_last_wins() -> None:
    text = 'rows = 5\n{"rows": 7, "ok": true}\nno pair\n{"broken\n=nothing\npath=a=b\n'
    assert parse(text) == ({"rows": 7, "ok": True, "path": "a=b"}, {})


def test_progress_keys_are_progress() -> None:
    text = "progress=12.5%\ncurrent_item=rows 7\ntotal_items=40\nprocessed_items=5\n"
    assert parse(text) == (
        {},
        {"percent": 12.5, "current_item": "rows 7", "total_items": 40, "processed_items": 5},
    )


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key=secret\n")
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "fifo")
    assert OutputFile(str(tmp_path / "link")).read() == ({}, {})
    assert OutputFile(str(tmp_path / "fifo")).read() == ({}, {})
    assert OutputFile(str(tmp_path / "none")).read() == ({}, {})


def test_growth_is_noticed_once(tmp_path: Path) -> None:
    output = OutputFile(str(tmp_path / "out"))
    assert not output.grew()
    (tmp_path / "out").write_text("a=1\n")
    assert output.grew()
    assert not output.grew()
