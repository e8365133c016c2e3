"""Commands: how they are started, what they say, how they end. Real processes throughout."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.runner.client import Client, Runner
from tests.runner.waiting import descriptors_of, is_running, pid_in, state, until, zombies_of
from zquant_flow.runner.earlier import SMALL

FLOOD_MEGABYTES = int(os.environ.get("ZQUANT_FLOW_TEST_FLOOD_MB", "200"))
"""Half of it one line, half of it NUL. SCORECARD E1 has 1,000."""


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def test_exit_codes_are_stored_as_they_are(client: Client) -> None:
    codes = [0, 1, 2, 3, 126, 127, 128, 137, 254, 255]
    for code in codes:
        client.start(code + 1, ["/bin/sh", "-c", f"exit {code}"])
    for code in codes:
        outcome = client.wait(code + 1)
        assert outcome["exit_code"] == code
        assert outcome["kind"] == ("success" if code == 0 else "failed")
        assert outcome.get("error") == (f"exit code {code}" if code else None)


def test_signals_are_stored_with_their_names(client: Client) -> None:
    numbers = [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGPIPE, signal.SIGINT, signal.SIGHUP]
    for number in numbers:
        client.start(number, ["/bin/sh", "-c", f"kill -{int(number)} $$"])
    for number in numbers:
        outcome = client.wait(number)
        assert (outcome["kind"], outcome["signal"]) == ("failed", number)
        assert outcome["error"].startswith(f"killed by {number.name} (signal {int(number)})")
    assert "perhaps out of memory" in client.outcomes[signal.SIGKILL, 1]["error"]


def test_words_keep_their_blanks_and_a_shell_comes_only_for_operators(client: Client) -> None:
    assert client.run(1, "printf '%s|' 'a b' c")["kind"] == "success"
    assert client.log(1) == b"a b|c|"
    assert client.run(2, "echo one; echo two | tr a-z A-Z")["kind"] == "success"
    assert client.log(2) == b"one\nTWO\n"
    assert client.run(3, ["printf", "%s", "$HOME; ls"])["kind"] == "success"
    assert client.log(3) == b"$HOME; ls"


def test_command_not_found_names_the_word_and_where_it_was_sought(client: Client) -> None:
    outcome = client.run(1, "no-such-command --help")
    assert (outcome["kind"], outcome["code"]) == ("failed", "command_not_found")
    assert "'no-such-command'" in outcome["error"]
    assert "PATH" in outcome["error"]
    assert client.run(2, ["/no/such/file"])["code"] == "command_not_found"
    assert "/bin/sh -c" in client.run(3, "exit 3")["error"]


def test_what_can_not_be_started_says_why(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/interpreter\n")
    assert client.run(1, [str(script)])["code"] == "permission_denied"
    script.chmod(0o755)
    assert "interpreter" in client.run(2, [str(script)])["error"]
    assert client.run(3, ["true"], cwd="/no/such/folder")["code"] == "working_dir_missing"
    assert client.run(4, ["true", "x" * 3_000_000])["code"] == "spawn_failed"
    assert client.run(5, ["true", "a\0b"])["code"] == "spawn_failed"
    assert client.run(6)["code"] == "nothing_to_run"
    assert client.run(7, ["true"])["kind"] == "success"


def test_a_script_without_a_hash_bang_runs_by_sh(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("echo plain $1\n")
    script.chmod(0o755)
    assert client.run(1, ["./script.sh", "text"], cwd=str(tmp_path))["kind"] == "success"
    assert client.log(1) == b"plain text\n"


def test_identity_and_params_are_in_the_environment(tmp_path: Path) -> None:
    runner = Runner(tmp_path, env={"ZQUANT_FLOW_TOKEN": "secret", "ZQUANT_FLOW_DATABASE_URL": "secret"})
    client = runner.client()
    client.run(
        12,
        "env",
        attempt=3,
        params={"symbol": "贵州", "top n": 5, "flag": True, "none": None},
        env={"MINE": "x", "ZQF_PARAM_FLAG": "over"},
        logical_time="2026-01-02T03:04:05+00:00",
    )
    env = dict(line.split("=", 1) for line in client.log(12, 3).decode().splitlines() if "=" in line)
    assert env["ZQUANT_EXECUTION_ID"] == "12"
    assert env["ZQUANT_FLOW_ATTEMPT"] == "3"
    assert env["ZQUANT_FLOW_LOGICAL_TIME"] == "2026-01-02T03:04:05+00:00"
    assert json.loads(env["ZQUANT_FLOW_PARAMS"])["symbol"] == "贵州"
    assert (env["ZQF_PARAM_SYMBOL"], env["ZQF_PARAM_TOP_N"], env["ZQF_PARAM_NONE"]) == ("贵州", "5", "")
    assert (env["MINE"], env["ZQF_PARAM_FLAG"], env["PYTHONUTF8"]) == ("x", "over", "1")
    assert "secret" not in env.values()
    client.close()
    runner.end()


def test_results_of_earlier_nodes_are_in_a_file_and_small_ones_in_the_environment(client: Client) -> None:
    large = json.dumps("x" * SMALL)
    results = {
        "sync-daily": '{"rows": 5}',
        "text": '"贵州 600519"',
        "large": large,
        "a-b": "1",
        "a_b": "2",
        "提取": "3",
        "nul": r'"a\u0000b"',
    }
    script = 'env | grep ZQF_RESULT_ | sort; cat "$ZQUANT_FLOW_RESULTS"'
    assert client.run(1, script, results=results, left_out=["huge"])["kind"] == "success"
    complaint, rows, text, content = client.log(1).decode().split("\n", 3)
    assert complaint == "[zquant-flow] too large together for ZQUANT_FLOW_RESULTS, left out: huge"
    assert rows == 'ZQF_RESULT_SYNC_DAILY={"rows": 5}'
    assert text == "ZQF_RESULT_TEXT=贵州 600519"
    assert json.loads(content) == {name: json.loads(result) for name, result in results.items()}
    assert client.run(2, 'test -z "${ZQUANT_FLOW_RESULTS-}"')["kind"] == "success"
    assert client.run(3, ["/no/such/command"], results=results)["kind"] == "failed"
    assert not list((client.data_dir / "outputs").iterdir())


def test_many_small_results_do_not_overfill_the_environment(client: Client) -> None:
    results = {f"n{number}": json.dumps("x" * 30_000) for number in range(100)}
    script = 'env | grep -c ZQF_RESULT_; tr , "\\n" < "$ZQUANT_FLOW_RESULTS" | grep -c xxx'
    assert client.run(1, script, results=results)["kind"] == "success"
    assert client.log(1) == b"8\n100\n"


def test_results_that_the_disk_does_not_take_fail_the_attempt(client: Client) -> None:
    (client.data_dir / "outputs" / "1-1.results.json").mkdir()
    outcome = client.run(1, ["true"], results={"a": "1"})
    assert outcome["code"] == "spawn_failed"
    assert "the file of the earlier results can't be written" in outcome["error"]


def test_the_output_file_becomes_result_and_progress(client: Client) -> None:
    outcome = client.run(
        1,
        'echo rows=5 >> "$ZQUANT_FLOW_OUTPUT"; echo \'{"ok": true, "percent": 40}\' >> "$ZQUANT_FLOW_OUTPUT"',
    )
    assert json.loads(outcome["result"]) == {"rows": "5", "ok": True}
    assert outcome["progress"] == {"percent": 40}
    assert not list((client.data_dir / "outputs").iterdir())


def test_progress_is_told_while_the_command_runs(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    client.start(
        1,
        f'echo progress=10 > "$ZQUANT_FLOW_OUTPUT"; echo rows=5 >> "$ZQUANT_FLOW_OUTPUT"; until [ -e {gate} ]; do sleep 0.01; done',
    )
    assert client.wait_for("progress")["items"] == [{"id": 1, "attempt": 1, "percent": 10}]
    gate.touch()
    assert json.loads(client.wait(1)["result"]) == {"rows": "5"}


def test_timeout_ends_the_command_and_says_so(client: Client) -> None:
    outcome = client.run(1, ["sleep", "60"], timeout=0.1)
    assert (outcome["kind"], outcome["signal"]) == ("timeout", signal.SIGTERM)
    assert outcome["error"] == "timeout after 0.1 s"
    assert outcome["seconds"] < 5


def test_terminate_ends_a_tree_that_ignores_sigterm(client: Client, tmp_path: Path) -> None:
    script = f"""trap '' TERM
        sh -c "trap '' TERM; echo \\$\\$ > {tmp_path}/child; while :; do sleep 0.1; done" &
        echo $$ > {tmp_path}/leader
        while :; do sleep 0.1; done"""
    client.start(1, ["/bin/sh", "-c", script])
    pids = [pid_in(tmp_path / "child"), pid_in(tmp_path / "leader")]
    client.send(op="terminate", id=1, attempt=1, kind="terminated", grace=0.2)
    outcome = client.wait(1)
    assert (outcome["kind"], outcome["signal"]) == ("terminated", signal.SIGKILL)
    assert outcome["error"] == "killed by SIGKILL (signal 9)"
    until(lambda: not any(map(is_running, pids)), what="the end of the tree")


def test_a_stopped_command_still_obeys_sigterm(client: Client, tmp_path: Path) -> None:
    client.start(1, f"echo $$ > {tmp_path}/pid; kill -STOP $$; sleep 60")
    pid = pid_in(tmp_path / "pid")
    until(lambda: state(pid) == "T", what="the stop")
    client.send(op="terminate", id=1, attempt=1, kind="shutdown", grace=5)
    assert client.wait(1)["kind"] == "shutdown"


@pytest.mark.parametrize(
    "how",
    [
        "sleep 60 &",
        "setsid sleep 60 &",
        "(setsid sh -c 'sleep 60 & echo $! > PIDFILE' &);",
        "setsid env -i sleep 60 &",
    ],
)
def test_what_a_command_leaves_behind_is_ended(client: Client, tmp_path: Path, how: str) -> None:
    pid_file = tmp_path / "pid"
    how = how.replace("PIDFILE", str(pid_file))
    last = "" if str(pid_file) in how else f"echo $! > {pid_file}; "
    client.start(1, f"{how} {last} until [ -s {pid_file} ]; do sleep 0.01; done")
    pid = pid_in(pid_file)
    assert client.wait(1)["kind"] == "success"
    until(lambda: not is_running(pid), what="the end of the stray")


def test_a_daemon_of_a_running_command_lives_on_while_others_end(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    client.start(
        1, f"(setsid sh -c 'echo $$ > {tmp_path}/pid; sleep 60' &); until [ -e {gate} ]; do sleep 0.01; done"
    )
    pid = pid_in(tmp_path / "pid")
    for other in range(2, 6):
        client.run(other, ["true"])
    assert is_running(pid)
    gate.touch()
    client.wait(1)
    until(lambda: not is_running(pid), what="the end of the daemon")


def test_a_grandchild_with_the_pipe_does_not_delay_the_end(client: Client) -> None:
    outcome = client.run(1, "sleep 60 & echo done")
    assert outcome["kind"] == "success"
    assert outcome["seconds"] < 2
    assert client.log(1) == b"done\n"


def test_a_grandchild_that_floods_the_pipe_does_not_delay_the_end(client: Client) -> None:
    outcome = client.run(1, "trap '' TERM; yes & sleep 0.05")
    assert outcome["kind"] == "success"
    assert outcome["seconds"] < 2


def test_endless_output_is_cut_and_costs_no_memory(runner: Runner, client: Client) -> None:
    client.run(1, ["true"])
    before = resident_mb(runner.process.pid)
    size = FLOOD_MEGABYTES * 500_000
    client.start(2, f"head -c {size} /dev/zero | tr '\\0' x; head -c {size} /dev/zero")
    began = time.monotonic()
    assert client.run(3, ["true"])["kind"] == "success"
    assert time.monotonic() - began < 1
    assert client.wait(2)["kind"] == "success"
    assert resident_mb(runner.process.pid) - before < 10
    log = client.log(2)
    assert log.endswith(b"\n[zquant-flow] log cut at 10 MB\n")
    assert len(log) < 10 * 1024 * 1024 + 100


def test_bytes_are_kept_raw(client: Client) -> None:
    client.run(1, ["printf", r"\377\376\000\033[31m\344"])
    assert client.log(1) == b"\xff\xfe\x00\x1b[31m\xe4"


def test_logs_are_made_at_the_first_byte_and_for_the_owner_only(client: Client) -> None:
    client.run(1, ["true"])
    assert not (client.data_dir / "logs").exists()
    client.run(2, ["echo", "x"])
    path = client.data_dir / "logs" / "0" / "2-1.log"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (client.data_dir / "runner.sock").stat().st_mode & 0o777 == 0o600


def test_pause_stops_the_group_and_the_timeout(client: Client, tmp_path: Path) -> None:
    client.start(1, f"echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done", timeout=0.6)
    pid = pid_in(tmp_path / "pid")
    client.send(op="pause", id=1, attempt=1)
    assert client.wait_for("paused")["items"] == [[1, 1]]
    # D: a shell that was stopped in the middle of a vfork.
    until(lambda: state(pid) in "TD", what="the stop")
    client.run(2, ["sleep", "0.7"])
    assert (1, 1) not in client.outcomes
    client.send(op="resume", id=1, attempt=1)
    assert client.wait_for("resumed")["items"] == [[1, 1]]
    assert client.wait(1)["kind"] == "timeout"


def test_nothing_piles_up(runner: Runner, client: Client) -> None:
    client.run(1, ["true"])
    before = descriptors_of(runner.process.pid)
    for number in range(2, 102):
        client.start(number, ["sh", "-c", "echo x; setsid sleep 0 &"])
    for number in range(2, 102):
        assert client.wait(number)["kind"] == "success"
    until(lambda: not zombies_of(runner.process.pid), what="no zombies")
    until(lambda: descriptors_of(runner.process.pid) == before, what="as many descriptors as before")
