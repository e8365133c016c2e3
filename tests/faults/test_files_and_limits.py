"""The machine gives out: a data folder that can't be written, a full disk, no room for processes, memory or handles."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import start_server  # noqa: F401  (fixture)
from tests.e2e.serving import Client, Server, drop, until
from tests.faults.fires import assert_each_second_once, recorded
from zquant_flow.store.health import damage_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and mounts as Linux has them"),
]

PROGRAM = Path(sys.executable).with_name("zquant-flow")
NOBODY = 61_234
"""A user that owns no process: the limit of processes binds everyone but root."""


class Limited(Server):
    """A server that is started by another program, which sets its limits: `prefix`."""

    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = {}

    def start(self, *flags: str) -> Limited:
        known = {name: value for name, value in os.environ.items() if not name.startswith("ZQUANT_")}
        command = [*self.prefix, PROGRAM, "serve", "--port", "0", "--tasks", self.tasks, "--data", self.data]
        with (self.root / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                [*map(str, command), *flags],
                cwd=self.root,
                env=known | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        url = until(self._address, "an address in server.json", 60) or ""
        until(lambda: self._ready(url), "an answer of /readyz")
        self.client = Client(url, (self.data / "admin.token").read_text().strip())
        return self

    def end_what_is_left(self) -> None:
        """After a test that failed: hundreds of attempts would go on for ever."""
        for process in psutil.process_iter():
            if self._is_ours(process):
                with suppress(psutil.Error):
                    process.kill()

    @property
    def control_plane(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def runner(self) -> psutil.Process:
        """The process that carries the attempts."""
        return next(
            process
            for process in psutil.process_iter()
            if "zquant_flow.runner" in (words := _words(process)) and str(self.data) in words
        )


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def limited() -> Iterator[Callable[..., Limited]]:
    """Makes servers that are started through a prefix, in folders that any user may enter."""
    made: list[Limited] = []

    def make(*prefix: str, owner: int = os.getuid(), **environment: str) -> Limited:
        root = Path(tempfile.mkdtemp(prefix="zqf-limits-"))
        server = Limited(root)
        made.append(server)
        server.prefix, server.environment = prefix, environment
        for path in (root, server.tasks):
            os.chown(path, owner, -1)
        return server.start()

    yield make
    for server in made:
        try:
            server.stop()
        finally:
            server.end_what_is_left()
            shutil.rmtree(server.root)


# ── a data folder that can't be written ─────────────────────────────────────────────────────────────────────────────


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[None]:
    """The folder on a mount of its own that takes no writes, from root neither."""
    try:
        subprocess.run(["mount", "--bind", folder, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"nothing can be mounted here: {exc}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True, capture_output=True)


def refused_start(root: Path, *flags: str | Path) -> str:
    """What `serve` says that does not come up; it says no traceback and leaves nothing."""
    ended = subprocess.run(
        [PROGRAM, "serve", "--port", "0", "--tasks", root / "tasks", "--data", root / "data", *flags],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    until(
        lambda: not any(str(root / "data") in _words(process) for process in psutil.process_iter()),
        "the end of all that it had started",
    )
    return ended.stderr


@pytest.mark.parametrize("used", [False, True], ids=["an empty folder", "a folder that was served"])
def test_a_data_folder_that_can_not_be_written_is_named_at_the_start_with_the_way_out(
    tmp_path: Path,
    used: bool,
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    (tmp_path / "data").mkdir()
    if used:
        server = start_server()
        server.stop()
        shutil.copytree(server.data, tmp_path / "data", dirs_exist_ok=True)
    with mounted_read_only(tmp_path / "data"):
        said = refused_start(tmp_path)
    assert str(tmp_path / "data") in said
    assert "Read-only file system" in said
    assert "--data" in said


@pytest.mark.parametrize("there", [True, False], ids=["that is there", "that is to be made"])
def test_a_database_file_that_can_not_be_written_is_named_at_the_start(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if there:
        from zquant_flow.store.database import Database

        made = Database(f"sqlite:///{folder / 'x.db'}")
        made.open()
        made.close()
    with mounted_read_only(folder):
        said = refused_start(tmp_path, "--database", f"sqlite:///{folder / 'x.db'}")
    assert str(folder / "x.db") in said
    assert "Read-only file system" in said or "readonly" in said


@pytest.mark.parametrize("own", [False, True], ids=["and the data folder", "with a data folder of its own"])
def test_a_second_server_on_one_sqlite_file_is_refused_and_the_first_goes_on(
    tmp_path: Path,
    own: bool,
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    """SCORECARD C7: one process at a time has an SQLite file."""
    server = start_server()
    assert server._process is not None
    if own:
        said = refused_start(tmp_path, "--database", f"sqlite:///{server.data / 'zquant-flow.db'}")
    else:
        (tmp_path / "data").symlink_to(server.data)
        said = refused_start(tmp_path)
    assert f"is in use by process {server._process.pid}" in said
    assert ("--database" if own else "--data") in said
    assert server.client.get("/tasks")["total"] == 0


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """All files of the folder refuse writes, also through handles that are open: a disk that the kernel made read-only.

    Not SQLite's -shm: it is memory, and lies there only by name.
    """
    probe = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT, 0o600)
    paths = [
        path
        for path in (folder, *folder.rglob("*"))
        if (path.is_dir() or path.is_file()) and not path.name.endswith("-shm")
    ]
    tried = subprocess.run(["chattr", "+i", *paths], capture_output=True, text=True)
    try:
        if tried.returncode != 0:
            pytest.skip(f"no file can be made immutable here: {tried.stderr.strip()[:200]}")
        if not _refuses(probe):
            pytest.skip("an immutable file of this file system takes writes through open handles")
        yield
    finally:
        subprocess.run(["chattr", "-i", *paths], capture_output=True)
        os.close(probe)


def _refuses(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"x")
    except OSError:
        return True
    return False


@contextmanager
def release(gate: Path) -> Iterator[None]:
    """Whatever happens, what waits for this file goes on in the end."""
    try:
        yield
    finally:
        gate.touch()


def test_a_data_folder_that_turns_read_only_stops_the_clock_of_nobody_and_loses_nothing(
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    """Nothing starts that can't be written; what ended meanwhile is recorded, and what was due fires, each once."""
    server = start_server()
    ledger = server.root / "ledger"
    drop(
        server.tasks / "tick.yaml",
        f"name: tick\ninterval: 1\noverlap: allow\ncommand: 'echo $ZQUANT_EXECUTION_ID >> {ledger}'\n",
    )
    drop(
        server.tasks / "long.yaml",
        'name: long\ncommand: "touch began; until [ -e go ]; do sleep 0.02; done"\n',
    )
    until(lambda: len(recorded(server, "tick")) >= 2, "two fires")
    long = server.client.trigger("long")
    until((server.tasks / "began").exists, "an attempt that runs")
    with release(server.tasks / "go"), frozen(server.data):
        until(
            lambda: "the database can't be written" in server.errors(), "the word that nothing can be written"
        )
        before = recorded(server, "tick")
        (server.tasks / "go").touch()
        begin = time.monotonic()
        until(lambda: time.monotonic() - begin > 2.5, "two instants to pass")
        assert recorded(server, "tick") == before, "what is not written has not fired"
        assert server.client.execution(long)["status"] == "running"
        assert server.client.http.get(server.client.url + "/healthz").json() == {"status": "ok"}
    until(lambda: len(recorded(server, "tick")) >= len(before) + 4, "fires that go on", 60)
    assert server.client.ended(long)["status"] == "success"
    assert_each_second_once(recorded(server, "tick"))
    ran = Counter(ledger.read_text().split())
    assert max(ran.values()) == 1
    assert "Traceback" not in server.errors()


