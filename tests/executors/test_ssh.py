"""Commands on another machine: a real server of SSH in a thread of the test."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.runner.client import Runner
from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.ssh import SshExecutor
from zquant_flow.executors.ssh_config import SshConfig

asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed (extra ssh)")


class Server:
    """Owns a thread with an event loop. What a command does is in `_carry_out`; `signals` are those that came."""

    def __init__(self, folder: Path) -> None:
        self.signals: list[str] = []
        self.waiting = threading.Event()
        self.user_key, self.host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self.key_file = str(folder / "id_test")
        self.known_hosts = str(folder / "known_hosts")
        self.user_key.write_private_key(self.key_file)
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        self.port = started.result(15)
        line = self.host_key.export_public_key().decode().strip()
        Path(self.known_hosts).write_text(f"[127.0.0.1]:{self.port} {line}\n")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(15)

    async def _serve(self, started: Future[int]) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = self

        class Guard(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return bool((username, password) == ("me", "geheim"))

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: Any) -> bool:
                return bool(key == server.user_key.convert_to_public())

        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            server_factory=Guard,
            process_factory=self._carry_out,
            encoding="utf-8",
        )
        started.set_result(listener.get_port())
        await self._stopped.wait()
        listener.close()

    async def _carry_out(self, process: Any) -> None:
        word, _, rest = process.command.partition(" ")
        if word == "echo":
            process.stdout.write(f"{rest} {process.env.get('DAY', '')}\n")
            process.stderr.write("to err\n")
        elif word == "cat":
            process.stdout.write(await process.stdin.read())
        elif word == "long":
            process.stdout.write("x" * 10_000 + "end")
        elif word == "lost":
            process.channel.get_connection().abort()
        elif word == "wait":
            signalled: asyncio.Future[str] = self._loop.create_future()
            process.signal_received = signalled.set_result
            self.waiting.set()
            self.signals.append(await signalled)
            process.exit_with_signal("TERM")
            return
        process.exit(int(rest) if word == "exit" else 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("ssh"))
    yield server
    server.stop()


def config(server: Server, command: str, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "username": "me",
        "agent": False,
        "key_file": server.key_file,
        "known_hosts": server.known_hosts,
        "command": command,
        **more,
    }


def ssh(server: Server, command: str, **more: Any) -> Any:
    return SshExecutor().run(Context({}), SshConfig.model_validate(config(server, command, **more)))


def failure(server: Server, command: str, **more: Any) -> tuple[str, str, int | None]:
    with pytest.raises(Failure) as caught:
        ssh(server, command, **more)
    return caught.value.code, str(caught.value), caught.value.exit_code


def test_its_output_is_the_log_and_its_end_the_result(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ssh(server, "echo 行情", environment={"DAY": "2026-01-05"}) == {
        "exit_status": 0,
        "stdout": "行情 2026-01-05\n",
    }
    out, err = capfd.readouterr()
    assert (out, err) == ("行情 2026-01-05\n", "to err\n")
    assert ssh(server, "cat", input="一\n二\n")["stdout"] == "一\n二\n"
    assert ssh(server, "long")["stdout"] == "x" * 3997 + "end"


def test_its_exit_status_is_the_outcome(server: Server) -> None:
    where = f"127.0.0.1:{server.port}"
    assert failure(server, "exit 3") == ("exit_code", f"exit code 3 on {where}", 3)
    code, text, _ = failure(server, "lost")
    assert (code, text.startswith(f"{where}: ")) == ("ssh_failed", True)


def test_a_password_comes_from_a_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_PASSWORD", "geheim")
    monkeypatch.setenv("HOME", "/nowhere")
    by_password = {"key_file": None, "password_env": "HOST_PASSWORD"}
    assert ssh(server, "exit 0", **by_password)["exit_status"] == 0
    monkeypatch.setenv("HOST_PASSWORD", "falsch")
    code, text, _ = failure(server, "exit 0", **by_password)
    assert (code, "Permission denied" in text, "falsch" in text) == ("ssh_failed", True, False)
    monkeypatch.delenv("HOST_PASSWORD")
    assert failure(server, "exit 0", **by_password)[1] == "the variable HOST_PASSWORD is not set"


def test_a_host_that_nobody_knows_is_not_believed_unless_that_is_said(server: Server, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    code, text, _ = failure(server, "exit 0", known_hosts=str(empty))
    assert (code, "ssh-keyscan 127.0.0.1" in text) == ("ssh_failed", True)
    assert ssh(server, "exit 0", known_hosts=False)["exit_status"] == 0


def test_what_can_not_be_reached_or_read_is_named(server: Server, tmp_path: Path) -> None:
    assert failure(server, "exit 0", port=1)[1].startswith("127.0.0.1:1: ")
    assert "no_key" in failure(server, "exit 0", key_file=str(tmp_path / "no_key"))[1]


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_terminate_ends_the_command_there(server: Server, tmp_path: Path, isolation: str) -> None:
    server.signals.clear()
    server.waiting.clear()
    runner = Runner(tmp_path)
    client = runner.client()
    try:
        client.start(
            1,
            executor="ssh",
            entry=SshExecutor.entry(),
            config=config(server, "wait"),
            isolation=isolation,
        )
        assert server.waiting.wait(15)
        client.send(op="terminate", id=1, attempt=1, kind="terminated", grace=30)
        outcome = client.wait(1)
    finally:
        client.close()
        runner.end()
    assert (outcome["kind"], server.signals) == ("terminated", ["TERM"])


def test_without_asyncssh_the_line_that_installs_it_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    code, text, _ = failure(server, "exit 0")
    assert (code, text.partition(": ")[2]) == ("extra_missing", 'pip install "zquant-flow[ssh]"')
