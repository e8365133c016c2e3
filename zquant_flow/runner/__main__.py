"""The runner's start: `python -m zquant_flow.runner DATA_DIR`."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys

from zquant_flow.runner.attempts import Attempts, Carrier
from zquant_flow.runner.commands import Commands
from zquant_flow.runner.environment import base_environment
from zquant_flow.runner.loop import Loop
from zquant_flow.runner.processes import Processes
from zquant_flow.runner.protocol import LOCK_FILE, SOCKET_FILE
from zquant_flow.runner.server import Server
from zquant_flow.runner.strays import Strays, end_leftovers
from zquant_flow.runner.workers import Workers

OOM_SCORE = 300


def main(data_dir: str) -> int:
    """Carry attempts until nobody needs us any more."""
    data_dir = os.path.realpath(data_dir)
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    lock = _lock(data_dir)
    if lock is None:
        sys.stderr.write(f"another runner serves {data_dir}\n")
        return 0
    if os.path.exists(os.path.join(data_dir, SOCKET_FILE)):
        end_leftovers(data_dir)
    os.chdir("/")
    _raise_limits()
    _volunteer()
    serve(data_dir)
    return 0


def serve(data_dir: str) -> None:
    """Put the parts together and run them."""
    loop = Loop()
    processes = Processes(loop)
    env = base_environment(data_dir)
    carriers: dict[str, Carrier] = {}
    attempts = Attempts(loop, carriers)
    strays = Strays(loop, processes, attempts.keys)
    commands = Commands(loop, processes, strays, env, _output_dir(data_dir))
    workers = Workers(loop, processes, strays, env)
    commands.attempts = attempts
    workers.bind(attempts)
    carriers.update({"command": commands, "process": workers.alone, "thread": workers.shared})
    server = Server(loop, data_dir, attempts, workers, strays)
    processes.on_sigterm = server.shut_down
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        loop.run(server.over)
    finally:
        server.close()


def _lock(data_dir: str) -> int | None:
    """Held until this process ends; None when another holds it."""
    path = os.path.join(data_dir, LOCK_FILE)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _output_dir(data_dir: str) -> str:
    path = os.path.join(data_dir, "outputs")
    os.makedirs(path, mode=0o700, exist_ok=True)
    for entry in os.scandir(path):  # of a runner that was killed
        try:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        except OSError:
            continue
    return path


def _raise_limits() -> None:
    """Each attempt costs a pipe: take all the descriptors that we may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass


def _volunteer() -> None:
    """When memory runs out, let it be an attempt (they inherit this) and not the control plane (Linux)."""
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            if int(file.read()) < OOM_SCORE:
                file.seek(0)
                file.write(str(OOM_SCORE))
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
