"""What people decide over REST."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import TOKEN, Api, fresh, until


def flow(api: Api, text: str) -> int:
    """A workflow of these nodes, in YAML, has begun; its execution."""
    name = fresh("flow")
    api.file(f"{name}.yaml", f"name: {name}\ntasks:\n{text}")
    [task] = api("GET", f"/tasks?name={name}")["tasks"]
    return int(api("POST", f"/tasks/{task['id']}/trigger", status=200)["execution_id"])


def asked(api: Api, root: int) -> dict[str, Any]:
    def question() -> Any:
        page = api("GET", "/executions?waiting_for=approval", status=200)
        assert page["total"] == len(page["executions"])
        return next((one for one in page["executions"] if one["root_execution_id"] == root), None)

    return dict(until(question))


def test_a_question_is_listed_answered_once_and_gone(api: Api) -> None:
    root = flow(api, "  - {name: ask, approval: {message: go on?, timeout: 1h}}\n")
    question = asked(api, root)
    assert (question["status"], question["node"], question["message"]) == ("pending", "ask", "go on?")
    assert question["waiting_until"] is not None
    path = f"/executions/{question['id']}"
    answered = api("POST", f"{path}/approve", json={"comment": "fine"}, status=200)
    assert answered["status"] == "success"
    assert (answered["result"]["by"], answered["result"]["comment"]) == ("admin", "fine")
    again = api("POST", f"{path}/reject", status=409)
    assert again["code"] == "wrong_state"
    assert f"execution {question['id']} was approved by admin" in again["detail"]
    assert api.ended(root)["status"] == "success"
    page = api("GET", "/executions?waiting_for=approval")
    assert root not in [one["root_execution_id"] for one in page["executions"]]


def test_only_those_who_are_named_may_answer(api: Api) -> None:
    root = flow(api, "  - {name: ask, approval: {who: [alice]}}\n")
    path = f"/executions/{asked(api, root)['id']}"
    refused = api("POST", f"{path}/approve", status=403)
    assert (refused["code"], refused["who"]) == ("not_approver", ["alice"])
    assert refused["detail"] == "alice may answer this, not admin"
    token = api("POST", "/tokens", json={"name": "alice"}, status=201)["token"]
    assert token != TOKEN
    api("POST", f"{path}/reject", headers={"Authorization": f"Bearer {token}"}, status=200)
    assert api.ended(root)["status"] == "failed"


def test_what_is_no_answer_is_refused(api: Api) -> None:
    assert api("POST", "/executions/999999/approve", status=404)["code"] == "execution_not_found"
    for body in ({"comment": "x" * 1001}, {"comment": 5}, {"coment": "x"}, {"comment": "a\0b"}):
        assert api("POST", "/executions/1/approve", json=body, status=422)["code"] == "invalid_request"
    assert api("GET", "/executions?waiting_for=godot", status=422)["code"] == "invalid_request"


def test_an_execution_is_marked_and_the_mark_is_taken_back(api: Api) -> None:
    execution_id = flow(api, "  - {name: a, command: 'false'}\n")
    api.ended(execution_id)
    path = f"/executions/{execution_id}/mark"
    marked = api("POST", path, json={"status": "success", "comment": "by hand"}, status=200)
    assert (marked["status"], marked["marked_status"], marked["marked_by"]) == ("failed", "success", "admin")
    assert marked["marked_time"] is not None
    assert api("POST", path, json={"status": None}, status=200)["marked_status"] is None
    for body in ({}, {"status": "done"}, {"status": "running"}):
        assert api("POST", path, json=body, status=422)["code"] == "invalid_request"


def test_a_node_runs_again_as_a_new_execution(api: Api) -> None:
    root = flow(
        api, "  - {name: a, command: 'true'}\n  - {name: b, command: echo again, dependencies: [a]}\n"
    )
    before = {child["node"]: child["id"] for child in api.ended(root)["children"]}
    path = f"/executions/{root}/rerun"
    made = api("POST", path, json={"node": "b"}, status=200)
    assert (made["trigger_type"], made["resume_from_execution_id"]) == ("resume", root)
    after = {child["node"]: child["reused_from"] for child in api.ended(made["id"])["children"]}
    assert after == {"a": before["a"], "b": None}
    refused = api("POST", path, json={"node": "c"}, status=404)
    assert refused["code"] == "node_not_found"
    for body in ({}, {"node": 5}, {"node": "a", "descendants": "yes"}, {"node": "a", "version": 3}):
        assert api("POST", path, json=body, status=422)["code"] == "invalid_request"
