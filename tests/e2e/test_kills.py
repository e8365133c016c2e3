"""What is left of a run when its server is killed with SIGKILL and started again?

Each command writes into a ledger file when it starts and when it ends: a second start would show there.
"""

from __future__ import annotations

import pytest

from tests.e2e.serving import drop, until

# Each waits for a file, so that a test decides when it may end.
SLOW = "echo start >> ledger; until [ -e go ]; do sleep 0.05; done; echo end >> ledger"
WORKFLOW = f"""\
name: chain
workflow_type: serial
tasks:
  - name: first
    command: echo first >> ledger
  - name: slow
    command: "{SLOW}"
  - name: last
    command: echo last >> ledger
"""


def ledger(server):
    path = server.tasks / "ledger"
    return path.read_text().split() if path.exists() else []


@pytest.fixture
def killable(start_server):
    """A server with a slow command and a workflow around the same."""
    server = start_server()
    drop(server.tasks / "slow.yaml", f'name: slow\nmax_retries: 3\ncommand: "{SLOW}"\n')
    drop(server.tasks / "chain.yaml", WORKFLOW)
    until(lambda: server.client.find("slow") and server.client.find("chain"), "both tasks in the list")
    return server


def test_a_command_outlives_the_killed_server_and_is_not_started_twice(killable):
    running = killable.client.trigger("slow")
    until(lambda: ledger(killable) == ["start"], "the start of the command")
    killable.kill()
    client = killable.start().client
    assert client.execution(running)["status"] == "running"
    (killable.tasks / "go").touch()
    found = client.ended(running)
    assert (found["status"], found["retry_count"], len(found["attempts"])) == ("success", 0, 1)
    assert ledger(killable) == ["start", "end"]


def test_a_command_that_ends_while_no_server_runs_is_a_success_afterwards(killable):
    running = killable.client.trigger("slow")
    until(lambda: ledger(killable) == ["start"], "the start of the command")
    killable.kill()
    (killable.tasks / "go").touch()
    until(lambda: ledger(killable) == ["start", "end"], "the end of the command")
    found = killable.start().client.ended(running)
    assert (found["status"], found["retry_count"]) == ("success", 0)
    assert ledger(killable) == ["start", "end"]


def test_a_workflow_goes_on_where_the_killed_server_left_it(killable):
    running = killable.client.trigger("chain")
    until(lambda: ledger(killable) == ["first", "start"], "the start of the slow node")
    killable.kill()
    client = killable.start().client
    (killable.tasks / "go").touch()
    found = client.ended(running)
    assert found["status"] == "success"
    assert [(child["node"], child["status"], child["retry_count"]) for child in found["children"]] == [
        ("first", "success", 0),
        ("slow", "success", 0),
        ("last", "success", 0),
    ]
    assert ledger(killable) == ["first", "start", "end", "last"]


def test_a_running_workflow_lists_its_nodes_also_those_that_have_not_begun(killable):
    client = killable.client
    running = client.trigger("chain")
    until(lambda: ledger(killable) == ["first", "start"], "the start of the slow node")
    children = client.execution(running)["children"]
    assert [(child["node"], child["status"]) for child in children] == [
        ("first", "success"),
        ("slow", "running"),
        ("last", "pending"),
    ]
    assert children[2]["id"] is None
    (killable.tasks / "go").touch()
    assert client.ended(running)["status"] == "success"


def test_sigterm_ends_the_server_with_exit_code_0_and_withdraws_its_address(start_server):
    server = start_server()
    assert server.stop() == 0
    assert not (server.data / "server.json").exists()


def test_each_file_runs_its_task_once_however_often_the_server_is_killed(start_server):
    server = start_server()
    inbox = server.root / "in"
    inbox.mkdir()
    command = "basename $ZQF_PARAM_FILE >> ledger"
    words = f"on_file: ../in/*\noverlap: allow\nparams: {{file: ''}}\ncommand: {command}\n"
    drop(server.tasks / "t.yaml", "name: t\n" + words)
    until(lambda: server.client.find("t"), "the task in the list")
    names = [f"{number:02}" for number in range(24)]
    for name in names:
        (inbox / name).write_text(name)
        if name in ("05", "13"):
            until(lambda: ledger(server), "the first of them")
            server.kill()
        if name in ("09", "18"):
            server.start()
    until(lambda: len(ledger(server)) >= len(names), "all of them")
    path = f"/tasks/{server.client.find('t')['id']}/executions"
    until(lambda: server.client.get(path, status="success")["total"] == len(names), "their ends")
    assert sorted(ledger(server)) == names
