import os
import select
import sys

import pytest

from zquant_flow.core.model import TaskType

IMPORT = "from zquant_flow.definitions.authoring import task, workflow\n"


def only_error(file):
    (error,) = file.errors
    assert file.definitions == ()
    assert file.bundle is None
    return error


def test_a_python_file_defines_tasks_and_workflows(load):
    file = load(
        {
            "flows/nightly.py": IMPORT
            + "import tools\n"
            + "@task(cron='0 18 * * 1-5', max_retries=3)\n"
            + "def daily(symbol: str = 'ALL'):\n    'Sync.'\n"
            + "@task\ndef calendar(): ...\n"
            + "@workflow(workflow_type='parallel', cron='30 18 * * 1-5', timeout=7)\n"
            + "def nightly(symbol: str = 'ALL'):\n    daily(symbol=symbol).after(calendar())\n",
            "flows/tools.py": "from common import X\n",
            "common.py": "X = 1\n",
        }
    )
    assert file.errors == ()
    assert [(made.task.name, made.line, made.document) for made in file.definitions] == [
        ("daily", 3, 0),
        ("nightly", 8, 1),
    ]
    daily, nightly = (made.task for made in file.definitions)
    assert daily.task_type is TaskType.COMMON
    assert daily.description == "Sync."
    assert daily.params == {"symbol": "ALL"}
    assert daily.action.config == {"module": "nightly", "function": "daily", "folder": "flows"}
    assert [(node.name, node.dependencies) for node in nightly.workflow.nodes] == [
        ("daily", ("calendar",)),
        ("calendar", ()),
    ]
    assert set(file.bundle.files) == {"flows/nightly.py", "flows/tools.py", "common.py"}
    assert set(file.dependencies) == {"flows/tools.py", "common.py"}
    assert daily.bundle == nightly.bundle == file.bundle.digest


def test_the_bundle_tells_versions_apart_by_content_only(load):
    first = load({"v.py": IMPORT + "import vh\n@task\ndef v(): ...\n", "vh.py": "A = 1\n"})
    again = load({"v.py": IMPORT + "import vh\n@task\ndef v(): ...\n"})
    helper_changed = load({"v.py": IMPORT + "import vh\n@task\ndef v(): ...\n", "vh.py": "A = 2\n"})
    assert first.bundle == again.bundle
    assert helper_changed.bundle.digest != first.bundle.digest


def test_files_that_do_not_import_us_are_never_run(load, tmp_path):
    canary = tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w').close()\n"
    for text in (
        touch,
        "# zquant_flow\n" + touch,
        "text = 'import zquant_flow'\n" + touch,
        "this is = no python\n",
    ):
        file = load({"script.py": text})
        assert (file.kind, file.errors, file.definitions) == ("helper", (), ())
    assert not canary.exists()


def test_nothing_is_written_into_the_tasks_folder(load, tasks_dir):
    load({"clean.py": IMPORT + "import cleanh\n@task\ndef clean(): ...\n", "cleanh.py": ""})
    assert not list(tasks_dir.rglob("__pycache__"))


def test_faults_of_decorators_stand_at_their_function(load):
    file = load(
        {"wrong.py": IMPORT + "\n@task(crom='x')\ndef a(): ...\n\n@task(cron='99 * * * *')\ndef b(): ...\n"}
    )
    assert [(error.line, error.field, error.code) for error in file.errors] == [
        (3, "crom", "unknown_key"),
        (6, "cron", "invalid_schedule"),
    ]


def test_a_scheduled_task_needs_defaults(load):
    error = only_error(load({"needs.py": IMPORT + "@task(interval=5)\ndef a(symbol): ...\n"}))
    assert (error.code, error.line) == ("missing_default", 2)
    assert load(
        {"gets.py": IMPORT + "@task(interval=5, params={'symbol': 1})\ndef b(symbol): ...\n"}
    ).definitions
    assert (
        load({"asks.py": IMPORT + "@task\ndef c(symbol): ...\n@workflow\ndef d(x):\n    c(x)\n"}).errors == ()
    )


def test_a_workflow_body_that_computes_is_named_at_its_line(load):
    error = only_error(
        load({"body.py": IMPORT + "@task\ndef a(): ...\n@workflow\ndef w():\n    if a():\n        pass\n"})
    )
    assert (error.line, error.code) == (6, "python_failed")
    assert "`when`" in error.message


def test_a_task_hidden_in_a_function_can_not_be_found_by_workers(load):
    error = only_error(load({"hid.py": IMPORT + "def make():\n    @task\n    def inner(): ...\nmake()\n"}))
    assert error.line == 3
    assert "top of its file" in error.message


def test_a_missing_module_names_the_interpreter_and_the_pip_line(load):
    error = only_error(load({"missing.py": IMPORT + "\nimport pandazz.core\n"}))
    assert error.line == 3
    assert f"{sys.executable} -m pip install pandazz" in error.message


