"""An upgrade disturbs no task: the next server takes the place of the one that runs, and finds its attempts as they are."""

from __future__ import annotations

from tests.e2e.serving import drop, until
from tests.e2e.test_kills import SLOW, ledger


def test_attempts_go_on_under_the_next_server(start_server):
    server = start_server()
    drop(server.tasks / "slow.yaml", f'name: slow\ncommand: "{SLOW}"\n')
    until(lambda: server.client.find("slow"), "the task in the list")
    running = server.client.trigger("slow")
    until(lambda: ledger(server) == ["start"], "the start of the command")
    assert server.replace() == 0
    assert server.client.execution(running)["status"] == "running"
    (server.tasks / "go").touch()
    found = server.client.ended(running)
    assert (found["status"], found["retry_count"], len(found["attempts"])) == ("success", 0, 1)
    assert ledger(server) == ["start", "end"]


def test_a_handover_without_a_server_is_a_start(start_server):
    server = start_server()
    assert server.stop() == 0
    server.start("--handover")
    assert server.client.get("/server")["tasks"] == 0


def test_a_handover_from_a_server_that_was_killed_is_a_start(start_server):
    server = start_server()
    server.kill()
    server.start("--handover")
    assert server.client.get("/server")["version"]


def test_several_handovers_in_a_row_fire_every_instant_once(start_server):
    server = start_server()
    drop(server.tasks / "tick.yaml", 'name: tick\ninterval: 1\noverlap: allow\ncommand: "true"\n')
    until(lambda: server.client.find("tick"), "the task in the list")
    for _ in range(3):
        assert server.replace() == 0
    task_id = server.client.find("tick")["id"]
    until(lambda: len(server.client.get(f"/tasks/{task_id}/fires")["fires"]) >= 4, "four fires")
    fires = server.client.get(f"/tasks/{task_id}/fires")["fires"]
    moments = [fire["logical_time"] for fire in fires]
    assert len(set(moments)) == len(moments)
