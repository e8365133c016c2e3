"""What may a definition say about its params?"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pytest

from zquant_flow.core.model import content_hash, decode, encode
from zquant_flow.core.params import Param, ParamType
from zquant_flow.definitions.schema import DefinitionErrors, parse_definition
from zquant_flow.definitions.signatures import specs_of

EXECUTORS = {"command": None, "python": None, "example": None}


def parsed(params, **raw):
    made = parse_definition(
        {"name": "a", "command": "true", "params": params, **raw}, origin="file", executors=EXECUTORS
    ).task
    assert decode(encode(made)) == made
    return made


def faults(params, **raw):
    with pytest.raises(DefinitionErrors) as caught:
        parsed(params, **raw)
    return {error.field: (error.code, error.message) for error in caught.value.errors}


def test_a_param_is_its_default_or_says_more():
    made = parsed(
        {
            "symbol": {"type": "string", "enum": ["ALL", 600000], "default": 600000, "description": "which"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 9, "default": "5"},
            "day": {"required": True},
            "note": {"type": "string"},
            "plain": {"a": 1},
            "like": {"type": "string", "other": 1},
        }
    )
    assert made.params == {
        "symbol": "600000",
        "limit": 5,
        "note": None,
        "plain": {"a": 1},
        "like": {"type": "string", "other": 1},
    }
    assert made.param_specs == {
        "symbol": Param(type=ParamType.STRING, enum=("ALL", "600000"), description="which"),
        "limit": Param(type=ParamType.INTEGER, minimum=1, maximum=9),
        "day": Param(required=True),
        "note": Param(type=ParamType.STRING),
    }


def test_params_without_specs_change_no_hash():
    made = parsed({"symbol": "ALL", "deep": {"a": [1]}})
    assert "param_specs" not in encode(made)
    assert content_hash(encode(made)) == "c5974428447c3c5385d8fa1a6d8ef9c7"


@pytest.mark.parametrize(
    ("spec", "place", "message"),
    [
        (
            {"type": "text"},
            "a.type",
            "there is no type 'text': there is string, integer, number, boolean, array, object, date, datetime",
        ),
        ({"type": "integer", "default": "x"}, "a", "'x' is no integer"),
        ({"type": "integer", "enum": ["x"]}, "a.enum.0", "'x' is no integer"),
        ({"type": "string", "enum": []}, "a.enum", "enum is a list of values"),
        ({"type": "string", "required": "yes"}, "a.required", "required is true or false"),
        ({"type": "string", "minimum": 1}, "a.minimum", "minimum is for the types integer and number"),
        ({"type": "integer", "minimum": "1"}, "a.minimum", "minimum is a number"),
        ({"type": "integer", "default": 0, "minimum": 1}, "a", "0 is less than 1"),
        ({"type": "string", "choices": [1]}, "a.choices", "unknown key 'choices' of a param: write 'enum'"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(spec, place, message):
    assert faults({"a": spec})[f"params.{place}"][1] == message


def test_a_schedule_gives_no_params_so_a_required_one_needs_a_default():
    assert (
        faults({"day": {"type": "date", "required": True}}, cron="@daily")["params"][0] == "missing_default"
    )
    parsed({"day": {"type": "date", "required": True, "default": "2026-01-05"}}, cron="@daily")


def test_annotations_are_types():
    def function(
        symbol: str,
        code: Literal["a", "b"],
        day: dt.date = dt.date(2026, 1, 5),
        limit: int | None = None,
        share: float = 1,
        rows: list[str] = (),  # type: ignore[assignment]
        wrong: int = "x",  # type: ignore[assignment]
        other=1,
    ): ...

    assert specs_of(function) == {
        "symbol": Param(type=ParamType.STRING, required=True),
        "code": Param(type=ParamType.STRING, enum=("a", "b"), required=True),
        "day": Param(type=ParamType.DATE),
        "limit": Param(type=ParamType.INTEGER),
        "share": Param(type=ParamType.NUMBER),
        "rows": Param(type=ParamType.ARRAY),
        "wrong": Param(),
        "other": Param(),
    }


def test_a_function_without_annotations_or_with_any_keywords_says_nothing():
    def bare(a, b=1): ...
    def keywords(a: int, **rest): ...

    assert specs_of(bare) == specs_of(keywords) == {}
