"""Which faults of templates are known before anything runs?"""

from __future__ import annotations

import pytest

from zquant_flow.core.model import content_hash, decode, encode
from zquant_flow.definitions.schema import DefinitionErrors, parse_definition

EXECUTORS = {"command": None, "python": None, "example": None}


def parsed(**raw):
    return parse_definition({"name": "w", **raw}, origin="file", executors=EXECUTORS).task


def faults(**raw):
    with pytest.raises(DefinitionErrors) as caught:
        parsed(**raw)
    return {error.field: (error.code, error.message) for error in caught.value.errors}


KNOWN = "known are params, nodes, logical_time, execution, event, session, previous_session, next_session"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{{ parms.x }}", "invalid_reference", f"unknown name 'parms' (did you mean 'params'?): {KNOWN}"),
        (
            "{{ params.symbl }}",
            "invalid_reference",
            "there is no param 'symbl' (did you mean 'symbol'?): add it to `params`, or write params.symbl|default('...')",
        ),
        (
            "{{ nodes.a.result }}",
            "invalid_reference",
            "`nodes` is known to the nodes of a workflow only: give the task a param",
        ),
        (
            "{{ params.symbol",
            "invalid_expression",
            "{{ params.symbol: unexpected end of template, expected 'end of print statement'.",
        ),
        ("{{ range(3) }}", "invalid_expression", "a call is not allowed in an expression"),
        ("{{ ''.__class__ }}", "invalid_expression", "'__class__' is no key that a value has"),
    ],
)
def test_a_template_that_leads_nowhere_is_a_load_error_wherever_it_stands(text, code, message):
    params = {"symbol": "ALL"}
    found = faults(command=["echo", text], params=params)
    assert found["command"] == (code, message)
    assert faults(command="true", env={"A": text}, params=params)["env.A"] == (code, message)
    assert faults(command="true", working_dir=text, params=params)["working_dir"] == (code, message)


def test_a_param_with_a_default_in_the_template_need_not_be_there():
    parsed(
        command="echo {{ params.day|default('today') }}",
        env={"A": "{% if params.a is defined %}a{% endif %}"},
    )


def nodes(**second):
    return [{"name": "first", "command": "true"}, {"name": "second", "command": "true", **second}]


@pytest.mark.parametrize(
    ("node", "place", "message"),
    [
        (
            {"command": "echo {{ nodes.frist.result }}"},
            "command",
            "there is no node 'frist' in this workflow (did you mean 'first'?)",
        ),
        (
            {"command": "echo {{ nodes.first.status }}"},
            "command",
            "of a node only its result is known: nodes.first.result",
        ),
        (
            {"command": "echo {{ nodes[params.n].result }}"},
            "command",
            "name the node: nodes.NAME.result, or nodes['NAME'].result",
        ),
        (
            {"params": {"a": "{{ params.zz }}"}},
            "params",
            "node 'second' uses the param 'zz', which this workflow does not have: it has n",
        ),
        (
            {"params": {"a": "{{ params.zz + 1 }}"}},
            "params",
            "there is no param 'zz': add it to `params`, or write params.zz|default('...')",
        ),
    ],
)
def test_a_node_names_params_and_nodes_that_are_there(node, place, message):
    found = faults(params={"n": "first"}, tasks=nodes(dependencies=["first"], **node))
    assert found == {f"tasks.1.{place}": ("invalid_reference", message)}


@pytest.mark.parametrize(
    ("node", "place"),
    [
        ({"command": "echo {{ nodes.first.result }}"}, "tasks.1"),
        ({"params": {"a": "{{ nodes.first.result }}"}}, "tasks.1.params"),
        ({"params": {"a": ["{{ nodes.first.result }}!"]}}, "tasks.1.params"),
    ],
)
def test_a_node_waits_for_those_whose_results_it_uses(node, place):
    message = "node 'second' uses the result of 'first' without waiting for it: add it to dependencies"
    assert faults(tasks=nodes(**node)) == {place: ("invalid_reference", message)}
    parsed(tasks=nodes(dependencies=["first"], **node))


def test_a_nodes_own_params_are_known_to_its_command():
    parsed(tasks=nodes(command="echo {{ params.own }}", params={"own": 1}))


def test_templates_in_a_nodes_params_keep_the_type_of_what_they_name():
    made = parsed(
        params={"n": 1},
        tasks=nodes(
            dependencies=["first"],
            params={
                "ref": "{{ nodes.first.result['a b'].c }}",
                "expr": ["{{ params.n + 1 }}"],
                "text": {"a": "{{ params.n }}.csv"},
                "time": "{{ logical_time }}",
                "plain": "x",
            },
        ),
    )
    assert made.workflow.nodes[1].arguments == {
        "ref": {"$ref": ["nodes", "first", "result", "a b", "c"]},
        "expr": [{"$expr": "params.n + 1"}],
        "text": {"a": {"$template": "{{ params.n }}.csv"}},
        "time": {"$expr": "logical_time"},
        "plain": "x",
    }


def test_a_definition_without_templates_keeps_its_hash():
    made = parsed(
        params={"symbol": "ALL"},
        tasks=nodes(
            dependencies=["first"], params={"rows": {"$ref": ["nodes", "first", "result"]}, "x": [1]}
        ),
    )
    assert content_hash(encode(made)) == "1d22a10b683a0a909bd2b4ccef14ad3d"


@pytest.mark.parametrize(
    ("condition", "code", "message"),
    [
        (
            "nodes.frist.result",
            "invalid_reference",
            "there is no node 'frist' in this workflow (did you mean 'first'?)",
        ),
        (
            "params.full",
            "invalid_reference",
            "there is no param 'full': add it to `params`, or write params.full|default('...')",
        ),
        ("params.n >", "invalid_expression", "params.n >: unexpected 'end of template'"),
        ("", "invalid_value", "when is an expression, such as params.full or nodes.load.result.rows > 0"),
        (5, "invalid_value", "when is an expression, such as params.full or nodes.load.result.rows > 0"),
    ],
)
def test_a_condition_that_means_nothing_is_a_load_error(condition, code, message):
    found = faults(params={"n": 1}, tasks=nodes(dependencies=["first"], when=condition))
    assert found == {"tasks.1.when": (code, message)}


def test_a_condition_waits_for_the_nodes_that_it_names():
    message = "node 'second' uses the result of 'first' without waiting for it: add it to dependencies"
    found = faults(tasks=nodes(when="nodes.first.result"))
    assert found == {"tasks.1.when": ("invalid_reference", message)}


@pytest.mark.parametrize(
    ("written", "kept"),
    [("{{ params.n }}", "params.n"), (True, "true"), (False, "false"), (" params.n > 0 ", "params.n > 0")],
)
def test_a_condition_is_an_expression_with_or_without_braces(written, kept):
    made = parsed(params={"n": 1}, tasks=nodes(when=written))
    assert made.workflow.nodes[1].when == kept
    assert decode(encode(made)) == made
