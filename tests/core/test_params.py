"""Which values does a param take, and in which form are they handed on?"""

from __future__ import annotations

import pytest

from zquant_flow.core.params import (
    Param,
    ParamType,
    checked,
    decode_specs,
    encode_specs,
    fitted,
    json_schema,
    value_of,
)
from zquant_flow.errors import ParamsError


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("string", "a", "a"),
        ("string", 600000, "600000"),
        ("integer", 5, 5),
        ("integer", "-5", -5),
        ("integer", 5.0, 5),
        ("number", 1.5, 1.5),
        ("number", "1.5e3", 1500.0),
        ("number", "5", 5),
        ("boolean", True, True),
        ("boolean", "false", False),
        ("array", [1], [1]),
        ("object", {"a": 1}, {"a": 1}),
        ("date", "2026-01-05", "2026-01-05"),
        ("date", 20260105, "2026-01-05"),
        ("datetime", "2026-01-05 18:30", "2026-01-05T18:30:00"),
        ("integer", None, None),
    ],
)
def test_a_value_is_kept_in_the_form_of_its_type_where_nothing_is_lost(kind, value, kept):
    found = value_of(Param(type=ParamType(kind)), value)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("string", 1.5), ("string", True), ("string", ["a"]), ("integer", "ten"), ("integer", 1.5)],
        *[("integer", True), ("integer", "1" * 30), ("number", "nan"), ("number", float("inf"))],
        *[("number", True), ("boolean", 1), ("boolean", "yes"), ("boolean", [1]), ("array", "a")],
        *[("array", {"a": 1}), ("object", [1]), ("date", "2026-02-30"), ("date", "today")],
        *[("date", "2026-01-05T10:00"), ("datetime", "noon")],
    ],
)
def test_what_would_lose_something_is_refused(kind, value):
    with pytest.raises(ValueError, match=f"is no {kind}"):
        value_of(Param(type=ParamType(kind)), value)


SPECS = {
    "symbol": Param(type=ParamType.STRING, enum=("ALL", "SH")),
    "limit": Param(type=ParamType.INTEGER, minimum=1, maximum=100, description="rows"),
    "day": Param(type=ParamType.DATE, required=True),
    "flag": Param(enum=(1, "x")),
}


def refused(**given):
    with pytest.raises(ParamsError) as caught:
        checked(SPECS, {"symbol": "ALL", "limit": 5}, given)
    return {item["field"].removeprefix("params."): item["message"] for item in caught.value.facts["errors"]}


def test_every_fault_of_params_is_told_with_its_field():
    assert refused(limit=0, symbol="X", dya=1, flag=True) == {
        "limit": "limit: 0 is less than 1",
        "symbol": "symbol: 'X' is not one of ALL, SH",
        "dya": "there is no param 'dya' (did you mean 'day'?)",
        "day": "day is required",
        "flag": "flag: True is not one of 1, x",
    }
    assert refused(limit=101, day=None) == {
        "limit": "limit: 101 is more than 100",
        "day": "day: None is no date",
    }


def test_what_is_given_stands_over_the_defaults():
    assert checked(SPECS, {"symbol": "ALL", "limit": 5}, {"limit": "7", "day": "2026-01-05"}) == {
        "symbol": "ALL",
        "limit": 7,
        "day": "2026-01-05",
    }
    assert checked({}, {"a": 1}, {"b": "2"}) == {"a": 1, "b": "2"}


def test_a_node_may_have_the_params_of_the_workflow_around_it_too():
    assert fitted(SPECS, {"day": "2026-01-05", "other": 1}) == {"day": "2026-01-05", "other": 1}


def test_specs_survive_the_database():
    assert decode_specs(encode_specs(SPECS)) == SPECS


def test_the_schema_says_what_a_trigger_may_give():
    assert json_schema(SPECS, {"symbol": "ALL", "limit": None, "note": {"a": 1}}) == {
        "type": "object",
        "properties": {
            "symbol": {"type": "string", "enum": ["ALL", "SH"], "default": "ALL"},
            "limit": {
                "type": ["integer", "null"],
                "description": "rows",
                "minimum": 1,
                "maximum": 100,
                "default": None,
            },
            "note": {"default": {"a": 1}},
            "day": {"type": "string", "format": "date"},
            "flag": {"enum": [1, "x"]},
        },
        "required": ["day"],
        "additionalProperties": False,
    }
    assert json_schema({}, {"a": 1})["additionalProperties"] is True
