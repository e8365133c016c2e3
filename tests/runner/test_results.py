"""When does a result go to a file, and how do those who come after get it from there?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from zquant_flow import result_files
from zquant_flow.executors.context import Context
from zquant_flow.runner import results
from zquant_flow.runner.calls import Calls
from zquant_flow.runner.earlier import ResultsFile
from zquant_flow.runner.results import kept, success
from zquant_flow.runner.starting import SpawnFailed

LARGE = "x" * result_files.IN_ROW


def order(folder: Path, **keys: Any) -> dict[str, Any]:
    return {"id": 1007, "attempt": 2, "log": str(folder / "logs" / "1" / "1007-2.log"), "config": {}, **keys}


def test_a_small_result_is_text_and_a_large_one_is_a_file_of_its_own(tmp_path: Path) -> None:
    assert success("x" * (result_files.IN_ROW - 2), order(tmp_path)).keys() == {"kind", "result"}
    assert list(tmp_path.iterdir()) == []
    assert success(LARGE, order(tmp_path)) == {"kind": "success", "result_size": len(LARGE) + 2}
    path = tmp_path / "logs" / "1" / "1007.result.json"
    assert str(path) == result_files.result_path(tmp_path, 1007)
    assert json.loads(path.read_text()) == LARGE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_bytes_count_and_not_characters(tmp_path: Path) -> None:
    assert success("日" * 100_000, order(tmp_path)) == {"kind": "success", "result_size": 300_002}


def test_a_later_attempt_replaces_what_one_before_has_left(tmp_path: Path) -> None:
    success(LARGE, order(tmp_path, attempt=1))
    success("y" + LARGE, order(tmp_path))
    assert json.loads((tmp_path / "logs" / "1" / "1007.result.json").read_text()) == "y" + LARGE


def test_one_that_another_machine_needs_stays_text_as_long_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "result" in kept(json.dumps(LARGE), order(tmp_path, in_row=True))
    monkeypatch.setattr(results, "SENT", 100)
    assert "result_size" in kept(json.dumps(LARGE), order(tmp_path, in_row=True))


def test_a_result_over_the_limit_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "LARGEST", len(LARGE))
    done = success(LARGE, order(tmp_path))
    assert (done["kind"], done["code"]) == ("failed", "result_too_large")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_does_not_take_it_fails_the_attempt_in_words(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    done = success(LARGE, order(tmp_path))
    assert (done["kind"], done["code"]) == ("failed", "result_not_kept")
    assert done["error"].startswith("the result of 262146 bytes can't be written: ")


def test_who_is_stopped_in_between_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "1.result.json")
    result_files.write(path, b"1")

    def stopped(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        result_files.write(path, b"2")
    assert os.listdir(tmp_path) == ["1.result.json"]
    assert Path(path).read_bytes() == b"1"


def test_a_result_that_two_executions_have_outlives_the_first(tmp_path: Path) -> None:
    first, second = (str(tmp_path / "logs" / name) for name in ("0/7.result.json", "5/5001.result.json"))
    result_files.write(first, b"[1]")
    result_files.copy([str(tmp_path / "none"), first], second)
    result_files.copy([first], second)
    os.unlink(first)
    with result_files.open_first([first, second]) as file:
        assert file.read() == b"[1]"
    with pytest.raises(FileNotFoundError):
        result_files.copy([first], str(tmp_path / "third"))


def test_without_links_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refused)
    result_files.write(str(tmp_path / "a"), b"[1]")
    result_files.copy([str(tmp_path / "a")], str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"[1]"


def test_a_command_gets_small_and_large_results_in_one_file(tmp_path: Path) -> None:
    result_files.write(str(tmp_path / "5.result.json"), json.dumps(LARGE).encode())
    filed = {"big": [str(tmp_path / "gone"), str(tmp_path / "5.result.json")]}
    made = ResultsFile(str(tmp_path / "all.json"), {"results": {"small": "3"}, "filed": filed})
    made.write()
    assert json.loads((tmp_path / "all.json").read_text()) == {"small": 3, "big": LARGE}
    assert set(made.environment()) == {"ZQUANT_FLOW_RESULTS", "ZQF_RESULT_SMALL"}
    made.remove()
    assert not (tmp_path / "all.json").exists()


def test_a_command_does_not_start_without_a_result_that_it_comes_after(tmp_path: Path) -> None:
    made = ResultsFile(str(tmp_path / "all.json"), {"filed": {"big": [str(tmp_path / "gone")]}})
    with pytest.raises(SpawnFailed, match="'big' is not there any more") as caught:
        made.write()
    assert caught.value.code == "result_missing"
    assert list(tmp_path.iterdir()) == []


def called(tmp_path: Path, **keys: Any) -> dict[str, Any]:
    """What an attempt returns that gives back its own params."""
    (tmp_path / "echoes.py").write_text("def main(**params):\n    return params\n")
    asked = order(tmp_path, bundle=str(tmp_path), **keys)
    asked["config"] = {"module": "echoes", "function": "main"}
    return Calls().outcome(asked, Context(asked))


def test_a_function_reads_the_large_results_that_it_takes(tmp_path: Path) -> None:
    result_files.write(str(tmp_path / "5.result.json"), b'{"rows": [7, 8]}')
    params = {
        "one": {"$ref": ["nodes", "big", "result", "rows", 1]},
        "all": [{"$ref": ["nodes", "big", "result"]}],
        "own": {"$ref": ["nodes", "big", "result"]},
    }
    filed = {"big": [str(tmp_path / "5.result.json")]}
    done = called(tmp_path, params=params, filed=filed, taken=["one", "all"])
    assert json.loads(done["result"]) == {"one": 8, "all": [{"rows": [7, 8]}], "own": params["own"]}


@pytest.mark.parametrize(
    ("content", "path", "code"),
    [
        (None, ["result"], "result_missing"),
        (b'{"rows": ', ["result"], "result_missing"),
        (b"{}", ["result", "rows"], "invalid_params"),
    ],
)
def test_a_result_that_is_not_what_it_was_fails_the_attempt_that_takes_it(
    tmp_path: Path, content: bytes | None, path: list[str], code: str
) -> None:
    if content is not None:
        result_files.write(str(tmp_path / "5.result.json"), content)
    filed = {"big": [str(tmp_path / "5.result.json")]}
    params = {"a": {"$ref": ["nodes", "big", *path]}}
    assert called(tmp_path, params=params, filed=filed, taken=["a"])["code"] == code
