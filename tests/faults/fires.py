"""When did a task fire, as a real server tells it?"""

from __future__ import annotations

from itertools import pairwise

from tests.e2e.serving import Server, until


def recorded(server: Server, name: str) -> list[str]:
    """The instants at which this task fired, in order."""
    task = until(lambda: server.client.find(name), f"the task {name} in the list") or {}
    fires = server.client.get(f"/tasks/{task['id']}/fires", limit=1000)["fires"]
    return sorted(fire["logical_time"] for fire in fires if fire["outcome"] == "fired")


def assert_each_second_once(moments: list[str]) -> None:
    assert len(set(moments)) == len(moments)
    seconds = [int(moment[11:13]) * 3600 + int(moment[14:16]) * 60 + int(moment[17:19]) for moment in moments]
    assert [(later - earlier) % 86_400 for earlier, later in pairwise(seconds)] == [1] * (len(seconds) - 1)
