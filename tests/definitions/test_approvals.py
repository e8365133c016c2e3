"""How may one write that a node waits for an answer?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.definitions.test_workflows import faults, workflow
from zquant_flow.core.approval import Approval, OnTimeout
from zquant_flow.core.model import content_hash, encode
from zquant_flow.definitions.authoring import AuthoringError, approval
from zquant_flow.testing import command_node, workflow_task

CHECK = {"name": "check", "command": "true"}


def question(**words):
    made = workflow(tasks=[CHECK, {"name": "ask", "dependencies": ["check"], **words}])
    return made.nodes[1].approval


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (True, Approval()),
        ("go on?", Approval(message="go on?")),
        (
            {"message": "{{ nodes.check.result.rows }}?", "who": "alice", "timeout": "2d"},
            Approval(message="{{ nodes.check.result.rows }}?", who=("alice",), timeout=timedelta(days=2)),
        ),
        (
            {"who": ["alice", "bob", "alice"], "timeout": "none", "on_timeout": "approve"},
            Approval(who=("alice", "bob"), on_timeout=OnTimeout.APPROVE),
        ),
    ],
)
def test_an_approval_is_true_a_question_or_more(written, means):
    assert question(approval=written) == means


@pytest.mark.parametrize(
    ("node", "field", "code"),
    [
        ({"approval": True, "command": "x"}, "command", "conflict"),
        ({"approval": True, "task": "t"}, "task", "conflict"),
        ({"approval": True, "max_retries": 3}, "max_retries", "conflict"),
        ({"approval": False}, "approval", "invalid_value"),
        ({"approval": {"whom": "alice"}}, "approval.whom", "unknown_key"),
        ({"approval": {"timeout": 0}}, "approval.timeout", "invalid_value"),
        ({"approval": {"on_timeout": "ask"}}, "approval.on_timeout", "invalid_value"),
        ({"approval": "{{ parms.x }}"}, "approval.message", "invalid_reference"),
    ],
)
def test_what_can_not_be_asked_is_told_at_its_place_and_only_once(node, field, code):
    found = faults(tasks=[{"name": "ask", **node}])
    assert {place: fault[0] for place, fault in found.items()} == {f"tasks.0.{field}": code}


def test_a_question_waits_for_the_nodes_it_speaks_of():
    tasks = [CHECK, {"name": "ask", "approval": "{{ nodes.check.result }}?"}]
    assert faults(tasks=tasks)["tasks.1"][0] == "invalid_reference"


def test_a_question_is_part_of_the_version_and_of_no_other():
    plain, asking = (
        workflow_task("w", [command_node("a"), node])
        for node in (command_node("b"), command_node("b", action=None, approval=Approval()))
    )
    assert "approval" not in str(encode(plain))
    assert content_hash(encode(plain)) != content_hash(encode(asking))


def test_in_python_it_stands_in_the_body_of_a_workflow():
    with pytest.raises(AuthoringError, match="in the body of a workflow"):
        approval("go on?")
