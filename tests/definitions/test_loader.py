import hashlib
import os
import select
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from zquant_flow.definitions.loader import Loader
from zquant_flow.errors import Unavailable

GOOD = 'name: {name}\ncron: "0 18 * * 1-5"\ncommand: python sync_daily.py\n'


def only_error(file):
    (error,) = file.errors
    assert file.definitions == ()
    return error


def test_a_yaml_file_becomes_definitions_with_their_places(load, tasks_dir):
    text = "# two\n" + GOOD.format(name="one") + "---\n" + GOOD.format(name="two")
    file = load({"sub/two.yaml": text})
    assert (file.path, file.kind, file.errors, file.bundle) == ("sub/two.yaml", "tasks", (), None)
    assert [(made.task.name, made.line, made.document) for made in file.definitions] == [
        ("one", 2, 0),
        ("two", 6, 1),
    ]
    assert file.digest == hashlib.sha256(text.encode()).hexdigest()
    state = (tasks_dir / "sub/two.yaml").stat()
    assert (file.size, file.mtime_ns) == (state.st_size, state.st_mtime_ns)


def test_a_file_of_one_task_lends_its_name(load):
    assert load({"nightly.yaml": "command: x"}).definitions[0].task.name == "nightly"


def test_the_zone_of_the_installation_reads_instants(load):
    file = load({"once.yaml": "command: x\nrun_at: 2026-01-01 08:00"})
    assert file.definitions[0].task.schedule.rules[0].run_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_one_error_keeps_the_whole_file_out_and_has_line_and_column(load):
    file = load(
        {"half.yaml": GOOD.format(name="good") + "---\nname: bad\ncrom: x\ntimeout: 5 eons\ncommand: x\n"}
    )
    assert file.definitions == ()
    assert [(error.line, error.column, error.field, error.code) for error in file.errors] == [
        (6, 1, "crom", "unknown_key"),
        (7, 10, "timeout", "invalid_value"),
    ]


def test_an_error_in_a_node_stands_at_its_place(load):
    text = "name: w\ntasks:\n  - name: extract\n    command: x\n  - name: load\n    command: x\n    dependencies: [extrat]\n"
    error = only_error(load({"w.yaml": text}))
    assert (error.line, error.column) == (7, 20)
    assert "did you mean 'extract'?" in error.message


def test_two_documents_of_one_name_are_refused(load):
    error = only_error(load({"twice.yaml": GOOD.format(name="a") + "---\n" + GOOD.format(name="a")}))
    assert (error.code, error.line) == ("duplicate_name", 5)
    assert "line 1" in error.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [", "invalid_yaml"),
        ("- name: a\n  command: x", "invalid_value"),
        ("just text", "invalid_value"),
        (b"\xff\xfen\x00", "invalid_yaml"),
        ("[" * 100_000, "invalid_yaml"),
        ("name: a\nparams: {x: .nan}\ncommand: x", "not_json"),
    ],
)
def test_files_that_are_no_tasks_are_errors(load, text, code):
    assert only_error(load({"odd.yaml": text})).code == code


def test_an_empty_file_is_an_error_because_its_writer_may_have_only_begun(load):
    for text in ("", "\n  \n"):
        assert only_error(load({"empty.yaml": text})).code == "empty_file"


def test_a_file_of_comments_defines_nothing(load):
    for text in ("# only a comment\n", "---\n---\n"):
        file = load({"empty.yaml": text})
        assert (file.definitions, file.errors) == ((), ())


def test_files_that_can_not_be_read_are_skipped_with_the_reason(loader, tasks_dir):
    os.mkfifo(tasks_dir / "fifo.yaml")
    (tasks_dir / "folder.yaml").mkdir()
    (tasks_dir / "large.yaml").write_bytes(b"a" * 10_000_001)
    (tasks_dir / "notes.txt").write_text("x")
    found = {
        file.path: file
        for file in loader.load(["fifo.yaml", "folder.yaml", "large.yaml", "gone.yaml", "notes.txt"])
    }
    assert {file.kind for file in found.values()} == {"skipped"}
    assert found["fifo.yaml"].errors[0].message == "not a regular file"
    assert "10,000,000" in found["large.yaml"].errors[0].message
    assert found["gone.yaml"].errors[0].code == "file_missing"
    assert found["notes.txt"].errors == ()


