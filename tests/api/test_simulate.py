"""A simulation over REST."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api, fresh, make


def test_a_span_is_simulated_and_told(api: Api) -> None:
    name = fresh()
    task = make(
        api, name=name, task_type="common_task", cron_expression="*/10 * * * *", expected_within="30s"
    )
    span = "from=2031-01-01T00:00:00Z&to=2031-01-01T23:59:59Z"
    found = api("GET", f"/simulate?{span}&task_id={task['id']}", status=200)
    assert (found["from"], found["to"]) == ("2031-01-01T00:00:00Z", "2031-01-01T23:59:59Z")
    (told,) = found["tasks"]
    assert (told["name"], told["fires"], told["executions"], told["assumed"]) == (name, 144, 144, True)
    (late,) = found["findings"]
    assert (late["kind"], late["count"], late["worst_seconds"]) == ("deadline", 144, 30.0)
    assert late["detail"] == "144 executions end later than `expected_within`, up to 30 s"
    assert len(found["hours"]) == 24
    assert found["timezone"] == "Asia/Shanghai"
    api("POST", f"/tasks/{task['id']}/disable")
    assert name in api("GET", f"/simulate?{span}", status=200)["idle"]


@pytest.mark.parametrize(
    "query", ["from=2026-02-01&to=2026-01-01", "from=2026-01-01&to=2036-01-01", "from=0001-01-01"]
)
def test_a_span_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    assert api("GET", f"/simulate?{query}", status=400)["code"] == "bad_request"


def test_a_task_that_is_not_there_is_said_to_be_so(api: Api) -> None:
    assert api("GET", "/simulate?task_id=999999", status=404)["code"] == "task_not_found"
