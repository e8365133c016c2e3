"""What may an expression do, and what does it say when it may not?"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zquant_flow.core.expressions import check, evaluate, path_of, render
from zquant_flow.core.references import Absent
from zquant_flow.errors import ExpressionError

SCOPE = {
    "params": {"a": 1, "name": "小 明", "items": [1, 2], "n": None, "big": "x" * 200_000, "flag": True},
    "nodes": {"x": {"result": {"rows": 3, "keys": 7, "values": [2, 1, 2], "_id": 5}}},
    "logical_time": datetime(2026, 11, 24, 10, 30, tzinfo=UTC),
}

ATTACKS = [
    *("9**(9**9)", "-9**9**9", "10**6**10**9", "2**4000*2**4000*2**4000", "1 % 0", "1e308*1e308", "1e999"),
    *(
        "'a'*10**11",
        "[0]*10**9",
        "'%*d'%(10**9,1)",
        "params.big+params.big+params.big+params.big+params.big+params.big",
    ),
    *(
        "''.__class__",
        "params.__class__.__mro__",
        "params['__class__']",
        "''.join.__globals__",
        "''['format']",
    ),
    *("range(10**9)", "lipsum(n=100000)", "cycler()", "dict()", "namespace()", "joiner()", "params.get('a')"),
    *("params|attr('__class__')", "params|map('string')|list", "'x'|center(10**10)", "'%d'|format(1)"),
    *(
        "'ab'|replace('a', 'b'*9)",
        "params|xmlattr",
        "params|pprint",
        "[params]|groupby('a')",
        "5|round(-10**9)",
    ),
    *("5|round(10**9, 'ceil')", "params.items|join(attribute='a')", "'1'|int(base=36)", "('9'*200)|int"),
    *(
        "(" * 400 + "1" + ")" * 400,
        "[" * 400,
        "not " * 240 + "1",
        "-" * 900 + "1",
        "1" + "+1" * 450,
        "a" * 1001,
    ),
    *("logical_time|date('%1000000000d' * 200)", "logical_time.replace", "logical_time.__class__"),
    *(
        "(" + "params.big~" * 90 + "'')|length",
        "self",
        "caller",
        "nodes.x.result.rows.__add__",
        "{{}}",
        "",
        "{{",
        "\0",
    ),
    *(
        "params.items|sum(attribute='a', start=[])",
        "'a' is callable",
        "x is filter",
        "loop.index",
        "{% if 1 %}",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Jinja2 is imported by the first expression."""
    evaluate("1", {})


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda text: text[:30])
def test_an_attack_is_refused_at_once(attack: str) -> None:
    began = time.process_time()
    with pytest.raises(ExpressionError):
        evaluate(attack, SCOPE)
    with pytest.raises(ExpressionError):
        render("{{ " + attack + " }}", SCOPE)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    "attack",
    [
        *(
            "{% for x in [1] %}{% endfor %}",
            "{% set x = 1 %}",
            "{% include '/etc/passwd' %}",
            "{% import 'x' as y %}",
        ),
        *(
            "{% macro f() %}{% endmacro %}",
            "{% filter upper %}a{% endfilter %}",
            "{% call x() %}{% endcall %}",
        ),
        *(
            "{{ 1 }}" * 300,
            "{{ '}}' " + "+1" * 60_000 + " }}",
            "{{" * 60_000,
            "{{ params.big }}",
            "{% block x %}{% endblock %}",
        ),
        *("{{", "{%", "{% if", "{# ", "{{ 9**9**9 }}", "{{ 'a'*9**9 }}", "{{ nothing }}", "x" * 131_073),
    ],
    ids=lambda text: text[:30],
)
def test_an_attack_by_a_template_is_refused_at_once(attack: str) -> None:
    began = time.process_time()
    with pytest.raises(ExpressionError):
        render(attack, SCOPE)
    assert time.process_time() - began < 0.1


