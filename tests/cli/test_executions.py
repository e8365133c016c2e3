"""Commands about executions and times, against a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Zqf
from tests.e2e.serving import Server, until


def run_in(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command that goes on, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "zquant_flow", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ZQUANT_")},
    )


def interrupted(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode


# Lists and one


def test_a_large_result_is_printed_by_a_command_of_its_own(live: Server, zqf: Zqf) -> None:
    put = "head -c 400000 /dev/zero | tr '\\0' x | sed s/^/big=/ > $ZQUANT_FLOW_OUTPUT"
    made = live.client.post("/executions", {"definition": {"name": "big", "command": put}}, 201)
    id_ = made["execution_id"]
    live.client.ended(id_)
    shown = next(line for line in zqf("executions", "show", id_).lines if line.startswith("result"))
    assert shown.split(maxsplit=1)[1] == f"400011 bytes; see: zqf executions result {id_}"
    assert json.loads(zqf("executions", "result", id_).out) == {"big": "x" * 400_000}


def test_executions_are_listed_by_task_status_and_time(live: Server, zqf: Zqf) -> None:
    good, bad = live.client.trigger("hello"), live.client.trigger("bad")
    assert [live.client.ended(id_)["status"] for id_ in (good, bad)] == ["success", "failed"]
    done = zqf("executions", "list", "--task", "bad")
    assert done.lines[0].split() == ["ID", "TASK", "STATUS", "BEGAN", "TOOK", "TRIGGER"]
    assert done.lines[1].split()[:3] == [str(bad), "bad", "failed"]
    assert done.lines[1].endswith("exit code 3")
    assert str(good) in zqf("executions", "list", "--status", "success", "--since", "1h", "--quiet").lines
    assert zqf("executions", "list", "--until", "2026-01-01", "--json").out.startswith(
        '{"executions":[],"total":0'
    )
    page = json.loads(
        zqf("executions", "list", "--trigger-type", "api", "-q", "hello", "--limit", "1", "--json").out
    )
    assert [one["task_name"] for one in page["executions"]] == ["hello"]


def test_an_execution_is_shown_with_attempts_and_nodes(live: Server, zqf: Zqf) -> None:
    id_ = live.client.trigger("夜间流程")
    live.client.ended(id_)
    done = zqf("executions", "show", id_)
    assert [line.split()[0] for line in done.lines[-2:]] == ["提取", "load"]
    assert "failed" in done.lines[-1]
    children = json.loads(zqf("executions", "show", id_, "--json").out)["children"]
    attempts = zqf("executions", "show", children[1]["id"])
    assert "ATTEMPT" in attempts.out and "exit code 1" in attempts.out


def test_what_is_not_there_is_one_line_and_exit_code_2(live: Server, zqf: Zqf) -> None:
    for words in (["show"], ["logs"], ["logs", "-f"], ["terminate"], ["pause"], ["resume"]):
        done = zqf("executions", *words, 999_999)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), words
        assert "999999" in done.err


@pytest.mark.parametrize("when", ["yesterday", "2h3x", "-5m", ""])
def test_a_time_that_can_not_be_read_names_its_option(live: Server, zqf: Zqf, when: str) -> None:
    done = zqf("executions", "list", f"--since={when}")
    assert (done.code, "--since" in done.err) == (2, True)


# Logs


def test_a_log_is_printed_whole_and_by_its_end(live: Server, zqf: Zqf) -> None:
    id_ = live.client.trigger("lines")
    live.client.ended(id_)
    assert zqf("executions", "logs", id_).lines == ["line 1", "line 2", "line 3"]
    assert zqf("executions", "logs", id_, "--tail", 1).lines == ["line 3"]
    assert zqf("executions", "logs", id_, "--attempt", 2).out == ""


def test_a_log_is_followed_to_the_end(live: Server, zqf: Zqf) -> None:
    done = zqf("executions", "logs", live.client.trigger("lines"), "-f")
    assert done.code == 0
    assert [line for line in done.lines if "attempt" not in line] == ["line 1", "line 2", "line 3"]


def test_the_log_of_a_workflow_names_its_nodes(live: Server, zqf: Zqf) -> None:
    id_ = live.client.trigger("夜间流程")
    live.client.ended(id_)
    done = zqf("executions", "logs", id_)
    assert (done.code, done.out, "提取" in done.err) == (0, "", True)


# Buttons


def test_a_running_execution_is_paused_resumed_and_ended(live: Server, zqf: Zqf) -> None:
    id_ = live.client.trigger("slow")
    until(lambda: live.client.execution(id_)["progress_percent"], "its first step")
    assert zqf("executions", "pause", id_).out.startswith(f"paused  {id_}")
    until(lambda: live.client.execution(id_)["status"] == "paused", "its pause")
    assert zqf("executions", "resume", id_).out.startswith(f"resumed  {id_}")
    assert zqf("executions", "terminate", id_).code == 0
    assert live.client.ended(id_)["status"] == "terminated"


def test_of_several_each_has_a_line_and_one_failure_is_exit_code_1(live: Server, zqf: Zqf) -> None:
    ended, running = live.client.trigger("hello"), live.client.trigger("slow")
    live.client.ended(ended)
    done = zqf("executions", "terminate", ended, running)
    assert done.code == 1
    assert [line.split()[:2] for line in done.lines] == [["failed", str(ended)], ["terminated", str(running)]]
    assert live.client.ended(running)["status"] == "terminated"


def test_resuming_what_failed_names_the_new_execution(live: Server, zqf: Zqf) -> None:
    id_ = live.client.trigger("夜间流程")
    live.client.ended(id_)
    done = zqf("executions", "resume", id_)
    again = int(done.out.split()[-1])
    assert done.out.split("  ")[:2] == ["resumed", str(id_)]
    assert live.client.ended(again)["resume_from_execution_id"] == id_


# A definition that is run once


def test_a_definition_runs_once(live: Server, zqf: Zqf, tmp_path: Path) -> None:
    file = tmp_path / "once.yaml"
    file.write_text("name: once\nshell: /bin/sh\nparams: {x: 1}\ncommand: echo x is $ZQF_PARAM_X\n")
    done = zqf("executions", "run", file, "-p", "x=7", "--wait", "--json")
    execution = json.loads(done.out)
    assert (done.code, execution["status"]) == (0, "success")
    assert zqf("executions", "logs", execution["id"]).out == "x is 7\n"
    assert zqf("tasks", "show", "once").code == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "name: a\nname: b\n", "a.yaml:2:1: "),
        ("a.yaml", "name: a\ncommand: x\n---\nname: b\ncommand: x\n", "2 definitions"),
        ("a.py", "x = 1\n", "no YAML file"),
        ("a.yaml", "name: a\ncommand: x\ncorn: x\n", "did you mean"),
    ],
)
def test_a_file_that_can_not_be_run_is_refused(
    live: Server, zqf: Zqf, tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    done = zqf("executions", "run", tmp_path / name)
    assert (done.code, words in done.err) == (2, True), done.err


# Backfill, statistics, what is ahead


def test_a_backfill_is_shown_made_and_waited_for(live: Server, zqf: Zqf) -> None:
    span = ("backfill", "hello", "--from", "2026-02-02", "--to", "2026-02-04T23:00")
    tried = zqf(*span, "--dry-run")
    assert (tried.code, len(tried.lines)) == (0, 4)
    assert "would begin: 3" in tried.err
    made = zqf(*span, "--parallel", 2, "--wait")
    assert made.code == 0
    assert [line.split()[:2] for line in made.lines[-3:]] == [[f"{n}/3", "success"] for n in (1, 2, 3)]
    again = json.loads(zqf(*span, "--json").out)
    assert (again["executions"], len(again["fired_before"])) == ([], 3)


def test_a_backfill_is_listed_and_cancelled(live: Server, zqf: Zqf) -> None:
    (live.tasks / "nights.yaml").write_text("name: nights\ncron: '0 9 * * *'\ncommand: sleep 60\n")
    until(lambda: live.client.find("nights"), "the task nights")
    span = ("backfill", "nights", "--from", "2026-02-02", "--to", "2026-02-04T23:00")
    first, *rest = zqf(*span, "--quiet").out.split()
    shown = zqf("backfill", "--list", "nights").out
    assert "1 running" in shown
    assert "under way" in shown
    assert zqf("backfill", "--cancel", first, "--terminate", "--quiet").out.split() == rest
    assert "cancelled" in zqf("backfill", "--list").out
    assert zqf("backfill", "--list", "nights", "--quiet").out.split() == [first]
    unknown = zqf("backfill", "--cancel", "99999")
    assert (unknown.code, "no backfill has the id 99999" in unknown.err) == (2, True)
    assert zqf("tasks", "delete", "nights", "-y").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nights",), "say what to run"),
        (("nights", "--cancel", "1"), "--cancel takes the id"),
        (("--list", "--from", "3d"), "--list takes no span"),
        (("nights", "--from", "3d", "--to", "now", "--terminate"), "--terminate goes with --cancel"),
    ],
)
def test_words_of_backfill_that_do_not_belong_together_are_refused(
    zqf: Zqf, words: tuple[str, ...], told: str
) -> None:
    done = zqf("backfill", *words)
    assert done.code == 2
    assert told in done.err


def test_a_backfill_that_fails_is_exit_code_1(live: Server, zqf: Zqf) -> None:
    (live.tasks / "failing.yaml").write_text("name: failing\ncron: '0 9 * * *'\ncommand: 'false'\n")
    until(lambda: live.client.find("failing"), "the task failing")
    done = zqf("backfill", "failing", "--from", "2026-02-02", "--to", "2026-02-03", "--wait", "--quiet")
    assert (done.code, len(done.lines)) == (1, 1)
    assert zqf("tasks", "delete", "failing", "-y").code == 0


def test_statistics_of_one_and_of_all(live: Server, zqf: Zqf) -> None:
    live.client.succeeded("params")
    one = json.loads(zqf("stats", "params", "--since", "1h", "--json").out)
    assert one["success_count"] >= 1
    done = zqf("stats")
    assert done.lines[0].split()[0] == "executions"
    assert any(line.split()[1:2] == ["params"] for line in done.lines)
    assert zqf("stats", "params").code == 0


def test_what_is_ahead(live: Server, zqf: Zqf) -> None:
    page = json.loads(zqf("upcoming", "--hours", "200", "--json").out)
    assert "hello" in {fire["name"] for fire in page["upcoming"]}
    assert "hello" in zqf("upcoming", "--hours", "200").out
    assert zqf("upcoming", "--hours", "200", "--quiet").out.split() == [str(live.client.find("hello")["id"])]  # type: ignore[index]


# Watching


def test_watch_tells_each_event_in_a_line_of_json_until_it_is_interrupted(live: Server) -> None:
    process = run_in(live.root, "watch", "--json")
    assert process.stdout is not None
    until_listening(live)
    id_ = live.client.trigger("slow")
    seen = []
    for line in process.stdout:
        event = json.loads(line)
        seen.append(event)
        if event["type"] == "execution" and event["id"] == id_ and event["status"] == "running":
            break
    assert interrupted(process) == 130
    live.client.post(f"/executions/{id_}/terminate")
    assert live.client.ended(id_)["status"] == "terminated"


def test_watch_shows_what_runs_when_it_begins(live: Server) -> None:
    id_ = live.client.trigger("slow")
    until(lambda: live.client.execution(id_)["status"] == "running", "its start")
    process = run_in(live.root, "watch")
    assert process.stdout is not None
    assert any(f"  {id_}  running     slow" in line for line in process.stdout)
    live.client.post(f"/executions/{id_}/terminate")
    assert any(f"  {id_}  terminated  slow" in line for line in process.stdout)
    assert interrupted(process) == 130


def test_an_interrupted_wait_leaves_the_execution_alone(live: Server) -> None:
    process = run_in(live.root, "tasks", "trigger", "slow", "--wait")
    assert process.stdout is not None
    assert process.stdout.readline().split()[0] == "running"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "goes on" in err) == (130, True)
    id_ = int(err.split()[1])
    assert live.client.execution(id_)["status"] == "running"
    live.client.post(f"/executions/{id_}/terminate")
    live.client.ended(id_)


def until_listening(server: Server) -> None:
    """Until a listener of the event stream is connected to the server."""
    import psutil

    port = int(server.client.url.rpartition(":")[2])
    mine = {os.getpid()}

    def connected() -> bool:
        return any(
            connection.raddr
            and connection.raddr.port == port
            and connection.status == "ESTABLISHED"
            and connection.pid not in mine
            for connection in psutil.net_connections("tcp")
            if connection.pid is not None and connection.laddr.port != port
        )

    until(connected, "a listener")


# Decisions


def test_a_question_is_listed_and_answered(live: Server, zqf: Zqf, tmp_path: Path) -> None:
    asks = tmp_path / "asks.yaml"
    asks.write_text("name: asks\ntasks:\n  - {name: ask, approval: publish it?}\n")
    running = int(zqf("executions", "run", asks, "--quiet").out)
    until(lambda: zqf("executions", "list", "--waiting-for", "approval", "--quiet").lines, "the question")
    listed = zqf("executions", "list", "--waiting-for", "approval")
    assert "waits for an answer: publish it?" in listed.out
    asked = int(listed.lines[1].split()[0])
    assert zqf("executions", "approve", running).code == 2
    done = zqf("executions", "reject", asked, "--comment", "too early")
    assert (done.code, done.out) == (0, f"rejected  {asked}\n")
    assert live.client.ended(running)["status"] == "failed"
    shown = zqf("executions", "show", asked).out
    assert "rejected by admin: too early" in shown


def test_an_execution_is_marked(live: Server, zqf: Zqf) -> None:
    failed = live.client.trigger("bad")
    live.client.ended(failed)
    assert zqf("executions", "mark", failed, "success", "--comment", "fine").out == f"marked  {failed}\n"
    assert "success, by admin" in zqf("executions", "show", failed).out
    assert zqf("executions", "mark", failed, "none").code == 0
    assert "by admin" not in zqf("executions", "show", failed).out.replace("api, admin", "")
    assert zqf("executions", "mark", failed, "perhaps").code == 2


def test_a_node_runs_again(live: Server, zqf: Zqf) -> None:
    failed = live.client.trigger("夜间流程")
    live.client.ended(failed)
    done = zqf("executions", "rerun", failed, "--node", "提取", "--descendants")
    assert done.out.startswith(f"runs again  {failed}  as execution ")
    again = int(done.out.split()[-1])
    nodes = {child["node"]: child["reused_from"] for child in live.client.ended(again)["children"]}
    assert nodes == {"提取": None, "load": None}
    assert zqf("executions", "rerun", failed, "--node", "laod").code == 2


def test_an_execution_and_a_node_explain_themselves(live: Server, zqf: Zqf) -> None:
    id_ = zqf("tasks", "trigger", "夜间流程", "--wait", "--quiet").lines[0]
    done = zqf("executions", "explain", id_)
    assert done.lines[0].startswith("夜间流程 (failed): it failed at ")
    assert "  - did not succeed: load (failed)" in done.lines
    assert zqf("executions", "explain", id_, "--node", "提取").out.startswith("夜间流程 / 提取 (success): ")
    assert json.loads(zqf("executions", "explain", id_, "--node", "load", "--json").out)["status"] == "failed"
    assert zqf("executions", "explain", id_, "--node", "lod").code == 2


def test_a_simulation_reads_well_and_is_json_where_wanted(live: Server, zqf: Zqf) -> None:
    done = zqf("simulate", "--from", "2031-01-06T00:00:00", "--to", "2031-01-10T23:59:59")
    assert "5 fires, 5 executions" in done.lines[0]
    assert any(line.startswith("hello") for line in done.lines)
    assert json.loads(zqf("simulate", "--json", "--task", "hello").out)["tasks"][0]["name"] == "hello"
    assert zqf("simulate", "--to", "never").code == 2