def test_a_database_that_can_not_be_written_is_told_by_readyz(
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    server = start_server()
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    until(lambda: recorded(server, "tick"), "a fire")

    def state() -> str:
        return str(server.client.http.get(server.client.url + "/readyz").json()["status"])

    with frozen(server.data):
        until(
            lambda: "the database can't be written" in server.errors(), "the word that nothing can be written"
        )
        until(lambda: state() != "ok", "a state that says so", 5)
    until(lambda: state() == "ok", "a state that is well again")


# ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own for this folder."""
    folder.mkdir(exist_ok=True)
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"nothing can be mounted here: {exc}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(b"x" * 4096)


def test_a_disk_that_is_full_delays_everything_and_loses_nothing_but_lines_of_logs(tmp_path: Path) -> None:
    """Database and logs on one disk without room; a minute after there is room again all has been made up for."""
    with small_disk(tmp_path / "data", "16m"):
        server = Server(tmp_path).start()
        try:
            drop(
                server.tasks / "tick.yaml",
                f"name: tick\ninterval: 1\noverlap: allow\n"
                f"command: 'echo $ZQUANT_EXECUTION_ID >> {tmp_path / 'ledger'}; head -c 4000 /dev/zero'\n",
            )
            until(lambda: len(recorded(server, "tick")) >= 2, "two fires")
            fill(server.data / "filler")
            until(
                lambda: "the database can't be written" in server.errors(),
                "the word that the disk is full",
                60,
            )
            before = recorded(server, "tick")
            begin = time.monotonic()
            until(lambda: time.monotonic() - begin > 2.5, "two instants to pass")
            (server.data / "filler").unlink()
            until(lambda: len(recorded(server, "tick")) >= len(before) + 4, "fires that go on", 60)
            assert_each_second_once(recorded(server, "tick"))
            assert max(Counter((tmp_path / "ledger").read_text().split()).values()) == 1
            assert "Traceback" not in server.errors()
            server.stop()
            assert damage_in(f"sqlite:///{server.data / 'zquant-flow.db'}") == []
        finally:
            server.stop()


# ── no room for processes ───────────────────────────────────────────────────────────────────────────────────────────


def other_user() -> tuple[str, ...]:
    """Root is bound by no limit of processes: the server is somebody else's."""
    if os.getuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root is bound by no limit of processes, and there is no setpriv")
    user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    reads = "+dac_override,+dac_read_search"  # Python may lie in root's own folder
    return ("setpriv", *user, f"--inh-caps={reads}", f"--ambient-caps={reads}")


@contextmanager
def no_room_for_processes(process: psutil.Process) -> Iterator[None]:
    """The next fork or thread of that process is refused with EAGAIN. Its own user may say so, and lift it again."""

    def limit(soft: str) -> None:
        command = [*other_user(), "prlimit", f"--pid={process.pid}", f"--nproc={soft}:"]
        subprocess.run(command, check=True, capture_output=True)

    limit("1")
    try:
        yield
    finally:
        limit("4096")


NO_ROOM = "Resource temporarily unavailable"


@pytest.mark.parametrize("warm", [False, True], ids=["before the first attempt", "later"])
def test_a_full_process_table_fails_attempts_with_that_reason_and_costs_nothing_afterwards(
    limited: Callable[..., Limited], warm: bool
) -> None:
    server = limited(*other_user(), owner=NOBODY if os.getuid() == 0 else os.getuid())
    drop(server.tasks / "one.yaml", 'name: one\noverlap: allow\ncommand: "true"\n')
    drop(
        server.tasks / "again.yaml",
        'name: again\nmax_retries: 1000\nretry_interval: 0.2\ncommand: "true"\n',
    )
    drop(
        server.tasks / "py.py",
        "from zquant_flow import task\n\n@task\ndef counted():\n    return 7\n",
    )
    until(lambda: server.client.find("counted") and server.client.find("again"), "the tasks in the list")
    if warm:
        server.client.succeeded("one")
    runner = server.runner
    handles = runner.num_fds()
    with no_room_for_processes(runner):
        failed = [server.client.ended(server.client.trigger("one")) for _ in range(6)]
        failed.append(server.client.ended(server.client.trigger("counted")))
        waits = server.client.trigger("again")
        until(lambda: server.client.execution(waits)["retry_count"] >= 2, "two tries in vain")
    for found in failed:
        assert found["status"] == "failed"
        assert NO_ROOM in found["error_message"] or "new thread" in found["error_message"]
    assert server.client.ended(waits)["status"] == "success"
    server.client.succeeded("one")
    assert server.client.succeeded("counted")["result"] == 7
    assert server.runner.pid == runner.pid
    # An idle worker (two handles) may stay, and a bell of the spawner; but nothing for each attempt that failed.
    until(lambda: runner.num_fds() <= handles + 4, "handles that were given back")


# ── killed by the system ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_and_a_worker_that_the_system_kills_fail_with_that_reason_and_are_tried_again(
    start_server: Callable[[], Server],  # noqa: F811
) -> None:
    """What the OOM killer does: SIGKILL, from outside. A group of memory of our own is not to be had on every machine."""
    server = start_server()
    drop(
        server.tasks / "eats.yaml",
        "name: eats\nmax_retries: 1\nretry_interval: 0.1\n"
        "command: [sh, -c, 'echo $$ > pid.$ZQUANT_FLOW_ATTEMPT; [ $ZQUANT_FLOW_ATTEMPT = 2 ] || exec sleep 600']\n",
    )
    drop(
        server.tasks / "works.py",
        "import os, time\nfrom pathlib import Path\nfrom zquant_flow import current, task\n\n"
        "@task(max_retries=1, retry_interval=0.1)\ndef works(place: str = ''):\n"
        "    if not os.path.exists(place):\n"
        "        Path(place).write_text(str(os.getpid()))\n        time.sleep(600)\n    return 1\n",
    )
    until(lambda: server.client.find("eats") and server.client.find("works"), "the tasks in the list")
    place = server.root / "worker.pid"
    cases = {
        "eats": (server.client.trigger("eats"), server.tasks / "pid.1"),
        "works": (server.client.trigger("works", place=str(place)), place),
    }
    for execution, written in cases.values():
        pid = int(until(lambda path=written: path.exists() and path.read_text(), "its pid"))  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        found = server.client.ended(execution)
        assert found["status"] == "success"
        first, second = found["attempts"]
        assert (first["outcome"], second["outcome"]) == ("failed", "success")
        assert "SIGKILL" in first["error_message"]
        assert "perhaps out of memory" in first["error_message"]


