"""The fixtures that a project gets from us: run a definition for real and look at its tree, or say when it fires."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from zquant_flow.errors import BadRequest
from zquant_flow.testing import Flow, Harness, command_task

WORKFLOW = """
name: nightly
workflow_type: parallel
on_failure: continue
tasks:
  - name: load
    executor: example
    config: {duration_seconds: 0, message: 行情}
  - name: broken
    command: sh -c "echo no quotes; exit 3"
  - name: report
    command: echo "{{ nodes.load.result.steps }} steps"
    dependencies: [load]
  - name: never
    command: "true"
    dependencies: [broken]
"""


def test_a_definition_is_run_and_its_tree_is_what_came_of_it(zqf: Flow) -> None:
    run = zqf.run(WORKFLOW)
    assert run.status == "completed"
    assert {name: node.status for name, node in run.nodes.items()} == {
        "load": "success",
        "broken": "failed",
        "report": "success",
        "never": "skipped",
    }
    assert run["load"].result == {"message": "行情", "steps": 10}
    assert "行情: step 10 of 10" in run["load"].log
    assert run["report"].log == "10 steps\n"
    assert (run["broken"].error_code, run["broken"].attempts) == ("exit_code", ("failed",))
    assert "  broken: failed (exit_code" in str(run)
    assert "no quotes" in str(run)
    with pytest.raises(KeyError, match="nightly has no node 'lod'; it has load, "):
        run["lod"]


def test_a_mapping_needs_no_name_and_takes_params(zqf: Flow) -> None:
    task = {"command": "echo {{ params.day }}", "params": {"day": "today"}}
    assert zqf.run(task).log == "today\n"
    assert zqf.run(task, params={"day": "1月5日"}).log == "1月5日\n"
    again = zqf.run({**task, "command": "echo changed"})
    assert (again.name, again.log) == ("task", "changed\n")


def test_items_of_a_for_each_are_numbered(zqf: Flow) -> None:
    run = zqf.run(
        "name: fan\ntasks:\n"
        "  - name: each\n    command: echo {{ item }}\n    for_each: [a, b]\n"
        "  - name: last\n    command: echo last\n    dependencies: [each]\n"
    )
    assert {name: item.log for name, item in run["each"].nodes.items()} == {
        "each[0]": "a\n",
        "each[1]": "b\n",
    }


def test_a_file_of_a_project_is_run_in_its_place_and_nothing_is_written_there(
    zqf: Flow, tmp_path: Path
) -> None:
    tasks = tmp_path / "project" / "tasks"
    (tasks / "sub").mkdir(parents=True)
    (tasks / "words.py").write_text("WORD = 'helper'\n")
    (tasks / "greet.py").write_text(
        "from zquant_flow import task\nfrom words import WORD\n\n@task\ndef greet(): return WORD\n\n"
        "@task(name='other')\ndef another(): return 'other'\n"
    )
    (tasks / "sub" / "both.yaml").write_text("name: both\ntasks:\n  - task: greet\n  - task: other\n")
    before = sorted(tasks.rglob("*.[py]*"))
    assert zqf.run(tasks / "greet.py", task="greet").result == "helper"
    assert zqf.run(str(tasks / "greet.py"), task="other").result == "other"
    assert zqf.run(tasks / "sub" / "both.yaml")["greet"].result == "helper"
    with pytest.raises(BadRequest, match="has no task 'grete'; it has"):
        zqf.run(tasks / "greet.py", task="grete")
    with pytest.raises(BadRequest, match="there is no file"):
        zqf.run("tasks/nowhere.yaml")
    assert sorted(tasks.rglob("*.[py]*")) == before


def test_what_is_wrong_with_a_definition_is_said_with_its_place(zqf: Flow) -> None:
    with pytest.raises(BadRequest, match=r"(?s)x-[0-9a-f]+\.yaml:2:1: .*comand"):
        zqf.run("name: x\ncomand: echo\n")


def test_what_takes_too_long_is_an_error_that_shows_the_tree(zqf: Flow) -> None:
    with pytest.raises(AssertionError, match=r"not within 0.1 s: its end\ntask: running"):
        zqf.run({"command": "sleep 60"}, seconds=0.1)


def test_fires_are_those_of_the_span_in_the_zone_of_the_task(zqf: Flow) -> None:
    task = 'name: t\ncron: "30 18 * * 1-5"\ntimezone: Asia/Shanghai\ncommand: echo\n'
    fires = zqf.fires(task, "2026-01-05T18:30", "2026-01-12T18:30")
    assert [f"{fire:%a %H:%M %z}" for fire in fires] == [
        f"{day} 18:30 +0800" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")
    ]
    with_offset = datetime.fromisoformat("2026-01-05T10:31+00:00")
    assert len(zqf.fires(task, with_offset, "2026-01-12")) == 4
    every = zqf.fires({"interval": "6h", "command": "echo"}, "2026-01-05", "2026-01-06")
    assert [fire.hour for fire in every] == [6, 12, 18]
    assert zqf.fires({"command": "echo"}, "2026-01-05", "2026-01-06") == []


def test_the_settings_of_the_environment_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQUANT_FLOW_DATABASE_URL", "postgresql://nowhere/x")
    monkeypatch.setenv("ZQUANT_FLOW_THREAD_POOL_SIZE", "none")
    with Flow(tmp_path) as flow:
        assert flow.run({"command": "echo here"}).log == "here\n"
    flow.close()


def test_the_harness_has_hands_on_clock_and_attempts(zqf_harness: Harness) -> None:
    (task,) = zqf_harness.define(command_task("t"))
    run = zqf_harness.operations.trigger(task, actor="test")
    zqf_harness.end(run)
    assert zqf_harness.status(run) == "success"


def test_who_has_it_installed_and_does_not_use_it_pays_nothing() -> None:
    code = "import zquant_flow.testing.pytest_plugin, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("zquant_flow")}
    assert ours == {"zquant_flow", "zquant_flow.testing", "zquant_flow.testing.pytest_plugin"}
    assert not set(done.stdout.split()) & {"pydantic", "sqlalchemy", "fastapi", "yaml", "psutil"}


def test_a_suite_of_others_runs_with_it_under_the_strictest_of_settings(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text("def test_theirs(zqf): assert zqf.folder.name == 'zqf'\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "zquant_flow"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
