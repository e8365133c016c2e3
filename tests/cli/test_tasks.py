"""Commands about tasks, against a running server and on the data folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Zqf
from tests.e2e.serving import Server


def task_names(out: str) -> list[str]:
    return [task["name"] for task in json.loads(out)["tasks"]]


# Lists


def test_a_list_has_aligned_columns_without_colours(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "list")
    header, *rows = done.lines
    assert done.code == 0
    assert header.split() == ["ID", "NAME", "STATUS", "SCHEDULE", "NEXT", "LATEST", "ENDED", "AS"]
    assert "\x1b" not in done.out
    hello = next(row for row in rows if " hello " in row)
    assert hello[header.index("SCHEDULE") :].startswith("0 9 * * 1-5")


def test_a_list_is_filtered_and_printed_as_json(live: Server, zqf: Zqf) -> None:
    assert task_names(zqf("tasks", "list", "--tag", "demo", "--json").out) == ["hello"]
    assert task_names(zqf("tasks", "list", "--type", "workflow", "--json").out) == ["夜间流程"]
    assert task_names(zqf("tasks", "list", "--source", "bad.yaml", "--json").out) == ["bad"]
    assert task_names(zqf("tasks", "list", "-q", "aram", "--json").out) == ["params"]
    assert task_names(zqf("tasks", "list", "--order-by", "-name", "--limit", "1", "--json").out) == [
        "夜间流程"
    ]


def test_quiet_prints_ids_and_nothing_else(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "list", "--tag", "demo", "--quiet")
    assert done.out == f"{live.client.find('hello')['id']}\n"  # type: ignore[index]


def test_what_is_cut_off_is_said_on_standard_error(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "list", "--limit", "2", "--quiet")
    assert len(done.lines) == 2
    assert "--limit shows more" in zqf("tasks", "list", "--limit", "2").err
    assert zqf("tasks", "list", "-q", "nobody-has-this")[:2] == (0, "")


# One


def test_a_task_is_shown_by_name_and_by_id(live: Server, zqf: Zqf) -> None:
    shown = zqf("tasks", "show", "hello")
    assert "0 9 * * 1-5" in shown.out
    assert "hello.yaml" in shown.out
    id_ = json.loads(zqf("tasks", "show", "hello", "--json").out)["id"]
    assert json.loads(zqf("tasks", "show", id_, "--json").out)["name"] == "hello"


def test_an_unknown_task_is_one_line_with_the_nearest_name(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "show", "hallo")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: no task is named 'hallo' (did you mean 'hello'?)\n"


def test_a_task_explains_itself(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "explain", "hello")
    assert done.out.startswith("hello: ")
    assert "next run" in done.out
    assert json.loads(zqf("tasks", "explain", "hello", "--json").out)["name"] == "hello"


def test_versions_are_listed_and_one_is_printed(live: Server, zqf: Zqf) -> None:
    assert zqf("tasks", "versions", "hello").lines[1].endswith("current")
    assert json.loads(zqf("tasks", "versions", "hello", "--json").out)["total"] == 1
    assert json.loads(zqf("tasks", "versions", "hello", "--version", "1").out)["version"] == 1


def test_the_ledger_is_listed(live: Server, zqf: Zqf) -> None:
    zqf("tasks", "trigger", "hello", "--logical-time", "2026-01-05T09:00", "--wait")
    done = zqf("tasks", "fires", "hello", "--from", "2026-01-05", "--to", "2026-01-06")
    assert "fired" in done.lines[1]
    [fire] = json.loads(
        zqf("tasks", "fires", "hello", "--from", "2026-01-05", "--to", "2026-01-06", "--json").out
    )["fires"]
    assert fire["logical_time"] == "2026-01-05T09:00:00Z"
    again = zqf("tasks", "trigger", "hello", "--logical-time", "2026-01-05T09:00")
    assert (again.code, "has fired" in again.err) == (2, True)
    assert (
        zqf("tasks", "trigger", "hello", "--logical-time", "2026-01-05T09:00", "--rerun", "--wait").code == 0
    )


# Trigger


def test_trigger_says_what_it_made_and_how_to_follow_it(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "trigger", "lines")
    assert done.code == 0
    assert "executions logs" in done.out
    id_ = int(done.out.split()[1])
    assert live.client.ended(id_)["status"] == "success"


def test_the_exit_code_of_a_waiting_trigger_tells_the_end(live: Server, zqf: Zqf) -> None:
    good = zqf("tasks", "trigger", "hello", "--wait")
    assert (good.code, good.lines[-1].split()[:2]) == (0, ["success", "hello"])
    bad = zqf("tasks", "trigger", "bad", "--wait")
    assert (bad.code, "exit code 3" in bad.out) == (1, True)
    assert zqf("tasks", "trigger", "bad", "--wait", "--quiet").code == 1


def test_a_waiting_trigger_shows_each_node_once(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "trigger", "夜间流程", "--wait")
    states = [line.split()[:2] for line in done.lines]
    assert done.code == 1
    assert states.count(["success", "提取"]) == 1
    assert states.count(["failed", "load"]) == 1
    assert states[-1] == ["failed", "夜间流程"]


def test_follow_prints_the_log_and_params_reach_the_task(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "trigger", "params", "-p", "x=5", "--follow")
    assert done.code == 0
    assert done.lines[0] == "x is 5"


def test_a_waiting_trigger_prints_the_execution_as_json(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "trigger", "params", "-p", 'x=["a"]', "--wait", "--json")
    execution = json.loads(done.out)
    assert (execution["status"], execution["params"]) == ("success", {"x": ["a"]})
    assert json.loads(zqf("tasks", "trigger", "params", "--json").out)["execution_id"] > execution["id"]


def test_the_same_key_triggers_once(live: Server, zqf: Zqf) -> None:
    words = ("tasks", "trigger", "params", "--idempotency-key", "k-1", "--quiet")
    assert zqf(*words).out == zqf(*words).out


# Switches


def test_one_task_is_switched_off_and_on(live: Server, zqf: Zqf) -> None:
    for action, word in [
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("pause", "paused"),
        ("resume", "resumed"),
    ]:
        done = zqf("tasks", action, "params")
        assert (done.code, done.out.split()[0], done.out.split()[2]) == (0, word, "params")
    assert not json.loads(zqf("tasks", "show", "params", "--json").out)["paused"]


def test_several_tasks_are_switched_with_a_line_for_each(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "disable", "params", "lines", "params")
    assert (done.code, len(done.lines)) == (0, 2)
    assert task_names(zqf("tasks", "list", "--disabled", "--json").out) == ["lines", "params"]
    results = json.loads(zqf("tasks", "enable", "params", "lines", "--json").out)["results"]
    assert [result["ok"] for result in results] == [True, True]


def test_with_one_unknown_name_none_is_switched(live: Server, zqf: Zqf) -> None:
    assert zqf("tasks", "disable", "params", "nobody-is-this").code == 2
    assert json.loads(zqf("tasks", "show", "params", "--json").out)["enabled"]


# Delete


def test_delete_asks_in_a_terminal_only(live: Server, zqf: Zqf) -> None:
    (live.tasks / "gone.yaml").write_text("name: gone\ncommand: 'true'\n")
    until_loaded(live, "gone")
    refused = zqf("tasks", "delete", "gone")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert zqf("tasks", "delete", "gone", "--yes").out.startswith("deleted")
    assert not (live.tasks / "gone.yaml").exists()
    assert "gone" in task_names(zqf("tasks", "list", "--archived", "--json").out)


def until_loaded(server: Server, name: str) -> None:
    from tests.e2e.serving import until

    until(lambda: server.client.find(name), f"the task {name}")


# Without a server


def test_without_a_server_the_data_folder_answers(project: Path, zqf: Zqf) -> None:
    assert task_names(zqf("tasks", "list", "--json", "--order-by", "name").out)[:2] == ["bad", "hello"]
    assert zqf("tasks", "disable", "hello", "bad").code == 0
    assert task_names(zqf("tasks", "list", "--disabled", "--json").out) == ["bad", "hello"]
    assert zqf("tasks", "delete", "bad", "-y").code == 0
    assert not (project / "tasks" / "bad.yaml").exists()


def test_without_a_server_history_is_read(project: Path, zqf: Zqf) -> None:
    assert [zqf("run", name).code for name in ("lines", "bad")] == [0, 1]
    [bad, lines] = json.loads(zqf("executions", "list", "--json").out)["executions"]
    assert (bad["task_name"], lines["task_name"]) == ("bad", "lines")
    assert zqf("executions", "logs", lines["id"], "--tail", 1).out == "line 3\n"
    assert zqf("executions", "logs", lines["id"], "-f").lines[-1] == "line 3"
    assert "exit code 3" in zqf("executions", "show", bad["id"]).out
    assert json.loads(zqf("stats", "--json").out)["total_executions"] == 2
    assert "hello" in zqf("upcoming", "--hours", 200).out
    refused = zqf("watch")
    assert (refused.code, "zquant-flow serve" in refused.err) == (2, True)


def test_without_a_server_nothing_runs_and_the_error_says_so(project: Path, zqf: Zqf) -> None:
    for words in (["tasks", "trigger", "hello"], ["backfill", "hello", "--from", "3d", "--to", "now"]):
        done = zqf(*words)
        assert (done.code, "zquant-flow serve" in done.err) == (2, True), done


def test_a_project_is_found_from_a_folder_below_it(
    project: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "zquant-flow.toml").write_text('timezone = "Asia/Shanghai"\n')
    monkeypatch.delenv("ZQUANT_FLOW_TIMEZONE")
    assert zqf("db", "upgrade").code == 0
    (project / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(project / "a" / "b")
    task = json.loads(zqf("tasks", "show", "hello", "--json").out)
    assert task["next_run_time"].endswith("T01:00:00Z")
    assert not (project / "a" / "b" / ".zquant-flow").exists()


def test_outside_of_a_project_nothing_is_made(
    tmp_path: Path, zqf: Zqf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = zqf("tasks", "list")
    assert (done.code, "zquant-flow init" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_is_held_by_no_server_says_by_whom(project: Path, zqf: Zqf) -> None:
    from zquant_flow.config import load_settings
    from zquant_flow.engine.ahead import lock_data_folder

    lock = lock_data_folder(load_settings())
    try:
        done = zqf("tasks", "list")
    finally:
        lock.close()
    assert done.code == 2
    assert "is in use by process" in done.err


def test_a_server_that_is_named_has_to_answer(live: Server, zqf: Zqf) -> None:
    done = zqf("tasks", "list", "--server", "http://127.0.0.1:9")
    assert (done.code, "http://127.0.0.1:9 can't be reached" in done.err) == (2, True)
    assert zqf("tasks", "list", "--server", live.client.url, "--limit", 1, "--quiet").code == 0