def test_an_error_in_a_helper_names_both_places_and_is_watched(load):
    file = load({"user.py": IMPORT + "import brokenh\n", "brokenh.py": "x = 1\n1/0\n"})
    error = only_error(file)
    assert error.line == 2
    assert "ZeroDivisionError" in error.message
    assert "brokenh.py:2" in error.message
    assert set(file.dependencies) == {"brokenh.py"}
    file = load({"user2.py": IMPORT + "import syntaxh\n", "syntaxh.py": "x = = 1\n"})
    assert "syntaxh.py:1" in only_error(file).message
    assert set(file.dependencies) == {"syntaxh.py"}


@pytest.mark.parametrize("name", ["json.py", "yaml.py", "zquant_flow.py", "a.b.py"])
def test_a_file_that_would_hide_a_library_is_refused(load, name):
    assert only_error(load({name: IMPORT + "@task\ndef a(): ...\n"})).code == "file_name"


HOSTILE = {
    "loop": (
        "import zquant_flow\nwhile True:\n    pass\n",
        "python_timeout",
        (2, 3),
        "did not end within 1.5 s",
    ),
    "sleep": ("import zquant_flow, time\n\ntime.sleep(1000)\n", "python_timeout", (3,), "did not end"),
    "gil": (
        "import zquant_flow, re\nre.match(r'(a+)+$', 'a' * 40 + 'b')\n",
        "python_timeout",
        (2,),
        "did not end",
    ),
    "exit": ("import zquant_flow, sys\n\nsys.exit(3)\n", "python_failed", (3,), "sys.exit(3)"),
    "hard_exit": ("import zquant_flow, os\n\n\nos._exit(4)\n", "python_crashed", (4,), "exit code 4"),
    "segfault": ("import zquant_flow, ctypes\n\nctypes.string_at(0)\n", "python_crashed", (3,), "SIGSEGV"),
    "abort": ("import zquant_flow, os\nos.abort()\n", "python_crashed", (2,), "SIGABRT"),
    "kills_itself": ("import zquant_flow, os\nos.kill(os.getpid(), 9)\n", "python_crashed", (1,), "SIGKILL"),
    "flood": (
        "import zquant_flow\nwhile True:\n    print('x' * 10_000)\n",
        "python_timeout",
        (2, 3),
        "last output: 'xxx",
    ),
    "raises": ("import zquant_flow\nraise ValueError('no')\n", "python_failed", (2,), "ValueError: no"),
    "interrupts": (
        "import zquant_flow\nraise KeyboardInterrupt\n",
        "python_failed",
        (2,),
        "KeyboardInterrupt",
    ),
    "recursion": ("import zquant_flow\ndef f():\n    f()\nf()\n", "python_failed", (3,), "RecursionError"),
    "memory": ("import zquant_flow\nx = [0] * 10**10\n", "python_failed", (2,), "MemoryError"),
    "syntax": ("import zquant_flow\nx = = 1\n", "python_syntax", (2,), "invalid syntax"),
    "nested": ("import zquant_flow\nx = " + "(" * 10_000, "python_syntax", (2,), "nested"),
    "minus": ("import zquant_flow\nx = " + "-" * 200_000 + "1", "python_syntax", (1,), "can't read"),
    "nul": ("import zquant_flow\n\0\n", "python_syntax", (1,), "null bytes"),
    "closes": ("import zquant_flow, os\nos.closerange(0, 1000)\n", "python_crashed", (1,), "exit code"),
    "bad_str": (
        "import zquant_flow\nclass E(Exception):\n    def __str__(self): raise ValueError\nraise E\n",
        *("python_failed", (4,), "E: ?"),
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error_at_its_line(load, name):
    text, code, lines, said = HOSTILE[name]
    error = only_error(load({f"hostile_{name}.py": text}))
    assert error.code == code
    assert error.line in lines
    assert said in error.message


PERSISTENT = {
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n",
    "fork": "import os\nos.fork()\n",
    "output": "import sys\nfor _ in range(20_000):\n    print('x' * 1000)\n    print('y' * 1000, file=sys.stderr)\n",
    "signals": "import signal\nfor number in (2, 15):\n    signal.signal(number, signal.SIG_IGN)\n",
}


@pytest.mark.parametrize("name", PERSISTENT)
def test_what_a_good_file_leaves_behind_is_gone_and_does_no_harm(load, name):
    file = load({f"leaves_{name}.py": IMPORT + PERSISTENT[name] + "@task\ndef fine(): ...\n"})
    assert file.errors == ()
    assert [made.task.name for made in file.definitions] == ["fine"]


def test_a_process_that_a_file_starts_is_ended(load, tmp_path):
    noted = tmp_path / "pid"
    file = load(
        {
            "starts.py": IMPORT
            + "import pathlib, subprocess\n"
            + f"pathlib.Path({str(noted)!r}).write_text(str(subprocess.Popen(['sleep', '1000']).pid))\n"
            + "@task\ndef starts(): ...\n"
        }
    )
    assert file.errors == ()
    try:
        descriptor = os.pidfd_open(int(noted.read_text()))
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