WORDS = [
    *(
        "params.a",
        "nodes.x.result",
        "1",
        "'a'",
        "+",
        "-",
        "*",
        "/",
        "**",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
    ),
    *(":", "|", "~", "if", "else", "not", "in", "is", "and", "or", "==", "<", "{{", "}}", "{%", "%}", "int"),
    *("default", "range", "for", "__class__", "defined"),
]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join)))
@settings(deadline=None, max_examples=300)
def test_no_text_raises_anything_but_expression_errors(text: str) -> None:
    for work in (evaluate, render):
        with contextlib.suppress(ExpressionError):
            work(text, SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nodes.x.result.rows > 2 and params.a == 1", True),
        ("{{ params.items }}", [1, 2]),
        ("nodes.x.result.keys + 1", 8),
        ("nodes.x.result.values|unique|sort", [1, 2]),
        ("nodes.x.result.values|unique|length", 2),
        ("['b', 'a', 1, 'b', true, 'B', [1], [1]]|unique", ["b", "a", 1, True, "B", [1]]),
        ("nodes.x.result.values|sum", 5),
        ("nodes.x.result._id", 5),
        ("params['items'][-1]", 2),
        ("params.items[0:1]", [1]),
        ("params.zz|default(4)", 4),
        ("params.zz is defined", False),
        ("'yes' if params.flag else 'no'", "yes"),
        ("'5'|int + 1", 6),
        ("'x'|int(0)", 0),
        ("'1.5'|float", 1.5),
        ("2.567|round(2)", 2.57),
        ("2.4|round", 2),
        ("params.items + [3]", [1, 2, 3]),
        ("params.name ~ '-' ~ params.a", "小 明-1"),
        ("[1, 'a', none, true]|join(',')", "1,a,,true"),
        ("{'b': params.items}", {"b": [1, 2]}),
        ("params.items|tojson", "[1, 2]"),
        ("logical_time|date('%Y%m%d')", "20261124"),
        ("'2026-11-24'|date('%d.%m.')", "24.11."),
        ("logical_time.year", 2026),
        ("logical_time", "2026-11-24T10:30:00+00:00"),
        ("params.a in params.items", True),
        ("params.n is none", True),
    ],
)
def test_an_expression_has_the_value_that_it_says(text: str, value: object) -> None:
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain\n", "plain\n"),
        ("a={{ params.a }}\n", "a=1\n"),
        ("[{{ params.n }}]", "[]"),
        ("{{ params.flag }}", "true"),
        ("{{ nodes.x.result }}", '{"rows": 3, "keys": 7, "values": [2, 1, 2], "_id": 5}'),
        ("{{ params.name }} & <x>", "小 明 & <x>"),
        ("{% if params.flag %}yes{% else %}no{% endif %}", "yes"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ '{{' }}", "{{"),
    ],
)
def test_a_template_becomes_text(text: str, rendered: str) -> None:
    assert render(text, SCOPE) == rendered


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes.x.result.row", "nodes.x.result.row: there is no 'row' (there is: _id, keys, rows, values)"),
        ("params.zz.b", "params.zz.b: there is no 'zz' (there is: a, big, flag, items, n, name)"),
        ("params.a.b", "params.a.b: 'b' can't be taken from int"),
        ("params.items[5]", "params.items.5: no item 5 in a list of 2"),
        ("parms.x", "unknown name 'parms': known are params, nodes, logical_time"),
        ("params.a / 0", "params.a / 0: division by zero"),
        ("range(3)", "a call is not allowed in an expression"),
        ("params.__class__", "'__class__' is no key that a value has"),
        ("params.a +", "params.a +: unexpected 'end of template'"),
        ("params.a params.b", "params.a params.b: ends before 'params'"),
        ("'x'|int", "'x'|int: 'x' is no number"),
    ],
)
def test_a_fault_is_told_by_what_was_written(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, SCOPE)
    assert caught.value.detail == message


def test_what_is_absent_for_a_reason_says_the_reason_and_can_have_a_default() -> None:
    class Nodes(dict):
        def __missing__(self, name):
            raise Absent(f"nodes.{name} has no result: it was skipped")

    scope = {"nodes": Nodes()}
    with pytest.raises(ExpressionError, match=r"nodes\.load has no result: it was skipped"):
        evaluate("nodes.load.result", scope)
    assert evaluate("nodes.load.result.rows|default(0)", scope) == 0
    assert evaluate("nodes.load is defined", scope) is False


def test_a_check_names_the_paths_as_far_as_they_are_fixed() -> None:
    assert check("nodes.x.result['a b'].c > params.items[params.a] and logical_time").paths == (
        ("nodes", "x", "result", "a b", "c"),
        ("params", "items"),
        ("params", "a"),
        ("logical_time",),
    )
    assert check("{% if params.a %}{{ nodes[params.b] }}{% endif %}", template=True).paths == (
        ("params", "a"),
        ("nodes",),
        ("params", "b"),
    )


def test_a_path_with_a_default_may_lead_nowhere() -> None:
    names = check("params.a|default(params.b) if params.c is defined else params.c")
    assert names.optional == {("params", "a")}
    assert set(names.paths) == {("params", "a"), ("params", "b"), ("params", "c")}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ nodes.x.result['a'].b }}", ("nodes", "x", "result", "a", "b")),
        ("{{ params.items[0] }}", ("params", "items", 0)),
        ("{{ params.a }} {{ params.b }}", None),
        ("{{ params.a|default(1) }}", None),
        ("{{ params.a", None),
        ("params.a", None),
    ],
)
def test_a_template_that_is_one_path_is_known_as_such(text: str, path: object) -> None:
    assert path_of(text) == path
