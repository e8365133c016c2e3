"""Python attempts in workers of their own (`isolation: process`)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runner.client import Client, Frame, Runner
from tests.runner.waiting import is_running, pid_in, until


class Python:
    """Orders for functions of the test module."""

    def __init__(self, client: Client, bundle: Path) -> None:
        self.client = client
        self.bundle = bundle
        self.number = 0

    def start(self, function: str, isolation: str = "process", **fields: Any) -> int:
        self.number += 1
        config = {"module": "tasks_module", "function": function, "folder": ""}
        order = {"executor": "python", "config": config, "bundle": str(self.bundle), "isolation": isolation}
        self.client.start(self.number, **{**order, **fields})
        return self.number

    def run(self, function: str, **fields: Any) -> Frame:
        return self.client.wait(self.start(function, **fields))

    @property
    def log(self) -> str:
        return self.client.log(self.number).decode()


@pytest.fixture
def python(client: Client, bundle: Path) -> Python:
    return Python(client, bundle)


def value(outcome: Frame) -> Any:
    assert outcome["kind"] == "success", outcome
    return json.loads(outcome["result"])


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_function_gets_the_params_it_takes_and_its_return_is_the_result(
    python: Python, isolation: str
) -> None:
    assert value(python.run("add", isolation=isolation, params={"a": 1, "other": 9})) == {"sum": 3}
    assert value(python.run("everything", isolation=isolation, params={"x": "中"})) == {"x": "中"}
    assert value(python.run("later", isolation=isolation)) == "awaited"
    assert "result" not in python.run("nothing", isolation=isolation)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_missing_params_and_functions_are_named(python: Python, isolation: str) -> None:
    outcome = python.run("add", isolation=isolation)
    assert (outcome["code"], outcome["error"]) == (
        "params_missing",
        "tasks_module:add needs params that were not given: a",
    )
    assert python.run("no_such", isolation=isolation)["code"] == "function_missing"


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_an_exception_is_told_and_its_trace_is_in_the_log(python: Python, isolation: str) -> None:
    outcome = python.run("fail", isolation=isolation)
    assert (outcome["kind"], outcome["code"]) == ("failed", "exception")
    assert outcome["error"] == "ValueError: bad luck \\udc80"
    assert 'tasks_module.py", line' in python.log
    assert "zquant_flow/runner" not in python.log


def test_a_missing_package_names_the_interpreter_and_the_way_out(python: Python) -> None:
    error = python.run("needs_pandas")["error"]
    assert f"{sys.executable} -m pip install no_such_package" in error


def test_results_that_are_not_json_name_the_place(python: Python) -> None:
    outcome = python.run("not_json")
    assert outcome["code"] == "result_not_json"
    assert "result.rows[1] is of type object" in outcome["error"]
    assert "result.x[0] is nan" in python.run("not_a_number")["error"]


def test_sys_exit_is_the_exit_code(python: Python) -> None:
    assert python.run("leave")["kind"] == "success"
    assert python.run("leave", params={"code": 0})["kind"] == "success"
    assert python.run("leave", params={"code": 3})["exit_code"] == 3
    assert python.run("leave", params={"code": "no data"})["error"] == "no data"


def test_a_worker_that_dies_fails_its_attempt_with_the_reason(python: Python) -> None:
    outcome = python.run("crash")
    assert (outcome["kind"], outcome["code"], outcome["signal"]) == ("failed", "worker_died", 11)
    assert "SIGSEGV" in outcome["error"]
    assert "crash" in python.log  # faulthandler says where
    outcome = python.run("vanish")
    assert (outcome["kind"], outcome["code"], outcome["exit_code"]) == ("failed", "worker_died", 7)
    assert python.run("nothing")["kind"] == "success"


def test_all_output_goes_to_the_log_of_its_attempt(python: Python) -> None:
    for word in ("first", "second"):
        python.run("speak", params={"word": word})
        for voice in ("print", "logging", "the descriptor", "a child"):
            assert f"{word} from {voice}" in python.log
    assert "first" not in python.log


def test_environment_and_folder_are_the_orders_and_do_not_stay(python: Python, tmp_path: Path) -> None:
    first = value(
        python.run(
            "whoami", cwd=str(tmp_path), env={"FROM_TASK": "x"}, logical_time="2026-01-02T03:04:05+00:00"
        )
    )
    assert (first["cwd"], first["env"], first["id"]) == (str(tmp_path), "x", "1")
    assert first["logical"] == "2026-01-02 03:04:05+00:00"
    python.run("mess")
    assert value(python.run("messed")) == [None, "/", None]
    assert value(python.run("whoami"))["pid"] == first["pid"]


def test_terminate_lets_finally_run_and_the_worker_goes(python: Python, tmp_path: Path) -> None:
    path = tmp_path / "cleaned"
    number = python.start("clean_up", params={"path": str(path)})
    until((tmp_path / "cleaned.began").exists)
    python.client.send(op="terminate", id=number, attempt=1, kind="terminated")
    outcome = python.client.wait(number)
    assert outcome["kind"] == "terminated"
    assert path.read_text() == "cleaned"


def test_timeout_and_grace_end_even_the_stubborn(python: Python, tmp_path: Path) -> None:
    outcome = python.run("stubborn", timeout=0.3, grace=0.2, params={"path": str(tmp_path / "on")})
    assert outcome["kind"] == "timeout"


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_progress_comes_with_an_end_in_sight(python: Python, isolation: str) -> None:
    number = python.start("count", isolation=isolation, params={"n": 60, "pause": 0.01})
    outcome = python.client.wait(number)
    told = [item for item in python.client.progress if item.get("processed_items")]
    assert told
    assert told[0]["total_items"] == 60
    assert told[0]["estimated_end"] > outcome["started"]
    assert len(python.client.progress) <= 4
    assert outcome["progress"] == {
        "percent": 100.0,
        "current_item": "rows",
        "processed_items": 60,
        "total_items": 60,
    }


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_pause_waits_at_the_next_step_until_resume(python: Python, tmp_path: Path, isolation: str) -> None:
    number = python.start("spin", isolation=isolation, params={"path": str(tmp_path / "on")}, timeout=30)
    until((tmp_path / "on").exists)
    python.client.send(op="pause", id=number, attempt=1)
    assert python.client.wait_for("paused")["items"] == [[number, 1]]
    python.client.send(op="resume", id=number, attempt=1)
    assert python.client.wait_for("resumed")["items"] == [[number, 1]]
    python.client.send(op="pause", id=number, attempt=1)
    python.client.wait_for("paused")
    python.client.send(op="terminate", id=number, attempt=1, kind="terminated")
    assert python.client.wait(number)["kind"] == "terminated"


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_pause_that_comes_with_its_order_is_obeyed(python: Python, tmp_path: Path, isolation: str) -> None:
    """A warm worker reads both at once, and must not forget the second."""
    for turn in range(5):
        python.run("nothing", isolation=isolation)
        path = tmp_path / f"on{turn}"
        number = python.start("spin", isolation=isolation, params={"path": str(path)}, timeout=30)
        python.client.send(op="pause", id=number, attempt=1)
        assert python.client.wait_for("paused")["items"] == [[number, 1]]
        python.client.send(op="terminate", id=number, attempt=1, kind="terminated")
        assert python.client.wait(number)["kind"] == "terminated"


def test_children_of_an_attempt_are_ended_with_it(python: Python, tmp_path: Path) -> None:
    path = tmp_path / "child"
    assert python.run("leave_child", params={"path": str(path)})["kind"] == "success"
    child = pid_in(path)
    until(lambda: not is_running(child), what="the end of the child")


def test_a_forked_child_that_returns_does_not_answer_for_the_attempt(python: Python) -> None:
    assert value(python.run("fork_and_return")) == "parent"
    assert python.log == ""
    assert python.run("nothing")["kind"] == "success"


def test_a_task_file_may_have_the_name_of_a_python_module(python: Python) -> None:
    (python.bundle / "logging.py").write_text("def mine(): return 'mine'\n")
    outcome = python.run("-", config={"module": "logging", "function": "mine", "folder": ""})
    assert value(outcome) == "mine"


def test_a_file_beside_the_task_in_its_folder_can_be_imported(python: Python) -> None:
    folder = python.bundle / "sub"
    folder.mkdir()
    (folder / "beside.py").write_text("X = 5\n")
    (folder / "daily.py").write_text("import beside, tasks_module\ndef sync(): return beside.X\n")
    outcome = python.run("-", config={"module": "daily", "function": "sync", "folder": "sub"})
    assert value(outcome) == 5


def test_an_executor_class_gets_context_and_validated_config(python: Python) -> None:
    (python.bundle / "plug.py").write_text(
        "from pydantic import BaseModel\n"
        "class Shout:\n"
        "    name = 'shout'\n"
        "    class Config(BaseModel):\n"
        "        times: int\n"
        "    def run(self, ctx, config):\n"
        "        return [ctx.task] * config.times\n"
    )
    runner_env = {"PYTHONPATH": str(python.bundle)}
    data_dir = python.bundle / "data"
    data_dir.mkdir()
    runner = Runner(data_dir, env=runner_env)
    client = runner.client()
    outcome = client.run(1, executor="shout", entry="plug:Shout", config={"times": "2"})
    assert value(outcome) == ["t", "t"]
    outcome = client.run(2, executor="shout", entry="plug:Shout", config={"times": "many"})
    assert outcome["error"].startswith("the config of shout: times: ")
    client.close()
    runner.end()


def test_a_task_does_not_leave_its_handlers_and_streams_to_the_next(python: Python, tmp_path: Path) -> None:
    (python.bundle / "rude.py").write_text(
        "import io, signal, sys\n"
        "def be(): signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stdout = io.StringIO()\n"
        "def speak(): print('heard')\n"
        "def hang():\n"
        "    open('on', 'w').close()\n"
        "    while True: signal.pause()\n"
    )
    for function in ("be", "speak"):
        python.run("-", config={"module": "rude", "function": function, "folder": ""})
    assert python.log == "heard\n"
    number = python.start("-", config={"module": "rude", "function": "hang", "folder": ""}, cwd=str(tmp_path))
    until((tmp_path / "on").exists)
    python.client.send(op="terminate", id=number, attempt=1, kind="terminated", grace=30)
    assert python.client.wait(number)["seconds"] < 10


def test_a_task_may_close_its_stdout(python: Python) -> None:
    (python.bundle / "closer.py").write_text("import sys\ndef close(): sys.stdout.close()\n")
    for _ in range(2):
        outcome = python.run("-", config={"module": "closer", "function": "close", "folder": ""})
        assert outcome["kind"] == "success"


def test_another_interpreter_gets_zquant_flow_and_keeps_its_own_packages(
    tmp_path: Path, bundle: Path
) -> None:
    other = os.path.realpath(sys.executable)
    runner = Runner(tmp_path, env={"ZQUANT_FLOW_PYTHON": other})
    client = runner.client()
    config = {"module": "tasks_module", "function": "add", "folder": ""}
    outcome = client.run(1, executor="python", config=config, bundle=str(bundle), params={"a": 1})
    assert value(outcome) == {"sum": 3}
    config["function"] = "needs_pandas"
    assert other in client.run(2, executor="python", config=config, bundle=str(bundle))["error"]
    client.close()
    runner.end()


# -- isolation: thread ------------------------------------------------------------------------------------------------


def test_threads_share_a_worker_and_do_not_wait_for_each_other(python: Python) -> None:
    numbers = [python.start("nap", isolation="thread", params={"seconds": 0.3}) for _ in range(40)]
    outcomes = [python.client.wait(number) for number in numbers]
    assert {outcome["kind"] for outcome in outcomes} == {"success"}
    assert max(outcome["ended"] for outcome in outcomes) - outcomes[0]["started"] < 3_000_000


def test_threads_write_to_their_own_logs(python: Python) -> None:
    words = ["one", "two", "three", "four"]
    numbers = [python.start("chatter", isolation="thread", params={"word": word}) for word in words]
    for number, word in zip(numbers, words, strict=True):
        python.client.wait(number)
        assert python.client.log(number).decode().split() == [word] * 20


def test_a_thread_that_heeds_ends_alone(python: Python, tmp_path: Path) -> None:
    other = python.start("nap", isolation="thread", params={"seconds": 0.5})
    number = python.start("spin", isolation="thread", params={"path": str(tmp_path / "on")})
    until((tmp_path / "on").exists)
    python.client.send(op="terminate", id=number, attempt=1, kind="terminated")
    assert python.client.wait(number)["kind"] == "terminated"
    assert python.client.wait(other)["kind"] == "success"


def test_a_thread_that_does_not_heed_takes_the_worker_with_it_and_displaces_the_others(
    python: Python, tmp_path: Path
) -> None:
    other = python.start("nap", isolation="thread", params={"seconds": 60})
    number = python.start(
        "deaf", isolation="thread", params={"path": str(tmp_path / "on")}, timeout=0.3, grace=0.1
    )
    assert python.client.wait(number)["kind"] == "timeout"
    assert python.client.wait(other)["kind"] == "displaced"
    assert python.run("nothing", isolation="thread")["kind"] == "success"


def test_a_shared_worker_that_crashes_fails_what_was_in_it(python: Python) -> None:
    other = python.start("nap", isolation="thread", params={"seconds": 60})
    outcome = python.run("crash", isolation="thread")
    assert (outcome["kind"], outcome["code"]) == ("failed", "worker_died")
    assert python.client.wait(other)["code"] == "worker_died"


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_the_folder_is_the_orders_or_the_attempt_fails(
    python: Python, tmp_path: Path, isolation: str
) -> None:
    assert value(python.run("whoami", isolation=isolation, cwd=str(tmp_path)))["cwd"] == str(tmp_path)
    assert python.run("whoami", isolation=isolation, cwd="/no/such")["code"] == "working_dir_missing"


def test_tasks_with_other_environments_do_not_share_a_worker(python: Python) -> None:
    first = value(python.run("whoami", isolation="thread", env={"FROM_TASK": "x"}))
    second = value(python.run("whoami", isolation="thread", env={"FROM_TASK": "y"}))
    assert (first["env"], second["env"]) == ("x", "y")
    assert first["pid"] != second["pid"]
    assert os.getpid() not in (first["pid"], second["pid"])


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_what_was_kept_before_a_kill_is_there_for_the_next_attempt(
    python: Python, tmp_path: Path, isolation: str
) -> None:
    state = str(tmp_path / "logs" / "0" / "1.state.json")
    killed = python.run("go_on", isolation=isolation, state=state, params={"die": True})
    assert killed["kind"] in ("failed", "displaced", "lost")
    python.number = 0
    python.start("go_on", isolation=isolation, state=state, attempt=2)
    read = value(python.client.wait(1, 2))
    assert read == [[0, 1], [1, 1], [2, 1], [3, 2], [4, 2]]