def test_a_link_is_followed_below_the_folder_only(loader, tasks_dir, tmp_path):
    (tmp_path / "outside.yaml").write_text(GOOD.format(name="outside"))
    (tasks_dir / "..data").mkdir()
    (tasks_dir / "..data/inside.yaml").write_text(GOOD.format(name="inside"))
    (tasks_dir / "out.yaml").symlink_to(tmp_path / "outside.yaml")
    (tasks_dir / "in.yaml").symlink_to("..data/inside.yaml")
    out, inside = loader.load(["out.yaml", "in.yaml"])
    assert (out.kind, out.definitions) == ("skipped", ())
    assert "leads out of the tasks folder" in out.errors[0].message
    assert inside.definitions[0].task.name == "inside"


def test_the_process_ends_when_its_owner_is_killed(tmp_path):
    script = (
        "import sys, os, signal, pathlib\n"
        "from zquant_flow.definitions.loader import Loader\n"
        "loader = Loader(pathlib.Path(sys.argv[1]))\n"
        "list(loader.load(['none.yaml']))\n"
        "print(loader._process._child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    descriptor = os.pidfd_open(int(done.stdout)) if os.path.exists(f"/proc/{done.stdout.strip()}") else None
    if descriptor is not None:
        assert select.select([descriptor], [], [], 10)[0]
        os.close(descriptor)


def test_answers_come_in_order_while_reading_goes_on(loader, tasks_dir):
    for number in range(50):
        (tasks_dir / f"many{number}.yaml").write_text(GOOD.format(name=f"many-{number}"))
    paths = [f"many{number}.yaml" for number in range(50)]
    assert [file.path for file in loader.load(paths)] == paths
    assert list(loader.load([])) == []


def test_a_caller_that_stops_listening_costs_nobody_else_an_answer(loader):
    for file in loader.load(["many0.yaml", "many1.yaml", "many2.yaml"]):
        assert file.path == "many0.yaml"
        break
    assert [file.path for file in loader.load(["many2.yaml"])] == ["many2.yaml"]


def test_bombs_do_not_reach_the_files_beside_them(tmp_path):
    bombs = {
        "deep.yaml": b"[" * 5_000_000,
        "wide.yaml": b"[" + b"a," * 4_000_000 + b"]",
        "laughs.yaml": b"a0: &a0 [x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)),
        "keys.yaml": b"".join(b"k%d: 1\n" % number for number in range(300_000)),
        "scalar.yaml": b"name: " + b"x" * 9_000_000,
        "quoted.yaml": b'name: "' + b"\\x41" * 2_000_000 + b'"',
        "digits.yaml": b"max_retries: " + b"9" * 5_000_000,
        "anchors.yaml": b"".join(b"- &a%d b\n" % number for number in range(200_000)),
        "colons.yaml": b"a: " * 1_000_000,
        "tags.yaml": b"!!python/object/apply:os.system ['touch /tmp/zqf-canary']",
    }
    paths = []
    for number, (name, data) in enumerate(bombs.items()):
        (tmp_path / name).write_bytes(data)
        (tmp_path / f"good{number}.yaml").write_text(GOOD.format(name=f"good-{number}"))
        paths += [name, f"good{number}.yaml"]
    loader = Loader(tmp_path, yaml_timeout=4)
    try:
        found = {}
        for file in loader.load(paths):
            found[file.path] = file
    finally:
        loader.stop()
    for name in bombs:
        assert found[name].errors, name
        assert found[name].definitions == ()
    for number in range(len(bombs)):
        assert [made.task.name for made in found[f"good{number}.yaml"].definitions] == [f"good-{number}"]


def test_a_process_that_dies_is_replaced_and_only_its_file_has_the_error(load, loader, tasks_dir):
    for number in (0, 1):
        (tasks_dir / f"many{number}.yaml").write_text(f"name: many-{number}\ncommand: echo\n")
    (tasks_dir / "killer.py").write_text(
        "import zquant_flow, os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
    )
    files = list(loader.load(["many0.yaml", "killer.py", "many1.yaml"]))
    assert [(file.path, [error.code for error in file.errors]) for file in files] == [
        ("many0.yaml", []),
        ("killer.py", ["load_crashed"]),
        ("many1.yaml", []),
    ]
    assert files[1].digest == hashlib.sha256((tasks_dir / "killer.py").read_bytes()).hexdigest()


def test_a_process_that_hangs_is_replaced(tmp_path):
    (tmp_path / "stopper.py").write_text(
        "import zquant_flow, os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n"
    )
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    loader = Loader(tmp_path, yaml_timeout=0.5, python_timeout=0.2)
    try:
        start = time.monotonic()
        files = list(loader.load(["stopper.py", "good.yaml"]))
        assert [error.code for error in files[0].errors] == ["load_timeout"]
        assert len(files[1].definitions) == 1
        assert time.monotonic() - start < 10
    finally:
        loader.stop()


def test_stop_may_come_before_start_twice_and_between(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    loader = Loader(tmp_path)
    loader.stop()
    loader.stop()
    with pytest.raises(Unavailable):
        list(loader.load(["good.yaml"]))
    loader.start()
    assert len(list(loader.load(["good.yaml"]))) == 1
    loader.stop()
    loader.start()
    reading = loader.load(["good.yaml"] * 3)
    next(reading)
    loader.stop()
    with pytest.raises(Unavailable):
        list(reading)


def test_calls_from_several_threads_wait_for_each_other(loader):
    found = []

    def read(path):
        for _ in range(5):
            found.extend(file.path for file in loader.load([path, path]))

    threads = [threading.Thread(target=read, args=(f"many{number}.yaml",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == sorted([f"many{number}.yaml" for number in range(3)] * 10)


# YAML that names a Python function


def test_python_in_yaml_packs_the_module_and_what_it_imports(load):
    file = load(
        {
            "cn/job.yaml": "name: job\npython: reports:daily\n",
            "cn/reports.py": "import shared.tools\nimport helper\ndef daily(): ...\n",
            "cn/helper.py": "X = 1\n",
            "shared/tools.py": "Y = 2\n",
        }
    )
    assert file.errors == ()
    assert set(file.bundle.files) == {"cn/reports.py", "cn/helper.py", "shared/tools.py"}
    assert set(file.dependencies) == set(file.bundle.files)
    (made,) = file.definitions
    assert made.task.bundle == file.bundle.digest
    assert made.task.action.config == {"module": "reports", "function": "daily", "folder": "cn"}


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("nowhere:f", "function_missing", "there is no nowhere.py beside this file"),
        ("here:g", "function_missing", "has no function 'g': it has f"),
        ("broken:f", "python_failed", "ZeroDivisionError"),
        ("endless:f", "python_failed", "did not end within"),
        ("quits:f", "python_failed", "exit code 3"),
    ],
)
def test_a_function_that_can_not_be_had_is_an_error_of_the_yaml_file(load, module, code, said):
    helpers = {
        "here.py": "def f(): ...\n",
        "broken.py": "1/0\n",
        "endless.py": "while True: pass\n",
        "quits.py": "import os\nos._exit(3)\n",
    }
    error = only_error(load({"calls.yaml": f"name: c\ntasks:\n- name: n\n  python: {module}\n", **helpers}))
    assert (error.code, error.line, error.column) == (code, 4, 11)
    assert said in error.message
