"""The command line as people and scripts meet it: real processes, exit codes, plain errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def zqf(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "zquant_flow", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "ZQUANT_FLOW_TIMEZONE": "UTC", **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    return tmp_path


def test_help_lists_the_commands(folder: Path) -> None:
    done = zqf(folder, "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("serve", "run", "validate", "next", "schema"))


def test_next_prints_utc_for_scripts(folder: Path) -> None:
    words = (
        "next",
        "0 18 * * 1-5",
        "--tz",
        "Asia/Shanghai",
        "--from",
        "2026-01-01T00:00:00",
        "-n",
        "2",
        "--json",
    )
    done = zqf(folder, *words)
    assert json.loads(done.stdout) == {"fires": ["2026-01-01T10:00:00+00:00", "2026-01-02T10:00:00+00:00"]}


def test_next_counts_an_instant_that_is_now(folder: Path) -> None:
    done = zqf(folder, "next", "0 10 * * *", "--from", "2026-01-01T10:00:00", "-n", "1", "--json")
    assert json.loads(done.stdout)["fires"] == ["2026-01-01T10:00:00+00:00"]


def test_next_says_zone_and_words_to_people(folder: Path) -> None:
    done = zqf(folder, "next", "30 18 * * 1-5", "-n", "1")
    assert done.stdout.startswith("at 18:30, Monday to Friday, UTC\n")


@pytest.mark.parametrize(
    ("target", "words"),
    [("0 0 30 2 *", "never fires"), ("61 * * * *", "minute"), ("nobody", "neither a cron expression")],
)
def test_next_refuses_what_it_can_not_read_in_one_line(folder: Path, target: str, words: str) -> None:
    done = zqf(folder, "next", target)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_validate_names_file_line_and_column(folder: Path) -> None:
    (folder / "tasks" / "good.yaml").write_text("name: good\ncommand: echo\n")
    (folder / "tasks" / "bad.yaml").write_text("name: bad\ncommand: echo\ncolour: red\n")
    done = zqf(folder, "validate")
    assert done.returncode == 2
    assert "tasks/bad.yaml:3:1: " in done.stdout
    assert done.stdout.splitlines()[-1] == "1 task, 1 error"


def test_validate_is_silent_about_good_files_and_takes_paths(folder: Path) -> None:
    (folder / "tasks" / "good.yaml").write_text("name: good\ncommand: echo\n")
    (folder / "tasks" / "bad.yaml").write_text("nonsense")
    done = zqf(folder, "validate", "tasks/good.yaml")
    assert (done.returncode, done.stdout) == (0, "  good  when triggered\n1 task, no errors\n")
    assert json.loads(zqf(folder, "validate", "--json").stdout)["errors"][0]["path"] == "tasks/bad.yaml"


def test_schema_is_json_schema(folder: Path) -> None:
    schema = json.loads(zqf(folder, "schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "cron" in schema["properties"]


def test_run_shows_the_changes_and_the_log_and_tells_by_its_exit_code(folder: Path) -> None:
    (folder / "tasks" / "hello.yaml").write_text("name: hello\ncommand: echo hello there\n")
    (folder / "tasks" / "bad.yaml").write_text('name: bad\ncommand: ["sh", "-c", "echo why; exit 3"]\n')
    good = zqf(folder, "run", "hello")
    assert good.returncode == 0
    assert "success    hello" in good.stdout
    assert "hello there" in good.stdout
    bad = zqf(folder, "run", "tasks/bad.yaml")
    assert bad.returncode == 1
    assert "exit code 3" in bad.stdout
    assert "why" in bad.stdout


def test_run_takes_params_and_prints_json(folder: Path) -> None:
    (folder / "tasks" / "p.py").write_text(
        "from zquant_flow import task\n\n@task\ndef double(n: int = 1):\n    return {'n': 2 * n}\n"
    )
    done = zqf(folder, "run", "double", "-p", "n=21", "--json")
    execution = json.loads(done.stdout)
    assert (execution["status"], execution["result"]) == ("success", {"n": 42})


def test_run_records_history_unless_it_is_ephemeral(folder: Path) -> None:
    (folder / "tasks" / "hello.yaml").write_text("name: hello\ncommand: echo\n")
    assert json.loads(zqf(folder, "run", "hello", "--json").stdout)["id"] == 1
    assert json.loads(zqf(folder, "run", "hello", "--json").stdout)["id"] == 2
    assert json.loads(zqf(folder, "run", "hello", "--json", "--ephemeral").stdout)["id"] == 1


def test_run_fires_no_schedule(folder: Path) -> None:
    (folder / "tasks" / "often.yaml").write_text("name: often\ninterval: 1\ncommand: sh -c 'echo >> fired'\n")
    (folder / "tasks" / "slow.yaml").write_text("name: slow\ncommand: sleep 2.5\n")
    zqf(folder, "run", "often", "--ephemeral")
    done = zqf(folder, "run", "slow")
    assert done.returncode == 0
    assert (folder / "tasks" / "fired").read_text() == "\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nobody"), "no task is named 'nobody'"),
        (("run", "tasks/none.yaml"), "no task is named"),
        (("run", "hello", "-p", "x"), "write NAME=VALUE"),
        (("validate", "nowhere"), "nowhere does not exist"),
        (("serve", "--timezone", "Mars/Base"), "unknown time zone 'Mars/Base'"),
        (("serve", "--port", "70000"), "port"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), "ZQUANT_FLOW_ADMIN_TOKEN"),
    ],
)
def test_wrong_use_is_one_plain_line_and_exit_code_2(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    (folder / "tasks" / "hello.yaml").write_text("name: hello\ncommand: echo\n")
    done = zqf(folder, *words)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_come_from_flag_then_environment_then_file(folder: Path) -> None:
    (folder / "zquant-flow.toml").write_text('timezone = "Asia/Shanghai"\n')
    words = ("next", "0 12 * * *", "--from", "2026-01-01T00:00:00", "-n", "1", "--json")
    environment = {key: value for key, value in os.environ.items() if key != "ZQUANT_FLOW_TIMEZONE"}

    def first(**more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "zquant_flow", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**environment, **more},
        )
        return str(json.loads(done.stdout)["fires"][0])

    assert first() == "2026-01-01T04:00:00+00:00"
    assert first(ZQUANT_FLOW_TIMEZONE="UTC") == "2026-01-01T12:00:00+00:00"


def test_a_settings_file_that_is_no_toml_is_one_plain_line(folder: Path) -> None:
    (folder / "zquant-flow.toml").write_text("timezone = \n")
    done = zqf(folder, "validate")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "zquant-flow.toml can't be read" in done.stderr


def test_next_says_what_a_task_runs_after(folder: Path) -> None:
    tasks = folder / "tasks"
    (tasks / "a.yaml").write_text(
        "name: a\ncommand: 'true'\ncron: '0 1 * * *'\n---\nname: b\ncommand: 'true'\n"
    )
    (tasks / "c.yaml").write_text("name: c\nafter: [a, b]\nconsumes: [bars]\ncommand: 'true'\n")
    (tasks / "d.yaml").write_text(
        "name: one two three four five\ncommand: 'true'\ncron: '0 1 * * *'\nafter: a\n"
        "---\nname: e\ncommand: 'true'\non_file: in/*.csv\nwebhook: pushed\n"
    )
    assert zqf(folder, "next", "e").stdout == (
        "runs for each new file in/*.csv; when its webhook pushed is called\n"
    )
    assert zqf(folder, "next", "c").stdout == "runs after a, b, bars\n"
    assert json.loads(zqf(folder, "next", "c", "--json").stdout) == {"fires": []}
    both = zqf(
        folder, "next", "one two three four five", "-n", "1", "--from", "2026-01-01"
    ).stdout.splitlines()
    assert both[0] == "runs after a"
    assert both[2].endswith("2026-01-01 01:00:00Z")
    refused = zqf(folder, "next", "b")
    assert (refused.returncode, refused.stderr) == (2, "error: task 'b' has no schedule\n")
