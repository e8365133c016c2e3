"""Backup, restore, prune and repair as commands: beside a server, and where none runs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Zqf
from tests.e2e.serving import Server
from zquant_flow.errors import Unavailable

DB = ".zquant-flow/zquant-flow.db"


def run(zqf: Zqf, name: str, times: int = 1) -> None:
    for _ in range(times):
        assert zqf("run", name).code == 0


def executions(zqf: Zqf) -> list[int]:
    return [int(line) for line in zqf("executions", "list", "--quiet").lines]


def facts(out: str) -> dict[str, str]:
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in out.splitlines()}


def test_backup_and_restore_bring_everything_back(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello")
    assert facts(zqf("db", "backup", "b.db", "--logs").out)["logs"].startswith("1 in b.db.logs.tar")
    assert zqf("db", "backup", "b.db").code == 2
    run(zqf, "hello")
    log = project / ".zquant-flow/logs/0/1-1.log"
    said = log.read_text()
    log.unlink()
    done = zqf("db", "restore", "b.db", "--logs")
    assert done.code == 0, done.err
    told = facts(done.out)
    assert told["restored"] == "6 tasks, 1 executions"
    assert Path(told["kept"]).exists()
    assert told["logs"] == "1 brought back"
    assert log.read_text() == said
    assert executions(zqf) == [1]
    run(zqf, "hello")
    assert executions(zqf) == [3, 1], "2 has been given"


def test_a_restore_from_another_project_puts_its_logs_aside(
    project: Path, zqf: Zqf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(zqf, "hello")
    zqf("db", "backup", "b.db")
    (project / "other").mkdir()
    (project / "tasks").rename(project / "other" / "tasks")
    monkeypatch.chdir(project / "other")
    (project / ".zquant-flow").rename(project / "elsewhere")
    run(zqf, "hello")
    done = zqf("db", "restore", project / "b.db")
    assert "those of the other database are in" in done.out
    assert not (project / "other/.zquant-flow/logs").exists()


def test_a_restore_without_its_logs_or_without_its_file_is_refused(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello")
    zqf("db", "backup", "b.db")
    assert zqf("db", "restore", "b.db", "--logs").code == 2
    assert zqf("db", "restore", "nothing.db").code == 2
    assert executions(zqf) == [1]


def test_beside_a_server_a_backup_is_made_and_a_restore_refused(
    live: Server, zqf: Zqf, tmp_path: Path
) -> None:
    assert zqf("db", "backup", tmp_path / "b.db", "--logs").code == 0
    done = zqf("db", "restore", tmp_path / "b.db")
    assert (done.code, "is in use by process" in done.err) == (2, True)
    done = zqf("doctor", "--repair")
    assert (done.code, "nothing was changed" in done.out) == (1, True)


def test_beside_a_server_old_executions_are_deleted(live: Server, zqf: Zqf) -> None:
    for _ in range(3):
        assert zqf("tasks", "trigger", "hello", "--wait").code == 0
    before = len(json.loads(zqf("executions", "list", "--task", "hello", "--json").out)["executions"])
    done = json.loads(zqf("db", "prune", "--keep", "1", "--json").out)
    after = json.loads(zqf("executions", "list", "--task", "hello", "--json").out)
    assert done["executions"] >= before - 1 > 0
    assert (len(after["executions"]), after["total"]) == (1, 1)
    assert zqf("tasks", "trigger", "hello", "--wait").code == 0


def test_what_would_be_deleted_is_shown_first(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello", 3)
    would = zqf("db", "prune", "--older-than", "0s", "--dry-run")
    assert facts(would.out)["executions"] == "2, with their nodes 2"
    assert executions(zqf) == [3, 2, 1]
    assert facts(zqf("db", "prune", "--older-than", "0s").out) == facts(would.out)
    assert executions(zqf) == [3]


def test_without_limits_the_settings_hold(project: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch) -> None:
    run(zqf, "hello", 2)
    zqf("db", "prune")
    assert executions(zqf) == [2, 1]
    monkeypatch.setenv("ZQUANT_FLOW_RETENTION_COUNT", "1")
    zqf("db", "prune")
    assert executions(zqf) == [2]


def test_what_is_no_span_is_refused(project: Path, zqf: Zqf) -> None:
    zqf("db", "upgrade")
    done = zqf("db", "prune", "--older-than", "soon")
    assert (done.code, "--older-than" in done.err) == (2, True)
    assert zqf("db", "prune", "--keep", "0").code == 2


def test_another_schema_is_not_pruned(project: Path, zqf: Zqf) -> None:
    assert "newest schema" in zqf("db", "prune").err
    assert Unavailable.status == 503


def test_the_doctor_misses_results_that_should_lie_in_files(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello", 2)
    path = project / ".zquant-flow/logs/0/1.result.json"
    path.write_text("[1]")
    with closing(sqlite3.connect(DB)) as connection, connection:
        connection.execute("UPDATE executions SET result_size = 3 WHERE id IN (1, 2)")
    found = [one for one in json.loads(zqf("doctor", "--json").out)["findings"] if one["check"] == "results"]
    assert [(one["state"], one["detail"]) for one in found] == [
        ("warning", "1 have lost their files (execution 2)")
    ]


def test_the_doctor_finds_and_repairs(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello", 2)
    with closing(sqlite3.connect(DB)) as connection, connection:
        connection.execute("UPDATE task_tallies SET count = 9")
        connection.execute("UPDATE tasks SET active_count = 4")
        connection.execute("DELETE FROM executions WHERE id = 1")

    def states(*flags: str) -> tuple[int, dict[str, list[str]]]:
        done = zqf("doctor", "--json", *flags)
        found: dict[str, list[str]] = {}
        for one in json.loads(done.out)["findings"]:
            found.setdefault(one["check"], []).append(f"{one['state']}: {one['detail']}")
        return done.code, found

    code, found = states()
    assert (code, len(found["records"])) == (1, 4)
    assert found["logs"] == ["warning: 1 belong to no execution (0.0 MB)"]
    code, found = states("--repair")
    assert code == 0
    assert all(one.startswith("ok: repaired: ") for one in [*found["records"], *found["logs"]])
    assert (project / ".zquant-flow/lost-logs/1-1.log").exists()
    code, found = states()
    assert (code, found["records"]) == (0, ["ok: totals, tasks and counters agree with the executions"])


def test_a_damaged_database_is_not_repaired_and_the_way_back_is_named(project: Path, zqf: Zqf) -> None:
    run(zqf, "hello")
    zqf("db", "backup", "b.db")
    data = bytearray(Path(DB).read_bytes())
    data[8192:] = b"\x07" * (len(data) - 8192)
    Path(DB).write_bytes(data)
    done = zqf("doctor", "--repair")
    assert (done.code, "zquant-flow db restore FILE" in done.out) == (1, True)
    assert Path(DB).read_bytes() == data
    assert zqf("db", "restore", "b.db").code == 0
    assert zqf("doctor").code == 0
    assert executions(zqf) == [1]
