"""A runner for each test, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.client import Client, Runner


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    yield runner
    runner.end()
    assert "Traceback" not in runner.errors()


@pytest.fixture
def client(runner: Runner) -> Iterator[Client]:
    client = runner.client()
    yield client
    client.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The folder of the stored sources, with one module `tasks_module`."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "tasks_module.py").write_text(MODULE)
    return folder


MODULE = """
import ctypes, logging, os, subprocess, sys, threading, time
from zquant_flow.executors.context import current

def add(a, b=2): return {"sum": a + b}
def everything(**params): return params
def nothing(): pass
def fail(): raise ValueError("bad luck \\udc80")
def needs_pandas(): import no_such_package.part
def crash(): ctypes.string_at(0)
def vanish(): os._exit(7)
def leave(code=None): sys.exit(code)
def speak(word="hello"):
    print(word, "from print"); logging.getLogger("x").info("%s from logging", word)
    os.write(1, f"{word} from the descriptor\\n".encode()); subprocess.run(["echo", word, "from a child"])
def not_json(): return {"rows": [1, object()]}
def not_a_number(): return {"x": [float("nan")]}
def whoami(): return {"pid": os.getpid(), "cwd": os.getcwd(), "id": os.environ.get("ZQUANT_EXECUTION_ID"),
                      "env": os.environ.get("FROM_TASK"), "logical": str(current().logical_time)}
def mess(): os.environ["MESS"] = "1"; os.chdir("/tmp")
def messed(): return [os.environ.get("MESS"), os.getcwd(), os.environ.get("FROM_TASK")]
def count(n=5, pause=0.0):
    for _ in current().track(range(n), "rows"):
        time.sleep(pause)
    return n
def clean_up(path):
    try:
        open(path + ".began", "w").close()
        time.sleep(60)
    finally:
        open(path, "w").write("cleaned")
def stubborn(path):
    open(path, "w").close()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
def deaf(path):
    open(path, "w").close()
    threading.Event().wait(60)
def spin(path):
    open(path, "w").close()
    while True:
        current().checkpoint(); time.sleep(0.005)
def go_on(pages=5, die=False):
    state = current().state or {"read": []}
    for page in range(len(state["read"]), pages):
        if die and page == 3: os.kill(os.getpid(), 9)
        state["read"].append([page, current().attempt]); current().checkpoint(state)
    return state["read"]
def nap(seconds): time.sleep(seconds)
def chatter(word):
    for _ in range(20):
        print(word); time.sleep(0.001)
def leave_child(path):
    child = subprocess.Popen(["sleep", "60"]); open(path, "w").write(str(child.pid))
def fork_and_return():
    return "child" if os.fork() == 0 else "parent"
async def later(): return "awaited"
"""
