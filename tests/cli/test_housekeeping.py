"""Tokens, plugins, the database, new files, the doctor, and completion."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Zqf, stand_in
from tests.e2e.serving import Server
from zquant_flow.cli.completion import task_names

# Tokens and plugins


def test_a_token_is_made_listed_and_revoked(project: Path, zqf: Zqf) -> None:
    made = zqf("tokens", "create", "ci", "--expires", "30d")
    assert (made.code, len(made.out.split())) == (0, 1)
    assert "shown this once" in made.err
    listed = zqf("tokens", "list")
    assert listed.lines[1].split()[:3] == ["1", "ci", "admin"]
    assert made.out.strip() not in zqf("tokens", "list", "--json").out
    assert zqf("tokens", "list", "--quiet").out == "1\n"
    assert zqf("tokens", "revoke", "ci").out.startswith("revoked  1  ci")
    assert zqf("tokens", "list", "--json").out == '{"tokens":[]}\n'
    assert zqf("tokens", "revoke", "ci").code == 2


def test_a_token_made_on_the_folder_opens_the_server(
    live: Server, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = json.loads(zqf("tokens", "create", "remote", "--json").out)["token"]
    monkeypatch.setenv("ZQUANT_FLOW_SERVER_URL", live.client.url)
    monkeypatch.setenv("ZQUANT_FLOW_TOKEN", token)
    assert zqf("tasks", "list").code == 0
    monkeypatch.setenv("ZQUANT_FLOW_TOKEN", "wrong")
    assert zqf("tasks", "list").code == 2


def test_plugins_are_listed(project: Path, zqf: Zqf) -> None:
    done = zqf("plugins", "list")
    assert done.lines[0].split() == ["NAME", "VERSION", "FROM", "STATE", "EXECUTORS", "NOTIFIERS", "HOOKS"]
    assert json.loads(zqf("plugins", "list", "--json").out)["plugins"]


# The database


def test_the_schema_is_shown_and_brought_to_the_newest(project: Path, zqf: Zqf) -> None:
    assert json.loads(zqf("db", "current", "--json").out)["found"] is None
    assert zqf("db", "upgrade").code == 0
    facts = json.loads(zqf("db", "current", "--json").out)
    assert facts["found"] == facts["newest"]
    assert "the newest" in zqf("db", "upgrade").out


def test_a_served_database_is_not_upgraded(live: Server, zqf: Zqf) -> None:
    assert zqf("db", "current").code == 0
    done = zqf("db", "upgrade")
    assert (done.code, "is in use by process" in done.err) == (2, True)


# New files


def test_a_project_begins_and_is_never_overwritten(
    tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch)
    assert zqf("init", "here").code == 0
    monkeypatch.chdir(tmp_path / "here")
    assert zqf("validate").code == 0
    (tmp_path / "here" / "zquant-flow.toml").write_text("# mine\n")
    (tmp_path / "here" / "tasks" / "hello.yaml").write_text("name: mine\ncommand: 'true'\n")
    again = zqf("init")
    assert (again.code, again.out.count("kept")) == (0, 2)
    assert (tmp_path / "here" / "zquant-flow.toml").read_text() == "# mine\n"
    assert "mine" in (tmp_path / "here" / "tasks" / "hello.yaml").read_text()


NAMES = ["nightly", "每日同步", 'it\'s "quoted" \\ 100%', "true", "class", "1st", "a: b", "task"]


def test_new_files_load_as_they_are(tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    for name in NAMES:
        assert zqf("new", "task", name, "--dir", "tasks").code == 0
        assert zqf("new", "workflow", f"{name} w", "--dir", "tasks").code == 0
        assert zqf("new", "task", f"{name} p", "--python", "--dir", "tasks").code == 0
        assert zqf("new", "workflow", f"{name} pw", "--python", "--dir", "tasks").code == 0
    done = zqf("validate")
    assert (done.code, done.lines[-1]) == (0, f"{4 * len(NAMES)} tasks, no errors"), done.out
    listed = json.loads(zqf("tasks", "list", "--json").out)["tasks"]
    assert {task["name"] for task in listed} == {
        f"{name}{end}" for name in NAMES for end in ("", " w", " p", " pw")
    }


def test_new_files_run(project: Path, zqf: Zqf) -> None:
    zqf("new", "task", "made", "--python")
    zqf("new", "workflow", "made flow", "--python")
    done = zqf("run", "made", "-p", "limit=3", "--json")
    assert json.loads(done.out)["result"] == {"rows": 3}
    assert zqf("run", "made flow").code == 0


def test_a_file_that_is_there_is_refused(project: Path, zqf: Zqf) -> None:
    before = (project / "tasks" / "hello.yaml").read_text()
    done = zqf("new", "task", "hello")
    assert (done.code, "is there already" in done.err) == (2, True)
    assert (project / "tasks" / "hello.yaml").read_text() == before


# The doctor


def findings(out: str) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in json.loads(out)["findings"]}


def test_a_healthy_project_has_no_problem(live: Server, zqf: Zqf) -> None:
    done = zqf("doctor", "--json")
    found = findings(done.out)
    assert {one["state"] for one in found.values()} <= {"ok", "warning"}, found
    assert done.code == 0
    assert found["server"]["detail"].startswith(live.client.url)
    assert found["runner"]["detail"] == "it runs"
    assert zqf("doctor").lines[0].split() == ["CHECK", "STATE", "FOUND"]


def test_a_project_that_never_began_has_no_problem_and_nothing_is_made(project: Path, zqf: Zqf) -> None:
    assert zqf("doctor").code == 0
    assert not (project / ".zquant-flow").exists()


def test_each_problem_has_its_way_out(project: Path, zqf: Zqf) -> None:
    assert zqf("tasks", "list").code == 0
    data = project / ".zquant-flow"
    (data / "admin.token").write_text("secret")
    (data / "admin.token").chmod(0o644)
    data.chmod(0o755)
    (project / "tasks" / "broken.yaml").write_text("nonsense")
    done = zqf("doctor", "--json")
    problems = {
        check: one["way_out"] for check, one in findings(done.out).items() if one["state"] == "problem"
    }
    assert done.code == 1
    assert set(problems) == {"data folder", "token", "tasks folder"}
    assert problems["data folder"] == f"chmod 700 {data}"
    text = zqf("doctor").out
    assert "zquant-flow validate" in text
    assert text.splitlines()[-1].startswith("3 problems")


def test_another_schema_is_told_and_not_touched(project: Path, zqf: Zqf) -> None:
    zqf("db", "upgrade")
    file = project / ".zquant-flow" / "zquant-flow.db"
    for version, state in [("0001", "warning"), ("9999", "problem")]:
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.close()
        found = findings(zqf("doctor", "--json").out)["database"]
        assert (found["state"], version in found["detail"]) == (state, True)
        assert json.loads(zqf("db", "current", "--json").out)["found"] == version


def test_a_damaged_database_is_a_problem(project: Path, zqf: Zqf) -> None:
    zqf("db", "upgrade")
    file = project / ".zquant-flow" / "zquant-flow.db"
    for name in ("-wal", "-shm"):
        Path(f"{file}{name}").unlink(missing_ok=True)
    data = bytearray(file.read_bytes())
    data[5000:] = os.urandom(len(data) - 5000)
    file.write_bytes(data)
    done = zqf("doctor", "--json")
    assert done.code == 1
    states = {check: one["state"] for check, one in findings(done.out).items()}
    assert "problem" in (states.get("database"), states.get("integrity"))


# Completion


def test_names_are_completed_from_the_live_server(live: Server) -> None:
    assert task_names("he") == ["hello"]
    assert task_names("夜") == ["夜间流程"]
    assert task_names("nobody") == []


def test_without_a_server_nothing_is_completed_and_nothing_is_made(project: Path) -> None:
    assert task_names("he") == []
    assert not (project / ".zquant-flow").exists()