# ── no room for handles ─────────────────────────────────────────────────────────────────────────────────────────────


def test_more_attempts_than_handles_fail_with_that_reason_and_all_succeed_in_the_end(
    limited: Callable[..., Limited],
) -> None:
    """Each attempt holds a pipe: 300 at once under `ulimit -n 256`."""
    count = 300
    server = limited("prlimit", "--nofile=256:256", ZQUANT_FLOW_THREAD_POOL_SIZE=str(count))
    gate = server.root / "gate"
    os.mkfifo(gate)
    drop(server.tasks / "warm.yaml", 'name: warm\ncommand: "true"\n')
    drop(
        server.tasks / "many.yaml",
        f"name: many\noverlap: allow\nmax_retries: 1000\nretry_interval: 1\ncommand: [cat, {gate}]\n",
    )
    until(lambda: server.client.find("many") and server.client.find("warm"), "the tasks in the list")
    server.client.succeeded("warm")
    before = handles_of(server)
    task = server.client.find("many")
    assert task is not None
    path = f"/tasks/{task['id']}"
    for _ in range(count):
        server.client.post(f"{path}/trigger", {})

    def refused() -> Any:
        page = server.client.get(f"{path}/executions", status="pending", limit=100)["executions"]
        return next((row for row in page if row["retry_count"]), None)

    try:
        found = until(refused, "an attempt without a handle", 60)
        tries = server.client.execution(found["id"])["attempts"]
        assert "Too many open files" in tries[0]["error_message"]
    finally:
        open_for_all(gate)
    until(
        lambda: server.client.get(f"{path}/executions", status="success", limit=1)["total"] == count,
        "the success of all",
        90,
    )
    server.client.succeeded("warm")
    until(
        lambda: all(now <= number + 2 for now, number in zip(handles_of(server), before, strict=True)),
        "handles that were given back",
    )
    assert "Traceback" not in server.errors() + (server.data / "runner.log").read_text()


def handles_of(server: Limited) -> list[int]:
    return [process.num_fds() for process in (server.control_plane, server.runner)]


def open_for_all(gate: Path) -> None:
    """Let those go that wait to read this pipe, and whoever comes later."""
    writer = os.open(gate, os.O_WRONLY)
    drop(gate, "")
    os.close(writer)


def test_more_connections_than_handles_delay_no_fire_and_are_served_when_others_have_gone(
    limited: Callable[..., Limited],
) -> None:
    import socket
    from urllib.parse import urlsplit

    server = limited("prlimit", "--nofile=256:256")
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    until(lambda: recorded(server, "tick"), "a fire")
    address = urlsplit(server.client.url)
    visitors = []
    try:
        for _ in range(300):
            visitors.append(socket.create_connection((address.hostname, address.port), timeout=5))
        begin = time.monotonic()
        until(lambda: time.monotonic() - begin > 3, "three instants to pass")
    finally:
        for visitor in visitors:
            visitor.close()
    until(lambda: len(recorded(server, "tick")) >= 4, "fires that went on", 60)
    assert_each_second_once(recorded(server, "tick"))
    assert server.control_plane.is_running()
